//! Ends what a crashed run left on the server: a server before 14 does not notice that its client is gone.

use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{BackupId, quote_literal};

/// The name of a run's sessions in `pg_stat_activity`.
pub fn name_of_run(id: BackupId) -> String {
    format!("{PREFIX}{id}")
}

const PREFIX: &str = "hubvault ";

/// Ends the sessions of this role in this database whose run, by its id, `is_over`; how many. It may not end others.
/// Within a transaction, which an error of these statements does not end.
pub fn end_leftovers(
    session: &mut Session,
    is_over: impl Fn(BackupId) -> bool,
) -> Result<usize, PgError> {
    let doing = "ending the statements of crashed runs";
    session.simple(doing, "SAVEPOINT leftovers")?;
    let ended = end(session, doing, is_over);
    session.simple(
        doing,
        "ROLLBACK TO SAVEPOINT leftovers; RELEASE SAVEPOINT leftovers",
    )?;
    ended
}

fn end(
    session: &mut Session,
    doing: &str,
    is_over: impl Fn(BackupId) -> bool,
) -> Result<usize, PgError> {
    const OURS: &str = "FROM pg_catalog.pg_stat_activity a
        WHERE a.usename = current_user AND a.datname = current_database() AND a.pid <> pg_backend_pid()";
    let listed = format!(
        "SELECT DISTINCT a.application_name {OURS} AND starts_with(a.application_name, '{PREFIX}')"
    );
    let mut over = Vec::new();
    for row in session.rows(doing, &listed)? {
        let name: String = row.get(0);
        let id = name.strip_prefix(PREFIX).and_then(|id| id.parse().ok());
        if id.is_some_and(&is_over) {
            over.push(quote_literal(&name));
        }
    }
    if over.is_empty() {
        return Ok(0);
    }
    let names = over.join(", ");
    let sql =
        format!("SELECT pg_terminate_backend(a.pid) {OURS} AND a.application_name IN ({names})");
    Ok(session.rows(doing, &sql)?.len())
}
