//! One restore at a time changes a database: who restores holds an advisory lock there ("Advisory Locks", 13.3.5).

use crate::connect::session::Session;
use crate::connect::settings::ConnectSettings;
use crate::error::PgError;
use hubvault_model::Cancel;
use std::time::Duration;

/// The lock's key in every database: `hubvault` in ASCII.
const KEY: i64 = 0x6875_6276_6175_6c74;
/// The server needs a moment to see that a restore which was killed is gone.
const TRIES: u32 = 5;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// Held for as long as a restore changes a database.
#[derive(Debug)]
pub struct RestoreLock {
    _session: Option<Session>,
}

impl RestoreLock {
    /// Takes the lock over a connection of its own; an error where another restore has it. A server on which no such lock
    /// can be held is restored into without one.
    pub fn take(to: &ConnectSettings, cancel: &Cancel) -> Result<Self, PgError> {
        let mut session = Session::connect(to, cancel)?;
        for _ in 0..TRIES {
            match is_taken(&mut session) {
                Ok(true) => {
                    return Ok(Self {
                        _session: Some(session),
                    });
                }
                Ok(false) if !cancel.wait(PAUSE) => {}
                Ok(false) | Err(PgError::Cancelled) => return Err(PgError::Cancelled),
                Err(error) => return Ok(Self::without(&error)),
            }
        }
        match holder(&mut session) {
            Ok(Some((process, who))) => Err(PgError::Query {
                doing: format!("restoring into {to}"),
                why: format!(
                    "another restore is running there: process {process} ({who}); nothing was done: wait until it ends, or \
                     stop it where it was started; a session that is no restore is ended with SELECT \
                     pg_terminate_backend({process})"
                ),
            }),
            Ok(None) => Err(PgError::Query {
                doing: format!("restoring into {to}"),
                why: "another restore ran there until a moment ago; nothing was done: look at what it restored"
                    .to_owned(),
            }),
            Err(error) => Ok(Self::without(&error)),
        }
    }

    fn without(error: &PgError) -> Self {
        tracing::warn!("a second restore into this database would not be stopped: {error}");
        Self { _session: None }
    }
}

fn is_taken(session: &mut Session) -> Result<bool, PgError> {
    let sql = format!("SELECT pg_catalog.pg_try_advisory_lock({KEY})");
    let rows = session.rows("locking the database against a second restore", &sql)?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// The process that has the lock, its program, address and when it connected, as far as the role may see them.
fn holder(session: &mut Session) -> Result<Option<(i32, String)>, PgError> {
    let (high, low) = (KEY >> 32, KEY & 0xffff_ffff);
    let sql = format!(
        "SELECT l.pid, concat_ws(', ', nullif(a.application_name, ''), 'role ' || a.usename,
                    'from ' || host(a.client_addr),
                    'since ' || to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'))
         FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid::bigint = {high}
           AND l.objid::bigint = {low}
           AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
    );
    let rows = session.rows("asking which restore is running", &sql)?;
    Ok(rows.first().map(|row| (row.get(0), row.get(1))))
}
