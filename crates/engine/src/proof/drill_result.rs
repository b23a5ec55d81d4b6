//! The result of a drill.

use crate::catalog::DrillRecord;
use hubvault_archive::ArchiveError;
use std::path::PathBuf;

/// An archive failed the drill, or the drill was stopped.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// It could not be restored, or its rows differ.
    #[error("the archive failed the drill: {why}")]
    Rejected {
        /// The problem.
        why: String,
        /// Whether the file could not be read as what it should be, so that nothing is known of what it holds.
        of_file: bool,
    },
    /// The file itself.
    #[error("{}: {source}", path.display())]
    Archive {
        /// Which file.
        path: PathBuf,
        /// The problem.
        source: ArchiveError,
    },
    /// Stopped on request.
    #[error("stopped on request")]
    Cancelled,
}

impl DrillError {
    /// Whether it says something of the file alone: it cannot be read, or a checksum in it is wrong.
    pub fn is_of_file(&self) -> bool {
        match self {
            Self::Archive { .. } => true,
            Self::Rejected { of_file, .. } => *of_file,
            Self::Cancelled => false,
        }
    }

    /// Whether the only problem is that the archive is sealed and no identity opens it.
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Archive { source, .. } if source.is_sealed())
    }
}

/// What a drill proved.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Everything was restored and is equal.
    Proven(DrillRecord),
    /// No problem was found, but not everything could be checked.
    Unproven {
        /// Why.
        reason: String,
        /// What was proven; `None` when the drill did not start.
        drill: Option<DrillRecord>,
    },
}

impl Verdict {
    /// Of a drill that proved nothing.
    pub(super) fn nothing_shown(reason: String) -> Self {
        let drill = None;
        Self::Unproven { reason, drill }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_of_the_file_and_what_differs_is_of_the_backup() {
        let rejected = |of_file| DrillError::Rejected {
            why: "torn".to_owned(),
            of_file,
        };
        let unread = |source| DrillError::Archive {
            path: PathBuf::from("a.tar.gz"),
            source,
        };
        let torn = || {
            unread(ArchiveError::Read {
                offset: 0,
                source: std::io::Error::other("gone"),
            })
        };
        assert!(rejected(true).is_of_file() && torn().is_of_file());
        assert!(!rejected(false).is_of_file() && !DrillError::Cancelled.is_of_file());
        assert!(!torn().is_sealed() && !rejected(true).is_sealed());
    }
}
