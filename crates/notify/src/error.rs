//! Errors of sending. Every message says what to do next.

/// The kind of an error, for programs; the message is for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The settings contradict each other or cannot be used; nothing was sent.
    Settings,
    /// The message or event cannot be put together.
    Email,
    /// The attachment cannot be read, or changed while it was sent.
    Attachment,
    /// The host's name has no address.
    HostUnknown,
    /// The connection was refused.
    ConnectionRefused,
    /// The connection timed out.
    ConnectTimedOut,
    /// The network is unreachable.
    Unreachable,
    /// The server does not offer the TLS that the settings ask for.
    NoTls,
    /// The certificate is for another name.
    CertificateName,
    /// The certificate's issuer is not trusted.
    CertificateUntrusted,
    /// The certificate is expired or otherwise invalid.
    Certificate,
    /// TLS failed for another reason.
    Tls,
    /// The login was refused, or none is possible.
    Authentication,
    /// The sender's address was refused.
    Sender,
    /// Every recipient was refused.
    Recipients,
    /// The message is larger than the server accepts.
    TooLarge,
    /// The server refused it temporarily.
    Busy,
    /// The server refused it permanently.
    Rejected,
    /// The connection ended.
    Lost,
    /// The server did not answer in time.
    Silent,
}

/// A recipient that the server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The address as it was given.
    pub address: String,
    /// Whether a retry is pointless (a reply of 500 or more).
    pub permanent: bool,
    /// The server's reply, with its code.
    pub reply: String,
}

/// Something was not sent, or it is unknown whether it was.
///
/// Says what was being done and to what, what went wrong, and what to do next. Holds no password, no token, and
/// of a URL only scheme and host.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {what}; {next}")]
pub struct SendError {
    problem: Problem,
    doing: String,
    what: String,
    next: String,
    permanent: bool,
    outcome_unknown: bool,
    refused: Vec<Refused>,
}

impl SendError {
    /// One that may go away by itself, with nothing delivered.
    pub(crate) fn new(
        problem: Problem,
        doing: impl Into<String>,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            problem,
            doing: doing.into(),
            what: what.into(),
            next: next.into(),
            permanent: false,
            outcome_unknown: false,
            refused: Vec::new(),
        }
    }

    /// The same, and a retry is pointless when `permanent` is true.
    pub(crate) fn lasting(mut self, permanent: bool) -> Self {
        self.permanent = permanent;
        self
    }

    /// The same, and the other side may nevertheless have it.
    pub(crate) fn in_doubt(mut self) -> Self {
        self.outcome_unknown = true;
        "look whether it arrived before it is sent by hand; a second one has the same id"
            .clone_into(&mut self.next);
        self
    }

    /// The same, with the recipients that were refused.
    pub(crate) fn with_refused(mut self, refused: Vec<Refused>) -> Self {
        self.refused = refused;
        self
    }

    /// The kind of the error.
    pub fn problem(&self) -> Problem {
        self.problem
    }

    /// What went wrong, alone; for a refusal the server's words.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Whether the same attempt would fail again: a reply of 500 or more, settings or a message that cannot work.
    ///
    /// Errors that others may fix meanwhile (a name, a certificate, a network) are not permanent.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// Whether the other side may have taken it although no answer came: the time ran out or the connection was
    /// lost after the last byte.
    pub fn outcome_unknown(&self) -> bool {
        self.outcome_unknown
    }

    /// Which recipients were refused and why; empty where it did not come to that.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }
}
