//! What a run that waits for the lease of another machine says of it to other processes: a small file in the state
//! directory.

use super::file::{self, Durability};
use super::{RunLock, StateDir};
use hubvault_model::BackupId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

/// More than it is, in bytes.
const LARGEST: u64 = 16 << 10;
/// The most characters of another machine's name for itself.
const LONGEST: usize = 200;

/// A run that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeaseWait {
    /// The run.
    pub id: BackupId,
    /// The destination that has the lease.
    pub destination: String,
    /// Who holds it, as that machine calls itself.
    pub holder: String,
    /// Since when the run waits.
    pub since: Timestamp,
}

/// The run of a state directory that waits for the lease now.
pub fn waiting(state: &StateDir) -> Option<LeaseWait> {
    let text = file::read(&path(state), LARGEST).ok()?;
    let wait: LeaseWait = serde_json::from_slice(&text).ok()?;
    // A process that was killed leaves its file.
    RunLock::is_held_by(state, wait.id).then_some(wait)
}

/// Says that a run waits, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    path: PathBuf,
    wait: LeaseWait,
}

impl Waiting {
    /// From now on.
    pub(crate) fn begin(state: &StateDir, id: BackupId, destination: &str) -> Self {
        Self {
            path: path(state),
            wait: LeaseWait {
                id,
                destination: destination.to_owned(),
                holder: String::new(),
                since: Timestamp::now(),
            },
        }
    }

    /// Says who holds the lease.
    pub(crate) fn held_by(&mut self, holder: &str) {
        self.wait.holder = holder.chars().take(LONGEST).collect();
        let written = serde_json::to_vec(&self.wait)
            .map_err(Into::into)
            .and_then(|json| file::replace(&self.path, &json, 0o600, Durability::Passing));
        if let Err(error) = written {
            tracing::debug!("writing {}: {error}", self.path.display());
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Who reads one that is left compares it with the lock.
        let _ = fs::remove_file(&self.path);
    }
}

fn path(state: &StateDir) -> PathBuf {
    state.file("lease-wait.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_model::Cancel;

    #[test]
    fn only_the_run_that_holds_the_lock_waits() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::at(home.path());
        let id = BackupId::random();
        let mut wait = Waiting::begin(&state, id, "s3");
        wait.held_by("other, run 1");
        assert_eq!(waiting(&state), None, "no run holds the lock");
        let lock = RunLock::take(&state, id, &Cancel::new()).unwrap();
        assert_eq!(waiting(&state).unwrap().holder, "other, run 1");
        drop(lock);
        let _lock = RunLock::take(&state, BackupId::random(), &Cancel::new()).unwrap();
        assert_eq!(waiting(&state), None, "it is of a run that crashed");
        drop(wait);
        assert!(!path(&state).exists());
    }
}
