//! What a store could not do.

use hubvault_model::remedy;
use std::io;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no object of this key. Final.
    NotFound,
    /// The store refuses: wrong credentials, missing rights, read-only. Final until somebody changes that.
    Denied,
    /// No room or quota is left. Final until somebody makes room.
    Full,
    /// The store cannot be reached, is busy or gave up in the middle. May be retried.
    Unavailable,
    /// The store asks for fewer requests. May be retried, later than what is unavailable.
    Throttled,
    /// The object is locked. Final until the lock ends.
    Locked,
    /// The store cannot do such a thing at all. Final.
    Unsupported,
    /// The object is another one than was asked for: it was replaced meanwhile. Final; what was read of it is to be read again.
    Changed,
    /// The content that was to be stored could not be read; the store itself is well. Not the store's to retry.
    Content,
    /// Everything else. Final.
    Failed,
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {place}: {source}{}", remedy(source))]
pub struct StoreError {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// What was being done: `storing`.
    pub doing: &'static str,
    /// To what, as people know it: a path or a URL.
    pub place: String,
    /// Whether the call may have been done after all: ask [`Store::head`](crate::Store::head). Otherwise nothing was done.
    pub is_uncertain: bool,
    /// The cause.
    pub source: io::Error,
}

impl StoreError {
    /// A failure of which the system said why, and that changed nothing.
    pub fn new(doing: &'static str, place: impl Into<String>, source: io::Error) -> Self {
        Self {
            kind: kind_of(&source),
            doing,
            place: place.into(),
            is_uncertain: false,
            source,
        }
    }

    /// The same of another kind.
    #[must_use]
    pub fn of_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// The same where it is not known whether the call was done.
    #[must_use]
    pub fn uncertain(self) -> Self {
        Self {
            is_uncertain: true,
            ..self
        }
    }

    /// Whether the same call may succeed a little later. Every call of a store may be made again.
    pub fn may_be_retried(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Throttled)
    }

    /// Whether nothing came for as long as the store is waited for, so that asking at once again would take as long.
    pub fn is_silence(&self) -> bool {
        self.kind == ErrorKind::Unavailable && self.source.kind() == io::ErrorKind::TimedOut
    }

    /// Whether the store is silent, or there was not even a connection, also not at the tries that the call made.
    pub fn is_unreachable(&self) -> bool {
        let is_unavailable = self.kind == ErrorKind::Unavailable;
        self.is_silence() || is_unavailable && self.source.kind() == io::ErrorKind::NotConnected
    }
}

fn kind_of(error: &io::Error) -> ErrorKind {
    use io::ErrorKind as Io;
    match error.kind() {
        Io::NotFound | Io::NotADirectory => ErrorKind::NotFound,
        Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
        Io::StorageFull | Io::QuotaExceeded => ErrorKind::Full,
        Io::TimedOut
        | Io::Interrupted
        | Io::ResourceBusy
        | Io::ConnectionReset
        | Io::ConnectionRefused
        | Io::ConnectionAborted
        | Io::NotConnected
        | Io::HostUnreachable
        | Io::NetworkUnreachable
        | Io::StaleNetworkFileHandle => ErrorKind::Unavailable,
        Io::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Failed,
    }
}
