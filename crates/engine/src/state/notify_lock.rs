//! Whose turn it is to tell: one process at a time for a job, by a lock in the state directory.

use super::StateDir;
use super::file::{Access, open};
use hubvault_model::Cancel;
use std::fs::{File, TryLockError};
use std::io;
use std::time::{Duration, Instant};

/// Who comes second waits so long: a look takes a second or two, telling may take minutes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the lock is asked for.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether this process may tell.
#[derive(Debug)]
pub(crate) enum NotifyLock {
    /// Until this is dropped; the kernel lets go of it when the process ends, however it ends.
    Ours(File),
    /// Another one is at it.
    Theirs,
    /// The lock cannot be used, for the reason given: better told twice than never.
    Unknown(String),
}

impl NotifyLock {
    /// Waits for the turn of a job.
    pub(crate) fn take(state: &StateDir, job: &str, cancel: &Cancel) -> Self {
        Self::take_within(PATIENCE, state, job, cancel)
    }

    fn take_within(patience: Duration, state: &StateDir, job: &str, cancel: &Cancel) -> Self {
        // Two jobs may share a lock where their names differ in odd letters; they wait for each other then.
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = job.chars().map(plain).take(100).collect();
        let path = state.file(&format!("watch-{name}.lock"));
        let failed = |error: io::Error| {
            Self::Unknown(format!(
                "locking {} against duplicate notifications: {error}",
                path.display()
            ))
        };
        let file = match open(&path, Access::Append) {
            Ok(file) => file,
            Err(error) => return failed(error),
        };
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Self::Ours(file),
                Err(TryLockError::Error(error)) => return failed(error),
                Err(TryLockError::WouldBlock) => {
                    if begun.elapsed() >= patience || cancel.is_requested() {
                        return Self::Theirs;
                    }
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_one_turn_at_a_time_and_what_cannot_be_locked_says_so() {
        let state = tempfile::tempdir().unwrap();
        let cancel = Cancel::new();
        let take = |job| {
            NotifyLock::take_within(Duration::ZERO, &StateDir::at(state.path()), job, &cancel)
        };
        let first = take("hub");
        assert!(matches!(first, NotifyLock::Ours(_)));
        assert!(matches!(take("hub"), NotifyLock::Theirs));
        assert!(matches!(take("other"), NotifyLock::Ours(_)));
        drop(first);
        assert!(matches!(take("hub"), NotifyLock::Ours(_)));
        let nowhere = StateDir::at(state.path().join("nowhere"));
        match NotifyLock::take_within(Duration::ZERO, &nowhere, "hub", &cancel) {
            NotifyLock::Unknown(what) => assert!(what.contains("watch-hub.lock"), "{what}"),
            other => panic!("{other:?}"),
        }
    }
}
