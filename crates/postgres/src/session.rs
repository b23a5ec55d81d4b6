//! One connection whose settings are pinned, so that the same rows give the same bytes everywhere.

use crate::error::{PgError, full_text};
use crate::settings::{ConnectSettings, SslMode};
use crate::{pgpass, tls};
use hubvault_model::{Cancel, CancelGuard};
use postgres::error::SqlState;
use postgres::{Client, Config, NoTls};
use secrecy::ExposeSecret;
use std::io::{BufRead, Read, Write};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// How often a connection is tried.
const ATTEMPTS: u32 = 3;

/// Settings that change what COPY writes or whether it ends, each set for every session
/// (`PostgreSQL` manual, "Client Connection Defaults").
const PINNED: &str = "
    SET search_path = '';
    SET row_security = off;
    SET TimeZone = 'UTC';
    SET DateStyle = 'ISO, YMD';
    SET IntervalStyle = 'postgres';
    SET extra_float_digits = 3;
    SET bytea_output = 'hex';
    SET lc_monetary = 'C';
    SET client_encoding = 'UTF8';
    SET statement_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SET synchronize_seqscans = off;
    SET xmloption = 'content';
    SET quote_all_identifiers = off;
    SET client_min_messages = 'warning';
";

/// A pinned connection.
pub struct Session {
    client: Client,
    version: u32,
    cancel: Cancel,
    interrupt: Arc<dyn Fn() + Send + Sync>,
    _wake: CancelGuard,
}

impl Session {
    /// Connects and pins the settings.
    ///
    /// A server that does not answer, starts up or is full is tried three times with a growing
    /// pause; a refused login or an unknown database is final at once.
    pub fn connect(settings: &ConnectSettings, cancel: &Cancel) -> Result<Self, PgError> {
        let mut attempt = 1;
        let client = loop {
            if cancel.is_requested() {
                return Err(PgError::Cancelled);
            }
            match open(settings) {
                Ok(client) => break client,
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again(why)) if attempt == ATTEMPTS => {
                    let target = settings.to_string();
                    return Err(PgError::Unreachable {
                        target,
                        attempts: ATTEMPTS,
                        why,
                    });
                }
                Err(Failure::Again(why)) => {
                    tracing::info!("connecting to {settings}: {why}; trying again");
                    sleep(Duration::from_millis(300) * attempt * attempt);
                    attempt += 1;
                }
            }
        };
        Self::pin(client, settings, cancel)
    }

    fn pin(client: Client, settings: &ConnectSettings, cancel: &Cancel) -> Result<Self, PgError> {
        let token = client.cancel_token();
        let connector = (settings.sslmode != SslMode::Disable)
            .then(|| tls::connector(settings).ok())
            .flatten();
        let interrupt: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            // Whoever interrupts goes on whether the server hears of it or not.
            let _ = match &connector {
                Some(connector) => token.cancel_query(connector.clone()),
                None => token.cancel_query(NoTls),
            };
        });
        let wake = cancel.on_request({
            let interrupt = Arc::clone(&interrupt);
            move || interrupt()
        });
        let cancel = cancel.clone();
        let mut session = Self {
            client,
            version: 0,
            cancel,
            interrupt,
            _wake: wake,
        };
        session.version = session.one("asking for the version", "SHOW server_version_num")?;
        let mut pinned = PINNED.to_owned();
        if session.version >= 140_000 {
            pinned += "SET idle_session_timeout = 0;";
        }
        if session.version >= 170_000 {
            pinned += "SET transaction_timeout = 0;";
        }
        session.simple("pinning the session's settings", &pinned)?;
        Ok(session)
    }

    /// The server's version as a number: 150018.
    pub fn server_version_num(&self) -> u32 {
        self.version
    }

    /// The connection itself.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Runs statements that return nothing.
    pub fn simple(&mut self, doing: &str, sql: &str) -> Result<(), PgError> {
        self.client
            .batch_execute(sql)
            .map_err(|e| PgError::query(doing, &e, self.cancel.is_requested()))
    }

    /// Runs one statement; how many rows it changed.
    pub(crate) fn execute(&mut self, doing: &str, sql: &str) -> Result<u64, PgError> {
        self.client
            .execute(sql, &[])
            .map_err(|e| PgError::query(doing, &e, self.cancel.is_requested()))
    }

    /// Rows of a query without parameters.
    pub(crate) fn rows(&mut self, doing: &str, sql: &str) -> Result<Vec<postgres::Row>, PgError> {
        self.client
            .query(sql, &[])
            .map_err(|e| PgError::query(doing, &e, self.cancel.is_requested()))
    }

    fn one(&mut self, doing: &str, sql: &str) -> Result<u32, PgError> {
        let rows = self.rows(doing, sql)?;
        let text: String = rows.first().map(|row| row.get(0)).unwrap_or_default();
        text.parse().map_err(|_| PgError::Query {
            doing: doing.to_owned(),
            why: format!("the answer {text:?} is not a number"),
        })
    }

    /// Runs a `COPY ... TO STDOUT` and hands its bytes on, in pieces of whole messages.
    ///
    /// When `each` fails, the server's query is cancelled: a COPY that is merely dropped would be
    /// read to its end before the connection could be used or closed.
    pub fn copy_out<E: From<PgError>>(
        &mut self,
        doing: &str,
        sql: &str,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (interrupt, cancel) = (Arc::clone(&self.interrupt), self.cancel.clone());
        let failed = |e: &postgres::Error| E::from(PgError::query(doing, e, cancel.is_requested()));
        let mut reader = self.client.copy_out(sql).map_err(|e| failed(&e))?;
        loop {
            let piece = match reader.fill_buf() {
                Ok(piece) => piece,
                Err(error) => return Err(E::from(lost(doing, &error, &cancel))),
            };
            if piece.is_empty() {
                return Ok(());
            }
            let length = piece.len();
            if let Err(error) = each(piece) {
                interrupt();
                return Err(error);
            }
            reader.consume(length);
        }
    }

    /// Runs a `COPY ... FROM STDIN` with everything that `reader` gives; the rows that came in.
    /// An error of the reader aborts the COPY.
    pub fn copy_in(
        &mut self,
        doing: &str,
        sql: &str,
        reader: &mut dyn Read,
    ) -> Result<u64, PgError> {
        let cancel = self.cancel.clone();
        let failed = |e: &postgres::Error| PgError::query(doing, e, cancel.is_requested());
        let mut writer = self.client.copy_in(sql).map_err(|e| failed(&e))?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = reader
                .read(&mut buffer)
                .map_err(|e| lost(doing, &e, &cancel))?;
            if n == 0 {
                return writer.finish().map_err(|e| failed(&e));
            }
            writer
                .write_all(&buffer[..n])
                .map_err(|e| lost(doing, &e, &cancel))?;
        }
    }
}

/// The library wraps the server's error into an I/O error while COPY streams.
fn lost(doing: &str, error: &std::io::Error, cancel: &Cancel) -> PgError {
    let cancelled = cancel.is_requested();
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<postgres::Error>())
    {
        Some(inner) => PgError::query(doing, inner, cancelled),
        None if cancelled => PgError::Cancelled,
        None => PgError::ConnectionLost {
            doing: doing.to_owned(),
            why: error.to_string(),
        },
    }
}

enum Failure {
    Final(PgError),
    Again(String),
}

fn open(settings: &ConnectSettings) -> Result<Client, Failure> {
    let mut config = Config::new();
    config
        .host(&settings.host)
        .port(settings.port)
        .user(&settings.user)
        .dbname(&settings.dbname)
        .application_name(&settings.application_name)
        .connect_timeout(settings.connect_timeout)
        .keepalives_idle(Duration::from_mins(1))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_mins(1));
    let from_file = || {
        settings
            .passfile
            .as_ref()
            .and_then(|path| pgpass::look_up(path, settings))
    };
    if let Some(password) = settings.password.clone().or_else(from_file) {
        config.password(password.expose_secret());
    }
    // A Unix socket never has TLS.
    let mode = if settings.host.starts_with('/') {
        SslMode::Disable
    } else {
        settings.sslmode
    };
    config.ssl_mode(match mode {
        SslMode::Disable | SslMode::Allow => postgres::config::SslMode::Disable,
        SslMode::Prefer => postgres::config::SslMode::Prefer,
        _ => postgres::config::SslMode::Require,
    });
    if mode == SslMode::Disable {
        return config.connect(NoTls).map_err(|e| classify(settings, &e));
    }
    let target = settings.to_string();
    let connector =
        tls::connector(settings).map_err(|why| Failure::Final(PgError::Tls { target, why }))?;
    let connected = config.connect(connector.clone());
    match connected {
        // `allow`: plain first, TLS when the server insists.
        Err(_) if mode == SslMode::Allow => {
            config.ssl_mode(postgres::config::SslMode::Require);
            config
                .connect(connector)
                .map_err(|e| classify(settings, &e))
        }
        other => other.map_err(|e| classify(settings, &e)),
    }
}

fn classify(settings: &ConnectSettings, error: &postgres::Error) -> Failure {
    let target = settings.to_string();
    let why = full_text(error);
    let Some(code) = error.code() else {
        if why.contains("TLS") || why.contains("certificate") {
            return Failure::Final(PgError::Tls { target, why });
        }
        if why.contains("password") {
            return Failure::Final(PgError::Login { target, why });
        }
        return Failure::Again(why);
    };
    let starting = [
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
    ];
    if starting.contains(code) {
        Failure::Again(why)
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        Failure::Final(PgError::NoSuchDatabase { target, why })
    } else {
        Failure::Final(PgError::Login { target, why })
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
