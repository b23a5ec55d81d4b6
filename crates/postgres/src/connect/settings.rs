//! Connection settings: built by the configuration, used by every connection and child process.

use secrecy::SecretString;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What libpq calls `sslmode` (`PostgreSQL` manual, "SSL Support", table of modes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// Without TLS first, with it when the server insists.
    Allow,
    /// With TLS where the server offers it.
    #[default]
    Prefer,
    /// TLS, without checking the certificate.
    Require,
    /// TLS, and the server's certificate comes from a known authority.
    VerifyCa,
    /// As [`SslMode::VerifyCa`], and the certificate bears the server's name.
    VerifyFull,
}

impl SslMode {
    /// The word that libpq uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl std::str::FromStr for SslMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [
            Self::Disable,
            Self::Allow,
            Self::Prefer,
            Self::Require,
            Self::VerifyCa,
            Self::VerifyFull,
        ]
        .into_iter()
        .find(|mode| mode.as_str() == text)
        .ok_or_else(|| {
            format!(
                "{text:?} is not an sslmode; expected disable, allow, prefer, require, \
                 verify-ca or verify-full"
            )
        })
    }
}

/// The value of `sslrootcert` that means the authorities of the system, as in libpq of 16 and newer.
pub const SYSTEM_ROOTS: &str = "system";

/// A server that is busy, or asks others who somebody is, takes longer for a login than for a connection.
const LOGINS: u32 = 3;

impl ConnectSettings {
    /// Longest wait for a server that took the connection and does not answer.
    pub(crate) fn login_timeout(&self) -> Duration {
        self.connect_timeout.saturating_mul(LOGINS)
    }

    /// Whether the server is reached through a Unix socket.
    pub fn is_local(&self) -> bool {
        self.hostaddr.is_none() && self.host.starts_with('/')
    }

    /// The server and the database, whoever asks.
    pub fn place(&self) -> String {
        format!("{}:{}/{}", self.host, self.port, self.dbname)
    }
}

/// One database on one server, and who asks.
#[derive(Clone)]
pub struct ConnectSettings {
    /// A host name, an address, or the directory of a Unix socket (starts with `/`).
    pub host: String,
    /// Where to connect, instead of looking up [`ConnectSettings::host`], which stays the server's name for TLS.
    pub hostaddr: Option<IpAddr>,
    /// The TCP port, also part of a socket's file name.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The database.
    pub dbname: String,
    /// The password; without one, [`ConnectSettings::passfile`] is looked into.
    pub password: Option<SecretString>,
    /// A file in the form of `.pgpass` ("The Password File").
    pub passfile: Option<PathBuf>,
    /// Whether and how TLS is used.
    pub sslmode: SslMode,
    /// The authorities that are trusted (PEM); without it, or with [`SYSTEM_ROOTS`], the system's.
    pub sslrootcert: Option<PathBuf>,
    /// The client's certificate (PEM), for a server that asks for one,
    pub sslcert: Option<PathBuf>,
    /// and its private key.
    pub sslkey: Option<PathBuf>,
    /// Longest wait for one connection attempt; the login may take three times as long.
    pub connect_timeout: Duration,
    /// How often a server that does not answer, starts up or is full is tried.
    pub attempts: u32,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
    /// Whether `pg_dump` and `pg_restore` may lack security fixes.
    pub old_programs: bool,
    /// A server that this process started: no pooler is in between.
    pub is_own: bool,
}

impl Default for ConnectSettings {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            hostaddr: None,
            port: 5432,
            user: "postgres".into(),
            dbname: "postgres".into(),
            password: None,
            passfile: None,
            sslmode: SslMode::default(),
            sslrootcert: None,
            sslcert: None,
            sslkey: None,
            connect_timeout: Duration::from_secs(10),
            attempts: 3,
            application_name: "hubvault".into(),
            old_programs: false,
            is_own: false,
        }
    }
}

/// The target without the password: `postgres@db.example:5432/hub`.
impl fmt::Display for ConnectSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}@{}:{}/{}",
            self.user, self.host, self.port, self.dbname
        )
    }
}

impl fmt::Debug for ConnectSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ConnectSettings({self}, sslmode={})",
            self.sslmode.as_str()
        )
    }
}
