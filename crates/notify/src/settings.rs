//! How a mail server is reached.

use secrecy::SecretString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// How to reach a mail server.
#[derive(Clone, Debug)]
pub struct SmtpSettings {
    /// Its name, which its certificate must be for.
    pub host: String,
    /// Its port: 587 with STARTTLS, 465 with TLS from the first byte, as a rule.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// Authorities to trust besides the system's, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Take any certificate.
    pub insecure: bool,
    /// Allow no TLS, and a login without TLS, also to another machine.
    pub allow_plain: bool,
    /// Whom to log in as; without, nobody logs in.
    pub user: Option<String>,
    /// The password for that.
    pub password: Option<SecretString>,
    /// How long an attempt to connect and each answer may take.
    pub timeout: Duration,
    /// How long connecting and, again, each message may take as a whole.
    pub time_limit: Duration,
}

impl SmtpSettings {
    /// STARTTLS with a checked certificate, no login, 30 s for an answer and 15 minutes for a message.
    pub fn to(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            security: Security::default(),
            ca_file: None,
            insecure: false,
            allow_plain: false,
            user: None,
            password: None,
            timeout: Duration::from_secs(30),
            time_limit: Duration::from_mins(15),
        }
    }

    /// `host:port`, for messages.
    pub(crate) fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// TLS after a first exchange in the clear (RFC 3207); without it nothing is sent.
    #[default]
    StartTls,
    /// TLS from the first byte (RFC 8314, 3.3).
    Tls,
    /// None.
    Plain,
}

impl Security {
    /// The word for it in settings: `starttls`, `tls`, `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Tls => "tls",
            Self::Plain => "none",
        }
    }
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Security {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Self::StartTls, Self::Tls, Self::Plain]
            .into_iter()
            .find(|security| security.as_str() == word)
            .ok_or_else(|| format!("{word:?} is none of starttls, tls, none"))
    }
}
