//! Transactions on living tables that wait for locks a few times for a short time, and hold none in between.

use super::error::RestoreError;
use super::order::order_of;
use crate::progress::{Progress, Stage};
use hubvault_model::{Cancel, TableName};
use hubvault_postgres::{Session, lock_timeout};
use std::time::Duration;

/// So often it is tried.
const TRIES: u32 = 4;
/// Between two tries, for those who wait for what this session had locked.
const PAUSE: Duration = Duration::from_secs(1);
/// What takes back one table of several.
pub(super) const UNDO_TABLE: &str = "ROLLBACK TO SAVEPOINT one_table";

/// Does `attempt`, a transaction with [`hubvault_postgres::WAIT_SHORTLY`], until it gets its locks. The last error names
/// who holds locks on `tables`.
pub(super) fn in_turns(
    session: &mut Session,
    tables: &[TableName],
    watched: (&dyn Progress, &Cancel),
    attempt: impl Fn(&mut Session) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    in_turns_undone_by("ROLLBACK", session, tables, watched, attempt)
}

/// The same with what is taken back by `undo`, where `attempt` did not get its locks or failed.
pub(super) fn in_turns_undone_by<T>(
    undo: &str,
    session: &mut Session,
    tables: &[TableName],
    (progress, cancel): (&dyn Progress, &Cancel),
    mut attempt: impl FnMut(&mut Session) -> Result<T, RestoreError>,
) -> Result<T, RestoreError> {
    for left in (0..TRIES).rev() {
        let done = attempt(session);
        if done.is_err() {
            // The error above is the one to report.
            let _ = session.simple("giving up", undo);
        }
        match done {
            Err(error) if error.is_of_locks() => {
                if left == 0 {
                    return Err(lock_timeout(session, tables).into());
                }
                progress.stage(Stage::Locks, None);
                if cancel.wait(PAUSE) {
                    break;
                }
            }
            done => return done,
        }
    }
    Err(RestoreError::Cancelled)
}

/// [`order_of`], which reads the sizes of tables and waits for locks on them.
pub(super) fn in_order(
    session: &mut Session,
    works: &[Vec<&TableName>],
    watched: (&dyn Progress, &Cancel),
) -> Result<Vec<usize>, RestoreError> {
    let names: Vec<TableName> = works.iter().flatten().copied().cloned().collect();
    let attempt = |session: &mut Session| order_of(session, works);
    in_turns_undone_by("ROLLBACK", session, &names, watched, attempt)
}

/// An error with who holds the locks, where it is one of waiting for locks on `tables`. What the session did is over.
pub(super) fn with_holders(
    error: RestoreError,
    session: &mut Session,
    tables: &[TableName],
) -> RestoreError {
    if !error.is_of_locks() {
        return error;
    }
    // It may have no transaction.
    let _ = session.simple("giving up", "ROLLBACK");
    lock_timeout(session, tables).into()
}
