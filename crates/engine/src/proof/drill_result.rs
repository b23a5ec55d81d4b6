//! What a drill showed, or why it failed.

use crate::catalog::DrillRecord;
use hubvault_archive::ArchiveError;
use std::path::PathBuf;

/// An archive did not withstand the drill, or the drill was stopped.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// It does not come back, or not equal.
    #[error("the archive does not withstand the drill: {why}")]
    Rejected {
        /// What did not come back.
        why: String,
    },
    /// The file itself.
    #[error("{}: {source}", path.display())]
    Archive {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: ArchiveError,
    },
    /// Stopped on request.
    #[error("stopped on request")]
    Cancelled,
}

impl DrillError {
    /// Whether nothing is wrong but that the archive is sealed and no identity opens it.
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Archive { source, .. } if source.is_sealed())
    }
}

/// What a drill showed.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Everything came back equal.
    Proven(DrillRecord),
    /// Nothing speaks against the archive, but not everything could be shown.
    Unproven {
        /// Why.
        reason: String,
        /// What could be shown; `None` when the drill did not begin.
        drill: Option<DrillRecord>,
    },
}

impl Verdict {
    /// Of a drill that showed nothing.
    pub(super) fn nothing_shown(reason: String) -> Self {
        let drill = None;
        Self::Unproven { reason, drill }
    }
}
