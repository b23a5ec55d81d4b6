//! One server a test process, one database a test.

use crate::directory::of_servers;
use hubvault_model::{Cancel, RowDigest, RowDigester, RowFormat, TableName, quote_ident};
use hubvault_postgres::{
    ConnectSettings, RelationKind, Session, ThrowawayOptions, ThrowawayServer, inspect,
};
use std::collections::BTreeMap;
use std::io::Read;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows and digest of every table of a database.
pub type Digests = BTreeMap<TableName, RowDigest>;

/// A throwaway server that the tests of one process share.
pub struct Server {
    throwaway: ThrowawayServer,
    next: AtomicU32,
}

static SHARED: Mutex<Option<Arc<Server>>> = Mutex::new(None);

/// The server of this test process; started by the first test that asks for it, gone when the process ends, so that
/// nothing is left behind.
///
/// # Panics
/// When no server can be started: the suite needs one and never passes without.
pub fn server() -> Arc<Server> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = &*shared {
        return Arc::clone(server);
    }
    let options = ThrowawayOptions {
        settings: vec![
            ("max_connections".into(), "60".into()),
            ("wal_level".into(), "minimal".into()),
        ],
        ..ThrowawayOptions::plain(of_servers())
    };
    let throwaway = ThrowawayServer::start(&options, &Cancel::new())
        .unwrap_or_else(|error| panic!("the tests need a PostgreSQL server: {error}"));
    let server = Arc::new(Server {
        throwaway,
        next: AtomicU32::new(1),
    });
    *shared = Some(Arc::clone(&server));
    // Nobody drops a static.
    // SAFETY: the function takes nothing and returns nothing, and no panic leaves it.
    unsafe { libc::atexit(end_server) };
    server
}

extern "C" fn end_server() {
    let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner).take();
    // A server that does not end is not worth an abort of a program that is over.
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(shared)));
}

impl Server {
    /// How to reach a database of this server.
    pub fn settings(&self, dbname: &str) -> ConnectSettings {
        self.throwaway.settings(dbname)
    }

    /// Where its programs are.
    pub fn bin_dir(&self) -> &Path {
        self.throwaway.bin_dir()
    }

    /// A new empty database.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn database(self: &Arc<Self>) -> Database {
        let name = format!("t{}", self.next.fetch_add(1, Ordering::Relaxed));
        self.throwaway
            .create_database(&name)
            .unwrap_or_else(|error| panic!("making database {name}: {error}"));
        Database {
            server: Arc::clone(self),
            name,
        }
    }
}

/// A new database of this process's server, after `sql`.
///
/// # Panics
/// When it cannot be made.
pub fn database_with(sql: &str) -> Database {
    let database = server().database();
    database.execute(sql);
    database
}

/// A database of one test; dropped with it.
pub struct Database {
    server: Arc<Server>,
    name: String,
}

impl Database {
    /// How to reach it as the superuser.
    pub fn settings(&self) -> ConnectSettings {
        self.server.settings(&self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection to it.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub fn session(&self) -> Session {
        Session::connect(&self.settings(), &Cancel::new())
            .unwrap_or_else(|error| panic!("connecting to {}: {error}", self.name))
    }

    /// Runs SQL with the server's own settings, not with the pinned ones.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn execute(&self, sql: &str) {
        execute(&self.settings(), sql);
    }

    /// A plain connection.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub fn client(&self) -> postgres::Client {
        client(&self.settings())
    }

    /// Lets nobody in any more, not even a superuser, or everybody again.
    ///
    /// # Panics
    /// When the server refuses that.
    pub fn refuse_connections(&self, refuse: bool) {
        let sql = format!("ALTER DATABASE {} ALLOW_CONNECTIONS {}", self.name, !refuse);
        execute(&self.server.settings("postgres"), &sql);
    }

    /// The first column of the first row as text.
    ///
    /// # Panics
    /// When there is none.
    pub fn value(&self, sql: &str) -> String {
        value(&self.settings(), sql)
    }

    /// Rows and digest of every ordinary table and materialized view.
    ///
    /// # Panics
    /// When a table cannot be read.
    pub fn digests(&self) -> Digests {
        digests(&self.settings())
    }
}

fn client(settings: &ConnectSettings) -> postgres::Client {
    postgres::Config::new()
        .host(&settings.host)
        .port(settings.port)
        .user(&settings.user)
        .dbname(&settings.dbname)
        .connect(postgres::NoTls)
        .unwrap_or_else(|error| panic!("connecting to {settings}: {error}"))
}

/// Runs SQL in a database of any server with the server's own settings, not with the pinned ones.
///
/// # Panics
/// When the server refuses it.
pub fn execute(settings: &ConnectSettings, sql: &str) {
    client(settings)
        .batch_execute(sql)
        .unwrap_or_else(|error| panic!("{settings}: {sql:.200}: {error:?}"));
}

/// The first column of the first row that a database of any server gives, as text.
///
/// # Panics
/// When there is none.
pub fn value(settings: &ConnectSettings, sql: &str) -> String {
    let rows = client(settings)
        .simple_query(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.into_iter()
        .find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .unwrap_or_else(|| panic!("{sql} gave no row"))
}

/// Rows and digest of every ordinary table and materialized view of a database on any server.
///
/// # Panics
/// When a table cannot be read.
pub fn digests(settings: &ConnectSettings) -> Digests {
    let connect = || {
        Session::connect(settings, &Cancel::new())
            .unwrap_or_else(|error| panic!("connecting to {settings}: {error}"))
    };
    let mut session = connect();
    let relations = inspect::relations(&mut session)
        .unwrap_or_else(|error| panic!("reading the catalog of {settings}: {error}"));
    relations
        .into_iter()
        .filter(|r| matches!(r.kind, RelationKind::Table | RelationKind::MaterializedView))
        .filter(|r| r.extension_member.is_none())
        .filter_map(|r| {
            let columns: Vec<String> = r
                .columns
                .iter()
                .filter(|c| !c.generated)
                .map(|c| quote_ident(&c.name))
                .collect();
            let sql = format!(
                "COPY (SELECT {} FROM ONLY {}) TO STDOUT",
                columns.join(", "),
                r.name.sql()
            );
            let unfilled = r.kind == RelationKind::MaterializedView;
            match digest(&mut session, &sql) {
                Ok(digest) => Some((r.name, digest)),
                // A view that was made WITH NO DATA.
                Err(_) if unfilled => {
                    session = connect();
                    None
                }
                Err(error) => panic!("{}: {error}", r.name),
            }
        })
        .collect()
}

/// Through the general library, so that what hubvault reads tables with is held against another.
fn digest(session: &mut Session, sql: &str) -> Result<RowDigest, postgres::Error> {
    let mut reader = session.client().copy_out(sql)?;
    let mut rows = RowDigester::new(RowFormat::Text);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = reader
            .read(&mut buffer)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        if n == 0 {
            break;
        }
        rows.update(&buffer[..n]);
    }
    Ok(rows
        .finish()
        .unwrap_or_else(|error| panic!("{sql}: {error}")))
}

impl Drop for Database {
    fn drop(&mut self) {
        // A test may have left connections; the server goes away soon in any case.
        let sql = format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            quote_ident(&self.name)
        );
        if let Ok(mut session) = Session::connect(&self.server.settings("postgres"), &Cancel::new())
        {
            let _ = session.simple("dropping a test database", &sql);
        }
    }
}
