//! Transactions on living tables that wait for locks a few times for a short time, and hold none in between.

use super::error::RestoreError;
use crate::progress::{Progress, Stage};
use hubvault_model::{Cancel, TableName};
use hubvault_postgres::{Session, lock_timeout};
use std::time::Duration;

/// So often it is tried.
const TRIES: u32 = 4;
/// Between two tries, for those who wait for what this session had locked.
const PAUSE: Duration = Duration::from_secs(1);

/// Does `attempt`, a transaction with [`hubvault_postgres::WAIT_SHORTLY`], until it gets its locks. The last error names
/// who holds locks on `tables`.
pub(super) fn in_turns(
    session: &mut Session,
    tables: &[TableName],
    (progress, cancel): (&dyn Progress, &Cancel),
    attempt: impl Fn(&mut Session) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    for left in (0..TRIES).rev() {
        let done = attempt(session);
        if done.is_err() {
            // The error above is the one to report.
            let _ = session.simple("giving up", "ROLLBACK");
        }
        match done {
            Err(RestoreError::Postgres(error)) if error.is_of_locks() => {
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
