//! What went wrong with a request, and what to do about it.

use super::cause::{chain, is_timeout, is_unconnected, plain, tls};
use crate::error::{ErrorKind, StoreError};
use hubvault_model::{counted, excerpt};
use object_store::client::HttpError;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

/// The result of a request.
pub(crate) type Answer<T> = Result<T, Failure>;

/// A request that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What kind it is.
    pub(crate) kind: ErrorKind,
    /// The status of the answer; 0 where none came.
    pub(crate) status: u16,
    /// The store's own word for it, such as `NoSuchKey`.
    pub(crate) code: String,
    /// The cause and what to do, without secrets.
    pub(crate) text: String,
    /// Whether the request may have been done after all.
    pub(crate) is_uncertain: bool,
    /// What the system calls it, where it is the network's.
    pub(crate) cause: io::ErrorKind,
}

/// What an answer says that came from somebody else.
pub(crate) const NOT_A_STORE: &str =
    "the answer is not that of a store; is a proxy or login page between?";

/// What to do where there is no connection.
pub(crate) const UNCONNECTED: &str = "check the endpoint, the network and that the server runs";

/// What to do about a proxy that does not know who asks.
const PROXY_LOGIN: &str = "the proxy wants a user and a password, or other ones; set proxy = \"http://user:password@host:port\" \
                           (or HTTPS_PROXY)";

/// What a proxy says that makes no tunnel to the store; `None` where it is something else.
pub(crate) fn refused_by_proxy(text: &str) -> Option<Failure> {
    if text.contains("tunnel error: proxy authorization required") {
        return Some(Failure::new(ErrorKind::Denied, PROXY_LOGIN));
    }
    let why = if text.contains("tunnel error: failed to create underlying connection") {
        "cannot connect to the proxy; check its address in proxy (or HTTPS_PROXY), and that it runs"
    } else if text.contains("tunnel error: unsuccessful") {
        // Whether it does not want to, or does not reach the store just now, is not known.
        "the proxy makes no connection to the store; correct its user and password, have it allow the store's host and port, \
         or except the host with NO_PROXY"
    } else {
        return None;
    };
    let mut failure = Failure::new(ErrorKind::Unavailable, why);
    failure.cause = io::ErrorKind::NotConnected;
    Some(failure)
}

/// Why a copy does not count that is to be encrypted.
pub(crate) const NOT_ENCRYPTED: &str = "the store does not say that it encrypts it; remove the setting encryption, or use a store that does";

/// Signs that somebody else answers, or not by HTTP.
const NO_HTTP: &[&str] = &[NOT_A_STORE, "message head is too large", "invalid HTTP"];

/// The longest text of a store that is shown.
pub(crate) const LONGEST: usize = 300;

/// Codes of S3 stores, what kind they are and what to do.
const CODES: &[(&str, ErrorKind, &str)] = &[
    (
        "AccessDenied",
        ErrorKind::Denied,
        "give the key the right to do that there (docs/destinations.md has the policy)",
    ),
    (
        "AllAccessDisabled",
        ErrorKind::Denied,
        "the owner of the store has shut it; ask the provider",
    ),
    (
        "AccountProblem",
        ErrorKind::Denied,
        "ask the provider what is wrong with the account",
    ),
    (
        "InvalidAccessKeyId",
        ErrorKind::Denied,
        "the store does not know the key's id; check the credentials and the endpoint",
    ),
    (
        "SignatureDoesNotMatch",
        ErrorKind::Denied,
        "the secret does not belong to the key's id; check the credentials",
    ),
    (
        "ExpiredToken",
        ErrorKind::Denied,
        "the temporary credentials have expired; renew them",
    ),
    (
        "TokenRefreshRequired",
        ErrorKind::Denied,
        "the temporary credentials have expired; renew them",
    ),
    (
        "InvalidToken",
        ErrorKind::Denied,
        "the session token does not belong to the key; renew the credentials",
    ),
    (
        "RequestTimeTooSkewed",
        ErrorKind::Denied,
        "the clock of this machine and that of the store differ by too much; set the clock (NTP)",
    ),
    (
        "RequestExpired",
        ErrorKind::Denied,
        "the clock of this machine and that of the store differ by too much; set the clock (NTP)",
    ),
    (
        "AuthorizationHeaderMalformed",
        ErrorKind::Denied,
        "set the region of the bucket",
    ),
    (
        "PermanentRedirect",
        ErrorKind::Denied,
        "set the region and the endpoint of the bucket",
    ),
    (
        "IllegalLocationConstraintException",
        ErrorKind::Denied,
        "set the region of the bucket",
    ),
    (
        "NoSuchBucket",
        ErrorKind::Failed,
        "create the bucket, or correct its name",
    ),
    ("NoSuchKey", ErrorKind::NotFound, ""),
    (
        "NoSuchUpload",
        ErrorKind::Failed,
        "somebody ended the upload meanwhile; is a lifecycle rule too short?",
    ),
    (
        "InvalidObjectState",
        ErrorKind::Failed,
        "the object is archived in its storage class; restore it there first",
    ),
    (
        "InvalidStorageClass",
        ErrorKind::Failed,
        "the store has no such storage class; correct the setting",
    ),
    (
        "SlowDown",
        ErrorKind::Throttled,
        "the store asks for fewer requests",
    ),
    (
        "Throttling",
        ErrorKind::Throttled,
        "the store asks for fewer requests",
    ),
    (
        "ThrottlingException",
        ErrorKind::Throttled,
        "the store asks for fewer requests",
    ),
    (
        "TooManyRequests",
        ErrorKind::Throttled,
        "the store asks for fewer requests",
    ),
    (
        "RequestLimitExceeded",
        ErrorKind::Throttled,
        "the store asks for fewer requests",
    ),
    ("InternalError", ErrorKind::Unavailable, ""),
    ("ServiceUnavailable", ErrorKind::Unavailable, ""),
    ("OperationAborted", ErrorKind::Unavailable, ""),
    ("ConditionalRequestConflict", ErrorKind::Unavailable, ""),
    ("RequestTimeout", ErrorKind::Unavailable, ""),
    (
        "BadDigest",
        ErrorKind::Unavailable,
        "what arrived is not what was sent",
    ),
    (
        "XAmzContentSHA256Mismatch",
        ErrorKind::Unavailable,
        "what arrived is not what was sent",
    ),
    (
        "XAmzContentChecksumMismatch",
        ErrorKind::Unavailable,
        "what arrived is not what was sent",
    ),
    (
        "IncompleteBody",
        ErrorKind::Unavailable,
        "what arrived is not what was sent",
    ),
    (
        "QuotaExceeded",
        ErrorKind::Full,
        "make room there, or raise the quota",
    ),
    (
        "StorageQuotaExceeded",
        ErrorKind::Full,
        "make room there, or raise the quota",
    ),
    (
        "InsufficientStorage",
        ErrorKind::Full,
        "make room there, or raise the quota",
    ),
    ("XMinioStorageFull", ErrorKind::Full, "make room there"),
    (
        "EntityTooLarge",
        ErrorKind::Failed,
        "the store takes no object or part of this size",
    ),
    (
        "NotImplemented",
        ErrorKind::Unsupported,
        "the store cannot do this",
    ),
    (
        "MethodNotAllowed",
        ErrorKind::Unsupported,
        "the store cannot do this",
    ),
    (
        "ObjectLockConfigurationNotFoundError",
        ErrorKind::Unsupported,
        "create a bucket with object lock, or remove the setting lock",
    ),
];

impl Failure {
    /// One that no answer said.
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            status: 0,
            code: String::new(),
            text: text.into(),
            is_uncertain: false,
            cause: io::ErrorKind::Other,
        }
    }

    /// An answer that is no success: its status, the store's code and message.
    pub(crate) fn answered(status: u16, code: &str, message: &str) -> Self {
        let known = CODES.iter().find(|(known, ..)| *known == code);
        let (kind, advice) =
            known.map_or_else(|| of_status(status), |(_, kind, advice)| (*kind, *advice));
        let mut text = match (code, message) {
            ("", "") => format!("the store answered with status {status}"),
            ("", message) => format!("the store answered with status {status}: {message}"),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {}", message.trim_end_matches('.')),
        };
        text = excerpt(&text, LONGEST);
        if !advice.is_empty() {
            let _ = write!(text, "; {advice}");
        }
        Self {
            kind,
            status,
            code: code.to_owned(),
            text,
            // A store that fails inside may have done it before.
            is_uncertain: matches!(status, 500 | 502 | 504),
            cause: io::ErrorKind::Other,
        }
    }

    /// A request to which no answer came.
    pub(crate) fn unanswered(error: &HttpError) -> Self {
        let text = chain(error);
        if NO_HTTP.iter().any(|part| text.contains(part)) {
            return Self {
                is_uncertain: true,
                ..Self::new(ErrorKind::Failed, NOT_A_STORE)
            };
        }
        if let Some(text) = tls(error) {
            return Self::new(ErrorKind::Failed, text);
        }
        if let Some(failure) = refused_by_proxy(&text) {
            return failure;
        }
        let mut failure = Self::new(ErrorKind::Unavailable, plain(&text));
        if is_unconnected(&text) {
            failure.cause = io::ErrorKind::NotConnected;
            failure.text = format!("cannot connect: {}; {UNCONNECTED}", failure.text);
        } else {
            failure.is_uncertain = true;
            if is_timeout(error) {
                failure.cause = io::ErrorKind::TimedOut;
            }
        }
        failure
    }

    /// An answer that broke off.
    pub(crate) fn cut(error: &HttpError) -> Self {
        let mut failure = Self::unanswered(error);
        failure.is_uncertain = true;
        failure
    }

    /// A request that made no headway for so long.
    pub(crate) fn stalled(after: Duration) -> Self {
        let text = format!(
            "no answer within {}",
            counted(after.as_secs().max(1), "second")
        );
        let mut failure = Self::new(ErrorKind::Unavailable, text);
        failure.is_uncertain = true;
        failure.cause = io::ErrorKind::TimedOut;
        failure
    }

    /// The same of somebody else than the store.
    pub(crate) fn because(mut self, of: &str) -> Self {
        self.text = format!("{of}: {}", self.text);
        self.of_read()
    }

    /// Whether nothing came for as long as the store is waited for.
    pub(crate) fn is_silence(&self) -> bool {
        self.cause == io::ErrorKind::TimedOut
    }

    /// Whether there was not even a connection.
    pub(crate) fn is_unconnected(&self) -> bool {
        self.cause == io::ErrorKind::NotConnected
    }

    /// Whether the same request may succeed a little later.
    pub(crate) fn may_be_retried(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Throttled)
    }

    /// The same for a request that changes nothing.
    pub(crate) fn of_read(mut self) -> Self {
        self.is_uncertain = false;
        self
    }

    /// The error of a call.
    pub(crate) fn into_error(self, doing: &'static str, place: &str) -> StoreError {
        let error = StoreError::new(doing, place, self.to_io()).of_kind(self.kind);
        if self.is_uncertain {
            error.uncertain()
        } else {
            error
        }
    }

    /// The error of a reader.
    pub(crate) fn to_io(&self) -> io::Error {
        io::Error::new(self.cause, self.text.clone())
    }
}

fn of_status(status: u16) -> (ErrorKind, &'static str) {
    match status {
        300..=399 => (
            ErrorKind::Failed,
            "redirects are not followed; set the bucket's own endpoint and region, and look for a login page in between",
        ),
        407 => (ErrorKind::Denied, PROXY_LOGIN),
        401 | 403 => (
            ErrorKind::Denied,
            "check the credentials and their rights, also those for a proxy in between",
        ),
        404 => (ErrorKind::NotFound, ""),
        408 | 500 | 502 | 503 | 504 => (ErrorKind::Unavailable, ""),
        429 => (ErrorKind::Throttled, "the store asks for fewer requests"),
        405 | 501 => (ErrorKind::Unsupported, "the store cannot do this"),
        507 => (ErrorKind::Full, "make room there"),
        _ => (ErrorKind::Failed, ""),
    }
}
