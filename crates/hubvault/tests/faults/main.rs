//! Faults injected into running commands, one after the other, and counted. A fault ends well when exit code, state and
//! all reports agree with the disk. `make test-faults` runs them, `FORM=long` all of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../shared/mod.rs"]
#[expect(dead_code, reason = "the suite needs more of it")]
mod shared;
use shared::{clock, hub, keys, service_process, stages};

mod form;
mod tally;
mod preload;
mod fixture;
mod steps;
mod fault_harness;
mod disk_fault;
mod disk_consistency;

mod kills;
mod kills_after;
mod wire;
mod bit_flips;
mod programs;
mod mails;
mod schema_changes;
mod state;
mod clocks;
mod disk;
mod disk_space;
mod disk_full;
mod disk_service;
mod disk_drill;
mod disk_restore;
mod damaged;
