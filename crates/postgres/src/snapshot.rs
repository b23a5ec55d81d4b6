//! Takes locks first, then a snapshot that other connections share.

use crate::connect::open::{LIMIT_CATALOGS, SOURCE, UNLIMIT_STATEMENTS};
use crate::connect::session::Session;
use crate::connect::settings::ConnectSettings;
use crate::copy::session::CopySession;
use crate::error::PgError;
use crate::inspect;
use crate::lock_holders::lock_holders;
use hubvault_model::Cancel;
use jiff::Timestamp;
use std::time::Duration;

/// Facts about the snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotFacts {
    /// The exported snapshot's name, good while the transaction lasts.
    pub id: String,
    /// The WAL position.
    pub lsn: String,
    /// The server's clock.
    pub taken_at: Timestamp,
    /// The database.
    pub database: String,
    /// As the server writes it: `15.18 (Debian ...)`.
    pub server_version: String,
    /// As a number: 150018.
    pub server_version_num: u32,
    /// The database's encoding, by the server's name.
    pub encoding: String,
    /// Whether the server is a hot standby.
    pub standby: bool,
    /// The cluster's identity, where the role may ask for it.
    pub system_identifier: Option<String>,
}

/// A transaction that exported its snapshot and holds `ACCESS SHARE` on every table.
#[derive(Debug)]
pub struct Snapshot {
    session: Session,
    settings: ConnectSettings,
    facts: SnapshotFacts,
    cancel: Cancel,
}

/// How often locking all tables is tried.
const TRIES: u32 = 10;

const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

impl Snapshot {
    /// Locks every table that `pg_dump` would lock, then takes the snapshot. What the role may not lock is left out here and
    /// is among the privileges that the plan misses ([`inspect::missing_privileges`]): no run goes on without them.
    ///
    /// In this order nobody can change a definition between the two: `LOCK TABLE` takes no
    /// snapshot of its own (`PostgreSQL` manual, "Explicit Locking"). A table that is dropped while
    /// the list of locks is made up, and one that the snapshot shows and that is not locked, because it was made
    /// or got its name since, start the attempt anew: what is not locked can be emptied or rewritten at any
    /// time, and then looks empty to a snapshot that is older.
    pub fn open(
        settings: &ConnectSettings,
        lock_timeout: Duration,
        cancel: &Cancel,
    ) -> Result<Self, PgError> {
        let mut session = Session::at_source(settings, cancel)?;
        let mut tries = TRIES;
        let facts = loop {
            tries -= 1;
            match locked(&mut session, settings, lock_timeout, cancel) {
                Ok(facts) => break facts,
                Err(PgError::Query { why, .. }) if tries > 0 && is_of_moving(&why) => {
                    tracing::info!("locking the tables again: {why}");
                    session.simple("starting again", "ROLLBACK")?;
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Self {
            session,
            settings: settings.clone(),
            facts,
            cancel: cancel.clone(),
        })
    }

    /// Facts about the snapshot.
    pub fn info(&self) -> &SnapshotFacts {
        &self.facts
    }

    /// The connection that holds it, for looking at the catalogs as of the moment.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// What other threads need to join.
    pub fn invitation(&self) -> Invitation {
        Invitation {
            settings: self.settings.clone(),
            id: self.facts.id.clone(),
            cancel: self.cancel.clone(),
        }
    }

    /// Whether the locks are still held, which they are as long as this session lives, and whether the names of the
    /// tables still mean the tables that are locked: no lock keeps a schema from being renamed.
    pub fn check_held(&mut self) -> Result<(), PgError> {
        let doing = "making sure that the tables stayed locked";
        let others = inspect::renamed(&mut self.session, doing)?;
        if others.is_empty() {
            return Ok(());
        }
        Err(PgError::Query {
            doing: doing.to_owned(),
            why: format!(
                "a schema was renamed during the backup, so that these names mean other tables now: {}; start the \
                 backup again",
                others.join(", ")
            ),
        })
    }
}

/// Lets threads open connections that see the snapshot's moment, as long as it is held.
#[derive(Clone, Debug)]
pub struct Invitation {
    settings: ConnectSettings,
    id: String,
    cancel: Cancel,
}

impl Invitation {
    /// A further connection that sees the same moment.
    pub fn join(&self) -> Result<CopySession, PgError> {
        let mut session = CopySession::connect(&self.settings, &self.cancel)?;
        session.simple("pinning the session's settings", SOURCE)?;
        let import = format!("{BEGIN}; SET TRANSACTION SNAPSHOT '{}'", self.id);
        session.simple("joining the snapshot", &import)?;
        Ok(session)
    }
}

/// Locks and snapshot of one attempt.
fn locked(
    session: &mut Session,
    settings: &ConnectSettings,
    timeout: Duration,
    cancel: &Cancel,
) -> Result<SnapshotFacts, PgError> {
    lock(session, settings, timeout, cancel)?;
    let facts = facts(session)?;
    let unlocked = inspect::unlocked(session)?;
    if unlocked.is_empty() {
        return Ok(facts);
    }
    Err(PgError::Query {
        doing: "locking the tables".to_owned(),
        why: format!("{MADE_MEANWHILE}: {}", unlocked.join(", ")),
    })
}

const MADE_MEANWHILE: &str = "tables were made or renamed meanwhile";

/// Whether an attempt failed because definitions changed under it: a table or a schema that is gone by now
/// (appendix A: 42P01, 3F000), a catalog row that is (XX000), a deadlock with who changes them (40P01).
fn is_of_moving(why: &str) -> bool {
    [
        "42P01",
        "3F000",
        "40P01",
        "cache lookup failed",
        "could not open relation",
        MADE_MEANWHILE,
    ]
    .iter()
    .any(|word| why.contains(word))
}

/// Waits for no lock longer than `timeout`; whoever holds it is named.
fn lock(
    session: &mut Session,
    settings: &ConnectSettings,
    timeout: Duration,
    cancel: &Cancel,
) -> Result<(), PgError> {
    match lock_in_time(session, timeout) {
        Err(PgError::Query { why, .. }) if why.contains("55P03") => Err(PgError::LockTimeout {
            blockers: blockers(settings, cancel)?,
        }),
        other => other,
    }
}

fn lock_in_time(session: &mut Session, timeout: Duration) -> Result<(), PgError> {
    // Already for the list: asking for a table's size locks it too.
    let timeout = timeout.as_millis().max(1);
    session.simple(
        "limiting the wait for locks",
        &format!("SET lock_timeout = {timeout}; {UNLIMIT_STATEMENTS}"),
    )?;
    let relations = inspect::relations(session)?;
    let names: Vec<String> = relations
        .iter()
        .filter(|relation| relation.is_lockable() && relation.can_select && relation.schema_usage)
        .map(|relation| relation.name.sql())
        .collect();
    session.simple("beginning", BEGIN)?;
    for batch in names.chunks(500) {
        let tables = batch.join(", ONLY ");
        let sql = format!("LOCK TABLE ONLY {tables} IN ACCESS SHARE MODE");
        session.simple("locking the tables", &sql)?;
    }
    let limits = format!("SET LOCAL lock_timeout = 0; {LIMIT_CATALOGS}");
    session.simple("ending the limit of waiting", &limits)
}

/// Who holds or waits for a lock that stands in the way of `ACCESS SHARE`, which only
/// `ACCESS EXCLUSIVE` does ("Explicit Locking", table of conflicts).
fn blockers(settings: &ConnectSettings, cancel: &Cancel) -> Result<Vec<String>, PgError> {
    let mut session = Session::at_source(settings, cancel)?;
    lock_holders(&mut session, "l.mode = 'AccessExclusiveLock'")
}

fn encoding(session: &mut Session) -> Result<String, PgError> {
    let rows = session.rows("asking for the encoding", "SHOW server_encoding")?;
    Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
}

fn facts(session: &mut Session) -> Result<SnapshotFacts, PgError> {
    let doing = "exporting the snapshot";
    // They are the only ones that cannot be asked for again: each call makes another. A bit that flips on the way
    // does not do so twice alike.
    let rows = session.rows(
        doing,
        "SELECT f.*, concat_ws(' ', f.id, f.standby, f.lsn, f.taken_at, f.database, f.version)
         FROM (SELECT pg_export_snapshot() AS id, pg_is_in_recovery() AS standby,
                      CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text
                           ELSE pg_current_wal_lsn()::text END AS lsn,
                      (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS taken_at,
                      current_database()::text AS database,
                      current_setting('server_version') AS version OFFSET 0) f",
    )?;
    let bad = |why: &str| PgError::Query {
        doing: doing.to_owned(),
        why: why.to_owned(),
    };
    let row = rows.first().ok_or_else(|| bad("the server gave no row"))?;
    let (id, standby): (String, bool) = (row.get(0), row.get(1));
    let lsn: Option<String> = row.get(2);
    let micros: i64 = row.get(3);
    let (database, server_version): (String, String) = (row.get(4), row.get(5));
    let flag = if standby { "t" } else { "f" };
    // NULL is left out by the server, too.
    let lsn_and_blank = lsn
        .as_ref()
        .map_or_else(String::new, |lsn| format!("{lsn} "));
    PgError::check_same_answer(
        doing,
        row.get(6),
        &format!("{id} {flag} {lsn_and_blank}{micros} {database} {server_version}"),
    )?;
    let taken_at = Timestamp::from_microsecond(micros)
        .map_err(|_| bad("the server's clock is out of range"))?;
    Ok(SnapshotFacts {
        id,
        standby,
        lsn: lsn.unwrap_or_default(),
        taken_at,
        database,
        server_version,
        server_version_num: session.server_version_num(),
        encoding: encoding(session)?,
        system_identifier: system_identifier(session)?,
    })
}

/// What tells one cluster from another, of which physical copies have the same. `None` where the role may not ask for it.
pub fn system_identifier(session: &mut Session) -> Result<Option<String>, PgError> {
    let doing = "asking for the cluster's identity";
    let may = "has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')";
    let rows = session.rows(doing, &format!("SELECT {may}"))?;
    if !rows.first().is_some_and(|row| row.get(0)) {
        return Ok(None);
    }
    let sql = "SELECT system_identifier::text, concat(' ', system_identifier)
               FROM pg_catalog.pg_control_system()";
    let rows = session.rows(doing, sql)?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let identifier: String = row.get(0);
    PgError::check_same_answer(doing, row.get(1), &format!(" {identifier}"))?;
    Ok(Some(identifier))
}

/// What tells one database from all others, however its server is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseIdentity {
    cluster: Option<String>,
    number: String,
    server_started: String,
}

impl DatabaseIdentity {
    /// The part of it that outlasts a restart of the server; `None` where the role may not ask for it.
    pub fn lasting(&self) -> Option<String> {
        let cluster = self.cluster.as_ref()?;
        Some(format!("{cluster} {}", self.number))
    }
}

/// Asks a database for its identity.
pub fn database_identity(
    settings: &ConnectSettings,
    cancel: &Cancel,
) -> Result<DatabaseIdentity, PgError> {
    let mut session = Session::connect(settings, cancel)?;
    let cluster = system_identifier(&mut session)?;
    let sql = "SELECT oid::text, pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::text
               FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()";
    let rows = session.rows("asking for the database's identity", sql)?;
    let own = |at: usize| rows.first().map(|row| row.get(at)).unwrap_or_default();
    Ok(DatabaseIdentity {
        cluster,
        number: own(0),
        server_started: own(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ThrowawayOptions, ThrowawayServer};

    fn started() -> ThrowawayServer {
        let options = ThrowawayOptions::plain("/tmp");
        ThrowawayServer::start(&options, &Cancel::new()).unwrap()
    }

    #[test]
    fn a_schema_that_is_swapped_under_the_locks_is_noticed_and_a_view_in_it_is_not_read() {
        let server = started();
        let settings = server.settings("postgres");
        let mut other = Session::connect(&settings, &Cancel::new()).unwrap();
        let make = "CREATE SCHEMA s; CREATE TABLE s.t (id int); CREATE TABLE public.p (id int)";
        other.simple("preparing", make).unwrap();
        let timeout = Duration::from_secs(5);
        let mut snapshot = Snapshot::open(&settings, timeout, &Cancel::new()).unwrap();
        snapshot.check_held().unwrap();
        let swap =
            "ALTER SCHEMA s RENAME TO old; CREATE SCHEMA s; CREATE VIEW s.t AS SELECT 1 AS id";
        other.simple("swapping", swap).unwrap();
        let why = snapshot.check_held().unwrap_err().to_string();
        assert!(why.contains("renamed") && why.contains("s.t"), "{why}");
        let mut worker = snapshot.invitation().join().unwrap();
        let read = "COPY (SELECT id FROM ONLY s.t) TO STDOUT";
        let refused = worker.copy_out("reading", read, |_| Ok::<_, PgError>(()));
        assert!(refused.unwrap_err().to_string().contains("restricted"));
        let mut worker = snapshot.invitation().join().unwrap();
        let written = worker.simple("writing", "DELETE FROM public.p");
        assert!(written.unwrap_err().to_string().contains("read-only"));
    }

    #[test]
    fn a_table_that_is_made_or_renamed_while_the_locks_are_taken_is_noticed() {
        let server = started();
        let settings = server.settings("postgres");
        let connect = || Session::connect(&settings, &Cancel::new()).unwrap();
        let (mut other, mut session) = (connect(), connect());
        let make = "CREATE TABLE public.a (id int); CREATE TABLE public.b (id int)";
        other.simple("preparing", make).unwrap();
        let timeout = Duration::from_secs(5);
        lock(&mut session, &settings, timeout, &Cancel::new()).unwrap();
        let late = "CREATE TABLE public.late (id int)";
        other.simple("making a table", late).unwrap();
        assert_eq!(inspect::unlocked(&mut session).unwrap(), ["public.late"]);
        // Now the moment is fixed: a later one is not in it.
        other
            .simple("making a table", "CREATE TABLE public.later ()")
            .unwrap();
        assert_eq!(inspect::unlocked(&mut session).unwrap(), ["public.late"]);
        drop(session);
        let mut snapshot = Snapshot::open(&settings, timeout, &Cancel::new()).unwrap();
        assert!(inspect::unlocked(snapshot.session()).unwrap().is_empty());
    }
}
