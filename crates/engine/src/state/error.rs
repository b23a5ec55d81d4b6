//! Why the state directory cannot be used.

use super::ownership::Untrusted;
use hubvault_model::remedy;
use std::io;
use std::path::PathBuf;

/// The state directory, or a lock in it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another run is at work.
    #[error(
        "another run holds the lock of {}: {holder}; wait for it to end, or stop that process",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Run id, process, host and start, as that run wrote them.
        holder: String,
    },
    /// Commands or services that read the list of backups hold the lock, one after the other.
    #[error(
        "the lock of {} is not free: commands or services that bring the list of backups up to date held it for a minute; \
         look for one that hangs, and start again",
        path.display()
    )]
    Read {
        /// The lock file.
        path: PathBuf,
    },
    /// Stopped on request, while the lock was waited for.
    #[error("stopped on request")]
    Cancelled,
    /// Another operation of the same kind is at work.
    #[error("another operation is running ({holder}); wait for it to end, or stop that process")]
    Busy {
        /// Operation id, process, host and start, as that operation wrote them.
        holder: String,
    },
    /// Another user can write what hubvault believes.
    #[error("the state directory cannot be trusted: {0}")]
    Untrusted(#[from] Untrusted),
    /// A file or directory of it.
    #[error("{doing} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StateError {
    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}
