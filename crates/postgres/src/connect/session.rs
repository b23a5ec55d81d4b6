//! One connection whose settings are pinned, so that the same rows give the same bytes everywhere.

use crate::connect::open::{
    Failure, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, LIMIT_CATALOGS, PINNED, SOURCE, TCP_SILENCE,
    classify, password, persistently, tls_mode,
};
use crate::connect::settings::{ConnectSettings, SslMode};
use crate::connect::{pooler, tls};
use crate::error::PgError;
use crate::message::full_text;
use fallible_iterator::FallibleIterator;
use hubvault_model::{Cancel, CancelGuard, quote_literal};
use postgres::error::SqlState;
use postgres::types::ToSql;
use postgres::{Client, Config, NoTls};
use secrecy::ExposeSecret;
use std::io::{BufRead, Read, Write};
use std::sync::mpsc::channel;

/// A pinned connection.
pub struct Session {
    client: Client,
    version: u32,
    cancel: Cancel,
    _wake: CancelGuard,
}

impl Session {
    /// Connects and pins the settings.
    ///
    /// A server that does not answer, starts up or is full is tried again with growing pauses; a refused login or an
    /// unknown database is final at once.
    pub fn connect(settings: &ConnectSettings, cancel: &Cancel) -> Result<Self, PgError> {
        let client = persistently(settings, cancel, || open_in_time(settings, cancel))?;
        pooler::refuse(settings, cancel)?;
        Self::pin(client, settings, cancel)
    }

    /// The same to the database that is backed up: it changes nothing there and reads no view, and its statements have
    /// a time limit on the server.
    pub fn at_source(settings: &ConnectSettings, cancel: &Cancel) -> Result<Self, PgError> {
        let mut session = Self::connect(settings, cancel)?;
        let pinned = format!("{SOURCE}{LIMIT_CATALOGS}");
        session.simple("pinning the session's settings", &pinned)?;
        Ok(session)
    }

    fn pin(client: Client, settings: &ConnectSettings, cancel: &Cancel) -> Result<Self, PgError> {
        let token = client.cancel_token();
        let connector = (settings.sslmode != SslMode::Disable)
            .then(|| tls::connector(settings).ok())
            .flatten();
        let wake = cancel.on_request(move || {
            // Whoever interrupts goes on whether the server hears of it or not.
            let _ = match &connector {
                Some(connector) => token.cancel_query(connector.clone()),
                None => token.cancel_query(NoTls),
            };
        });
        let cancel = cancel.clone();
        let mut session = Self {
            client,
            version: 0,
            cancel,
            _wake: wake,
        };
        session.version = session.one("asking for the version", "SHOW server_version_num")?;
        session.simple("pinning the session's settings", PINNED)?;
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

    /// The error of a statement that ran over [`Session::client`].
    pub(crate) fn failed(&self, doing: &str, error: &postgres::Error) -> PgError {
        PgError::query(doing, error, self.cancel.is_requested())
    }

    /// Runs statements that return nothing.
    pub fn simple(&mut self, doing: &str, sql: &str) -> Result<(), PgError> {
        self.client
            .batch_execute(sql)
            .map_err(|e| PgError::query(doing, &e, self.cancel.is_requested()))
    }

    /// Runs queries of ours in a session that has the source's `search_path` for statements of the archive: what others
    /// may create in its schemas is not called by them (CVE-2018-1058).
    pub(crate) fn with_empty_path<T>(
        &mut self,
        queries: impl FnOnce(&mut Self) -> Result<T, PgError>,
    ) -> Result<T, PgError> {
        let doing = "changing the search_path";
        let sql = "SELECT pg_catalog.current_setting('search_path')";
        let rows = self.rows(doing, sql)?;
        let path: String = rows.first().map(|row| row.get(0)).unwrap_or_default();
        self.simple(doing, "SET search_path = ''")?;
        let result = queries(self);
        let path = quote_literal(&path);
        self.simple(
            doing,
            &format!("SELECT pg_catalog.set_config('search_path', {path}, false)"),
        )?;
        result
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

    /// Hands on the rows of a query one by one: they are never in memory together.
    pub(crate) fn for_each<E: From<PgError>>(
        &mut self,
        doing: &str,
        sql: &str,
        mut each: impl FnMut(&postgres::Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let cancel = self.cancel.clone();
        let failed = |e: &postgres::Error| PgError::query(doing, e, cancel.is_requested());
        let none = std::iter::empty::<&(dyn ToSql + Sync)>();
        let mut rows = (self.client.query_raw(sql, none)).map_err(|e| failed(&e))?;
        while let Some(row) = rows.next().map_err(|e| failed(&e))? {
            each(&row)?;
        }
        Ok(())
    }

    fn one(&mut self, doing: &str, sql: &str) -> Result<u32, PgError> {
        let rows = self.rows(doing, sql)?;
        let text: String = rows.first().map(|row| row.get(0)).unwrap_or_default();
        text.parse().map_err(|_| PgError::Query {
            doing: doing.to_owned(),
            why: format!("the answer {text:?} is not a number"),
        })
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
            // The reader may give very much, whatever becomes of the server's side.
            if cancel.is_requested() {
                return Err(PgError::Cancelled);
            }
            let n = (reader.read(&mut buffer)).map_err(|error| PgError::Input {
                doing: doing.to_owned(),
                why: error.to_string(),
            })?;
            if n == 0 {
                return writer.finish().map_err(|e| failed(&e));
            }
            writer
                .write_all(&buffer[..n])
                .map_err(|e| lost(doing, &e, &cancel))?;
        }
    }

    /// Runs a `COPY ... TO STDOUT` and hands on what it sends, a row at a time. Sees what this session's transaction did;
    /// a [`CopySession`](crate::CopySession) is faster.
    pub fn copy_out(
        &mut self,
        doing: &str,
        sql: &str,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), PgError> {
        let cancel = self.cancel.clone();
        let failed = |e: &postgres::Error| PgError::query(doing, e, cancel.is_requested());
        let mut reader = self.client.copy_out(sql).map_err(|e| failed(&e))?;
        loop {
            let row = reader.fill_buf().map_err(|e| lost(doing, &e, &cancel))?;
            let length = row.len();
            if length == 0 {
                return Ok(());
            }
            each(row);
            reader.consume(length);
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

/// Connects and logs in within the time limit, and until a stop request. The library limits only the connection: a server
/// that takes it and never answers is left to a thread that waits for nothing but it.
fn open_in_time(settings: &ConnectSettings, cancel: &Cancel) -> Result<Client, Failure> {
    let (sender, receiver) = channel();
    let (theirs, requested) = (settings.clone(), sender.clone());
    let _wake = cancel.on_request(move || {
        let _ = requested.send(Err(Failure::Final(PgError::Cancelled)));
    });
    std::thread::spawn(move || {
        // Nobody listens any more where it took too long.
        let _ = sender.send(open(&theirs));
    });
    let limit = settings.login_timeout();
    let waited = receiver.recv_timeout(limit);
    waited.unwrap_or_else(|_| Err(Failure::no_answer(limit)))
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
        .keepalives_idle(TCP_SILENCE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .tcp_user_timeout(TCP_SILENCE);
    if let Some(address) = settings.hostaddr {
        config.hostaddr(address);
    }
    if let Some(password) = password(settings) {
        config.password(password.expose_secret());
    }
    let mode = tls_mode(settings);
    config.ssl_mode(match mode {
        SslMode::Disable | SslMode::Allow => postgres::config::SslMode::Disable,
        SslMode::Prefer => postgres::config::SslMode::Prefer,
        _ => postgres::config::SslMode::Require,
    });
    if mode == SslMode::Disable {
        return config.connect(NoTls).map_err(|e| failure(settings, &e));
    }
    let target = settings.to_string();
    let connector =
        tls::connector(settings).map_err(|why| Failure::Final(PgError::Tls { target, why }))?;
    let connected = config.connect(connector.clone());
    match connected {
        // `allow`: plain first, TLS when the server insists.
        Err(_) if mode == SslMode::Allow => {
            config.ssl_mode(postgres::config::SslMode::Require);
            config.connect(connector).map_err(|e| failure(settings, &e))
        }
        other => other.map_err(|e| failure(settings, &e)),
    }
}

fn failure(settings: &ConnectSettings, error: &postgres::Error) -> Failure {
    let code = error.code().map(SqlState::code);
    classify(settings, code, full_text(error))
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
