//! Why an archive was not copied, and what that is about.

use hubvault_store::{ErrorKind, Store, StoreError};

/// Why an archive was not copied.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// The destination's store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is at the destination cannot be read, although its store is well.
    #[error("{0}")]
    Object(StoreError),
    /// Where it is read from.
    #[error("{0}")]
    Source(String),
    /// What it is read from is not the archive that was proven.
    #[error("{0}")]
    Damaged(String),
    /// It may not go there.
    #[error("{0}")]
    Refused(String),
    /// What was stored is not what was sent.
    #[error("{0}")]
    Differs(String),
    /// The run ends, or somebody stops it.
    #[error("stopped before it was copied")]
    Stopped,
}

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// This copy.
    Copy,
    /// This copy, or whatever is stored there.
    Perhaps,
    /// Its destination.
    Destination,
}

/// Whether an error may be about one object only: one that cannot be read or replaced.
fn is_of_one(error: &StoreError) -> bool {
    !matches!(
        error.kind,
        ErrorKind::Unavailable | ErrorKind::Throttled | ErrorKind::Full
    )
}

impl CopyError {
    /// Whether it may succeed a little later.
    pub(super) fn may_be_retried(&self) -> bool {
        match self {
            // The store was waited for long enough.
            Self::Store(error) => error.may_be_retried() && !error.is_silence(),
            Self::Differs(_) => true,
            Self::Object(_)
            | Self::Source(_)
            | Self::Damaged(_)
            | Self::Refused(_)
            | Self::Stopped => false,
        }
    }

    /// An error of a store that is well otherwise is of what was read there alone.
    pub(super) fn of_object(self, store: &dyn Store) -> Self {
        match self {
            Self::Store(error) if is_of_one(&error) && store.check().is_ok() => Self::Object(error),
            error => error,
        }
    }

    /// Whether it is about the destination, so that no other archive gets there, either.
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::Store(error) if is_of_one(error) => Scope::Perhaps,
            Self::Store(_) | Self::Stopped => Scope::Destination,
            _ => Scope::Copy,
        }
    }

    /// Whether the store asks for fewer requests.
    pub(super) fn is_throttled(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind == ErrorKind::Throttled)
    }
}
