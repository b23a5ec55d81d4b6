//! Waiting for something to happen.

use std::time::{Duration, Instant};

/// Longer than anything takes that a test waits for, also on a machine that is ten times slower or busy. Only a test that
/// fails takes that long.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// Waits until a condition holds.
///
/// # Panics
///
/// When it does not hold after [`PATIENCE`]; `what` says what was waited for.
pub fn wait_for(mut condition: impl FnMut() -> bool, what: impl Fn() -> String) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < PATIENCE,
            "timed out waiting for {}",
            what()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
