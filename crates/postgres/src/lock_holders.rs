//! Transactions that wait for locks for a short time only, and who holds what they waited for.

use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{TableName, quote_literal};

/// Limits each wait for a lock until the transaction ends: who wants to read what it locked already waits as long. Afterwards
/// the session has no limit.
pub const WAIT_SHORTLY: &str = "SET lock_timeout = 0; SET LOCAL lock_timeout = '3s'";

/// The same until the session ends.
pub(crate) const LIMIT_WAITS: &str = "SET lock_timeout = '3s'";

/// The first literal of a statement, and what follows: it may be a password, or somebody's name. Where a literal ends
/// depends on settings of the other session.
const LITERAL: &str = r"'(''|\$[^0-9]).*'";

/// A line for each lock on a relation of this database that meets a condition on `pg_locks l`.
pub(crate) fn lock_holders(session: &mut Session, which: &str) -> Result<Vec<String>, PgError> {
    let sql = format!(
        "SELECT format('  process %s, role %s, %s, for %s: %s (%s on %s)', a.pid, a.usename,
                       coalesce(a.state, '?'), date_trunc('second', now() - a.xact_start),
                       left(regexp_replace(regexp_replace(a.query, {LITERAL}, '...'), '\\s+', ' ', 'g'), 200),
                       CASE WHEN l.granted THEN 'holds' ELSE 'waits for' END, l.relation::regclass)
         FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
         WHERE l.locktype = 'relation' AND {which}
           AND l.database = (SELECT oid FROM pg_catalog.pg_database
                             WHERE datname = current_database())
         ORDER BY l.granted DESC, a.xact_start"
    );
    let rows = session.rows("asking who holds the lock", &sql)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The error of a wait for locks on these tables that took too long, with the sessions that have locks on them, or on
/// any relation where none has. The transaction that waited is over.
pub fn lock_timeout(session: &mut Session, tables: &[TableName]) -> PgError {
    let names: Vec<String> = tables.iter().map(|it| quote_literal(&it.sql())).collect();
    let others = "l.granted AND l.pid <> pg_backend_pid() AND l.relation >= 16384";
    let of_these = format!(
        "{others} AND l.relation IN (SELECT to_regclass(name)::oid FROM unnest(ARRAY[{}]::text[]) n (name))",
        names.join(", ")
    );
    let found = lock_holders(session, &of_these).and_then(|found| match found.as_slice() {
        [] => lock_holders(session, others),
        _ => Ok(found),
    });
    match found {
        Ok(mut blockers) => {
            if blockers.is_empty() {
                let none = "  no session any more; a prepared transaction may (pg_prepared_xacts)";
                blockers.push(none.to_owned());
            }
            PgError::LockTimeout { blockers }
        }
        Err(error) => error,
    }
}
