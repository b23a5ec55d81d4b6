//! Faults injected into hubvault at work, one after the other, and counted: a fault ends well when the exit code, the
//! state and every report agree with what is really on disk. `make test-faults` runs them, `FORM=long` in full.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../suite/hub.rs"]
#[expect(dead_code, reason = "the suite's helpers, of which faults need some")]
mod hub;

#[path = "../suite/keys.rs"]
#[expect(dead_code, reason = "the suite's helpers, of which faults need some")]
mod keys;

mod form;
mod tally;

mod damaged;
