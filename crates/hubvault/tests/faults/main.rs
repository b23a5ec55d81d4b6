//! Faults injected into hubvault at work, one after the other, and counted: a fault ends well when the exit code, the
//! state and every report agree with what is really on disk. `make test-faults` runs them, `FORM=long` in full.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../suite/hub.rs"]
#[expect(dead_code, reason = "the suite's helpers, of which faults need some")]
mod hub;
#[path = "../suite/daemon.rs"]
#[expect(dead_code, reason = "the suite's helpers, of which faults need some")]
mod daemon;

#[path = "../suite/keys.rs"]
#[expect(dead_code, reason = "the suite's helpers, of which faults need some")]
mod keys;

mod form;
mod tally;
mod preloaded;
mod later;
mod scene;
mod steps;
mod ward;
mod disk_fault;
mod disk_agrees;

mod kills;
mod kills_after;
mod wire;
mod flips;
mod programs;
mod mails;
mod moving_schema;
mod state;
mod clocks;
mod disk;
mod disk_room;
mod disk_full;
mod disk_service;
mod disk_drill;
mod disk_restore;
mod damaged;
