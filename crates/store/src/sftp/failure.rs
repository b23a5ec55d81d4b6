//! Why something failed on the way to a server or on it.

use crate::bounds::{Endless, LARGEST_OBJECT};
use crate::error::{ErrorKind, StoreError};
use hubvault_model::{counted, excerpt};
use russh_sftp::protocol::StatusCode;
use std::io;
use std::time::Duration;

/// The longest text of a server that is shown.
pub(super) const LONGEST: usize = 300;

/// A failure, before it is said what was being done.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    text: String,
    /// The connection is not usable any more: the server may or may not have done what was asked last.
    pub(super) is_lost: bool,
    /// What the server answered.
    pub(super) code: Option<StatusCode>,
    /// What the system calls it, where it is the network's.
    cause: io::ErrorKind,
}

impl Failure {
    /// A failure of this kind for this reason.
    pub(super) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            is_lost: false,
            code: None,
            cause: io::ErrorKind::Other,
        }
    }

    /// What only somebody can change: a login, a key, a right.
    pub(super) fn denied(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, text)
    }

    /// The connection broke.
    pub(super) fn lost(text: impl Into<String>) -> Self {
        Self {
            is_lost: true,
            ..Self::new(ErrorKind::Unavailable, text)
        }
    }

    /// There was not even a connection.
    pub(super) fn unconnected(text: impl Into<String>) -> Self {
        Self {
            cause: io::ErrorKind::NotConnected,
            ..Self::lost(text)
        }
    }

    /// Nothing came for so long.
    pub(super) fn silent(patience: Duration) -> Self {
        let text = format!(
            "the server did not answer within {} s; check the network and the server's disks",
            patience.as_secs()
        );
        Self {
            cause: io::ErrorKind::TimedOut,
            ..Self::lost(text)
        }
    }

    /// What the server answered.
    pub(super) fn answered(code: StatusCode, message: &str) -> Self {
        let (kind, advice) = match code {
            StatusCode::NoSuchFile => (ErrorKind::NotFound, ""),
            StatusCode::PermissionDenied => (
                ErrorKind::Denied,
                "; give the user that logs in the right to do that there",
            ),
            StatusCode::OpUnsupported => (ErrorKind::Unsupported, ""),
            StatusCode::NoConnection | StatusCode::ConnectionLost => (ErrorKind::Unavailable, ""),
            _ => (
                ErrorKind::Failed,
                " (SFTP gives no reason: a quota or a limit of the size of files may be reached, or the disk be broken); \
                 look into the server's log",
            ),
        };
        let message = if message.is_empty() {
            code.to_string()
        } else {
            excerpt(message, LONGEST)
        };
        Self {
            code: Some(code),
            ..Self::new(kind, format!("the server answers \"{message}\"{advice}"))
        }
    }

    /// There is no such object.
    pub(super) fn no_object() -> Self {
        Self::new(ErrorKind::NotFound, "there is no such file")
    }

    /// The object is another one now.
    pub(super) fn replaced() -> Self {
        Self::new(
            ErrorKind::Changed,
            "it was replaced by another one meanwhile; begin again",
        )
    }

    /// A file without a size, which no server should say.
    pub(super) fn no_size() -> Self {
        Self::new(
            ErrorKind::Failed,
            "the server does not say how large the file is",
        )
    }

    /// A size that no file has: what counts sizes would go wrong.
    pub(super) fn impossible(bytes: u64) -> Self {
        let text = format!(
            "the server says that it has {bytes} bytes, more than {LARGEST_OBJECT}, which no archive has"
        );
        Self::new(ErrorKind::Failed, text)
    }

    /// So much came, and took so long.
    pub(super) fn slow(bytes: u64, within: Duration) -> Self {
        let (came, seconds) = (counted(bytes, "byte"), within.as_secs().max(1));
        let text = format!("only {came} came within {}", counted(seconds, "second"));
        Self {
            cause: io::ErrorKind::TimedOut,
            ..Self::new(ErrorKind::Unavailable, text)
        }
    }

    /// What was being done, to what.
    pub(super) fn at(self, doing: &'static str, place: impl Into<String>) -> StoreError {
        StoreError::new(doing, place, io::Error::new(self.cause, self.text)).of_kind(self.kind)
    }

    /// The same for a reader.
    pub(super) fn while_reading(self, place: &str) -> io::Error {
        let kind = match self.kind {
            ErrorKind::Unavailable if self.cause == io::ErrorKind::TimedOut => self.cause,
            ErrorKind::Unavailable => io::ErrorKind::ConnectionReset,
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self.at("reading", place))
    }
}

impl From<Endless> for Failure {
    fn from(endless: Endless) -> Self {
        let mut failure = Self::new(endless.kind, endless.text);
        if failure.kind == ErrorKind::Unavailable {
            failure.cause = io::ErrorKind::TimedOut;
        }
        failure
    }
}

impl From<io::Error> for Failure {
    /// A failure of this machine.
    fn from(error: io::Error) -> Self {
        let StoreError { kind, source, .. } = StoreError::new("", "", error);
        Self::new(kind, source.to_string())
    }
}
