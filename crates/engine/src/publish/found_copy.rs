//! What looking for a copy found.

use super::compare::Compared;
use crate::catalog::sidecar::Sidecar;
use crate::catalog::{BackupCopy, CopyState};
use hubvault_store::Object;
use jiff::Timestamp;

/// What was found of a copy.
pub(super) struct Found {
    pub(super) state: CopyState,
    pub(super) error: Option<String>,
    pub(super) locked_until: Option<Timestamp>,
    /// Of a copy that was read back.
    pub(super) whole: Option<Whole>,
}

/// A copy that was read back.
pub(super) struct Whole {
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// Where nothing whole was known of the backup.
    pub(super) sidecar: Option<Sidecar>,
}

impl Found {
    pub(super) fn of(compared: Compared, copy: &BackupCopy, object: &Object) -> Self {
        match compared {
            Compared::Whole(sha256) => Self {
                whole: Some(Whole {
                    bytes: object.bytes,
                    sha256,
                    sidecar: None,
                }),
                ..Self::wrong(CopyState::Present, "")
            },
            Compared::Damaged(what) => Self::wrong(CopyState::Damaged, what),
            Compared::Unclear(what) => Self::wrong(copy.state, what),
        }
    }

    pub(super) fn wrong(state: CopyState, what: impl Into<String>) -> Self {
        Self {
            state,
            error: Some(what.into()).filter(|what| !what.is_empty()),
            locked_until: None,
            whole: None,
        }
    }
}
