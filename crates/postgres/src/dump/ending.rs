//! How a program of `PostgreSQL` is asked to end.

use rustix::process::{Pid, Signal, kill_process};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A program that was asked to end is killed after this.
const TIME_TO_END: Duration = Duration::from_secs(1);

/// Asks a program to end: `pg_dump` and `pg_restore` then also end what the server does for them, and their workers. One
/// that does not is killed.
pub(super) fn end(pid: Option<Pid>, has_ended: &Arc<AtomicBool>) {
    let Some(pid) = pid else { return };
    // It may have ended by itself.
    let _ = kill_process(pid, Signal::TERM);
    let has_ended = Arc::clone(has_ended);
    std::thread::spawn(move || {
        std::thread::sleep(TIME_TO_END);
        if !has_ended.load(Ordering::Acquire) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
}
