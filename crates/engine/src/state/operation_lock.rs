//! One operation of a kind at a time in one state directory: what people start besides backups.

use super::StateDir;
use super::error::StateError;
use super::run_lock::{holder, is_locked, take};
use hubvault_model::{BackupId, Cancel};
use std::fs::File;
use std::path::PathBuf;

/// Held while an operation is at work. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct OperationLock {
    _file: File,
}

impl OperationLock {
    /// Takes the lock of a kind, or says within a moment who holds it.
    pub fn take(state: &StateDir, kind: &str, operation: BackupId) -> Result<Self, StateError> {
        let who = format!("operation {operation}");
        // Nobody reads beside it, so that nothing is waited for.
        match take(&path(state, kind), &who, &Cancel::new()) {
            Ok(file) => Ok(Self { _file: file }),
            Err(StateError::Locked { holder, .. }) => Err(StateError::Busy { holder }),
            Err(error) => Err(error),
        }
    }

    /// The operation of a kind that is at work.
    pub fn holder(state: &StateDir, kind: &str) -> Option<BackupId> {
        let path = path(state, kind);
        let holder = holder(&path)?;
        let (id, _) = holder.strip_prefix("operation ")?.split_once(',')?;
        id.parse().ok().filter(|_| is_locked(&path))
    }
}

fn path(state: &StateDir, kind: &str) -> PathBuf {
    state.file(&format!("operation-{kind}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_operation_of_a_kind_is_at_work() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::at(directory.path());
        let (first, second) = (BackupId::random(), BackupId::random());
        assert_eq!(OperationLock::holder(&state, "check"), None);
        let held = OperationLock::take(&state, "check", first).unwrap();
        assert_eq!(OperationLock::holder(&state, "check"), Some(first));
        let refused = OperationLock::take(&state, "check", second).unwrap_err();
        assert!(
            refused.to_string().contains(&first.to_string()),
            "{refused}"
        );
        assert!(OperationLock::take(&state, "restore", second).is_ok());
        drop(held);
        assert_eq!(OperationLock::holder(&state, "check"), None);
    }
}
