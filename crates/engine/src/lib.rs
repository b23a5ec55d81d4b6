//! What hubvault knows how to do: plan a backup, export it, check it, publish it, remember it.
//!
//! Rooms from the top floor down; each imports only what stands below it.

pub mod backup;
pub mod monitor;
pub mod proof;
pub mod restore;
pub mod deliver;
pub mod retain;
pub mod catalog;
pub mod job;
pub mod schedule;
pub mod presence;
pub mod link;
pub mod progress;
pub mod disk;
pub mod modes;
pub mod state_file;
pub mod ownership;
pub mod command;
