//! The server that all databases of this test share, and PostgreSQL's own programs pointed at it.

use crate::fetched::{find_fetched, reachable};
use crate::form::sized;
use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, ThrowawayOptions, ThrowawayServer};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tempfile::TempDir;

/// A running server.
pub(crate) struct RealServer {
    server: ThrowawayServer,
    /// What its programs need on the `PATH` before the system's.
    path: Vec<PathBuf>,
    _copy: Option<TempDir>,
}

static SHARED: Mutex<Weak<RealServer>> = Mutex::new(Weak::new());

impl RealServer {
    /// The one of this process: started when no test holds it, stopped when none does.
    pub(crate) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start(&[]));
        *shared = Arc::downgrade(&server);
        server
    }

    /// One of its own, with further settings.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let server = ThrowawayServer::start(&options(settings), &Cancel::new())
            .unwrap_or_else(|error| panic!("the tests need a PostgreSQL server: {error}"));
        let path = vec![server.bin_dir().to_owned()];
        Self {
            server,
            path,
            _copy: None,
        }
    }

    /// One of another version, with the newest client programs, where both are fetched.
    pub(crate) fn of_version(major: u32) -> Option<Self> {
        let clients = find_fetched("client-18")?.join("bin");
        let (bin, copy) = reachable(&find_fetched(&major.to_string())?);
        let server = ThrowawayServer::start_from(&bin, &options(&[]), &Cancel::new())
            .unwrap_or_else(|error| panic!("PostgreSQL {major}: {error}"));
        let path = vec![clients, bin];
        Some(Self {
            server,
            path,
            _copy: copy,
        })
    }

    /// A database of it, as the superuser.
    pub(crate) fn settings(&self, database: &str) -> ConnectSettings {
        self.server.settings(database)
    }

    /// A `PATH` with its programs first.
    pub(crate) fn path(&self) -> OsString {
        let system = std::env::var_os("PATH").unwrap_or_default();
        let own = self.path.iter().cloned();
        std::env::join_paths(own.chain(std::env::split_paths(&system))).unwrap()
    }

    /// A client program, pointed at a database; values are written in the same way whatever the database sets.
    pub(crate) fn program(&self, name: &str, database: &str) -> Command {
        let settings = self.settings(database);
        let mut command = Command::new(name);
        command
            .env("PATH", self.path())
            .env("PGHOST", &settings.host)
            .env("PGPORT", settings.port.to_string())
            .env("PGUSER", &settings.user)
            .env("PGDATABASE", database)
            .env(
                "PGOPTIONS",
                "-c client_min_messages=warning -c timezone=UTC -c datestyle=ISO,YMD -c intervalstyle=postgres \
                 -c bytea_output=hex -c extra_float_digits=3 -c search_path=public \
                 -c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0 \
                 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 -c session_replication_role=origin \
                 -c transform_null_equals=off -c array_nulls=on -c quote_all_identifiers=off -c temp_file_limit=-1",
            );
        command
    }

    /// Runs SQL with `psql`, which must take all of it.
    pub(crate) fn run(&self, database: &str, sql: &str) -> String {
        let mut command = self.program("psql", database);
        command.env("PGCLIENTENCODING", "UTF8");
        command.args([
            "-XAqt",
            "-v",
            "ON_ERROR_STOP=1",
            "-0",
            "-F",
            "\t",
            "-f",
            "-",
        ]);
        let output = with_input(&mut command, sql);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "psql in {database}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The rows of all queries, a name and a value each.
    pub(crate) fn pairs(&self, database: &str, sql: &str) -> BTreeMap<String, String> {
        let output = self.run(database, sql);
        let rows = output.split('\0').filter_map(|row| row.split_once('\t'));
        rows.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// One value.
    pub(crate) fn ask(&self, database: &str, sql: &str) -> String {
        self.run(database, sql).trim_end_matches('\0').to_owned()
    }

    /// A new empty database.
    pub(crate) fn create(&self, database: &str, options: &str) {
        let sql = format!(
            "CREATE DATABASE {} {options} TEMPLATE template0",
            quoted(database)
        );
        self.run("postgres", &sql);
    }

    /// Removes databases, and what the drop of a database is refused for.
    pub(crate) fn drop(&self, databases: &[String]) {
        for database in databases {
            let exists = format!(
                "SELECT count(*) FROM pg_database WHERE datname = {}",
                literal(database)
            );
            if self.ask("postgres", &exists) == "0" {
                continue;
            }
            self.run(
                "postgres",
                &format!(
                    "ALTER DATABASE {} IS_TEMPLATE false ALLOW_CONNECTIONS true",
                    quoted(database)
                ),
            );
            self.run(
                database,
                "SELECT format('ALTER SUBSCRIPTION %1$I DISABLE; ALTER SUBSCRIPTION %1$I SET (slot_name = NONE); \
                     DROP SUBSCRIPTION %1$I', subname) FROM pg_subscription \
                     WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \\gexec",
            );
            let sql = format!("DROP DATABASE {} WITH (FORCE)", quoted(database));
            self.run("postgres", &sql);
        }
    }
}

fn options(settings: &[(&str, &str)]) -> ThrowawayOptions {
    let locks = sized(256, 2048).to_string();
    let own = [
        ("max_connections", "80"),
        ("wal_level", "minimal"),
        ("max_locks_per_transaction", &locks),
        ("autovacuum", "off"),
    ];
    let settings = own.iter().chain(settings);
    ThrowawayOptions {
        settings: settings
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..ThrowawayOptions::plain("/tmp")
    }
}

/// Runs a program that reads `input`.
fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A program that ended early says why itself.
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output().unwrap()
    })
}

/// A name in SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A value of a connection string.
pub(crate) fn connection_value(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
