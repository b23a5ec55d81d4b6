//! What hubvault knows how to do: plan a backup, export it, check it, publish it, remember it.
//!
//! Wings from the top floor down; each imports only what is below it.

pub mod backup;
pub mod logical;
pub mod publish;
pub mod run;
pub mod monitor;
pub mod proof;
pub mod restore;
pub mod delivery;
pub mod retain;
pub mod overview;
pub mod remote;
pub mod catalog;
pub mod state;
pub mod job;
pub mod schedule;
pub mod progress;
pub mod disk;
pub mod command;
mod pool;
mod deadline;
