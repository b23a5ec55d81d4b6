//! What a database that rows come back into holds and offers.

use crate::error::PgError;
use crate::session::Session;
use hubvault_model::{TableName, quote_ident, quote_literal};

/// Which of these tables are there.
pub fn present<'a>(
    session: &mut Session,
    names: impl Iterator<Item = &'a TableName>,
) -> Result<Vec<TableName>, PgError> {
    let mut found = Vec::new();
    for name in names {
        let literal = quote_literal(&name.sql());
        let sql = format!("SELECT pg_catalog.to_regclass({literal}) IS NOT NULL");
        let rows = session.rows("looking for a table", &sql)?;
        if rows.first().is_some_and(|row| row.get(0)) {
            found.push(name.clone());
        }
    }
    Ok(found)
}

/// Whether a table has no row.
pub fn is_empty(session: &mut Session, table: &TableName) -> Result<bool, PgError> {
    let sql = format!("SELECT 1 FROM ONLY {} LIMIT 1", table.sql());
    Ok(session
        .rows(&format!("looking into {table}"), &sql)?
        .is_empty())
}

/// The extensions that can be made ("`pg_available_extensions`").
pub fn extensions(session: &mut Session) -> Result<Vec<String>, PgError> {
    let sql = "SELECT name::text FROM pg_catalog.pg_available_extensions";
    let rows = session.rows("asking for the extensions", sql)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// All roles.
pub fn roles(session: &mut Session) -> Result<Vec<String>, PgError> {
    let sql = "SELECT rolname::text FROM pg_catalog.pg_roles";
    let rows = session.rows("asking for the roles", sql)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Sequences with their last value and whether it was given out; `None` for one that was never
/// called, as `pg_sequences` has it.
pub fn sequence(session: &mut Session, name: &TableName) -> Result<Option<(i64, bool)>, PgError> {
    let sql = format!("SELECT last_value, is_called FROM {}", name.sql());
    let rows = session.rows(&format!("reading the sequence {name}"), &sql)?;
    Ok(rows.first().map(|row| (row.get(0), row.get(1))))
}

/// Makes an empty database from `template0`, through another database of the same server.
pub fn create_database(session: &mut Session, name: &str) -> Result<(), PgError> {
    let sql = format!("CREATE DATABASE {} TEMPLATE template0", quote_ident(name));
    session.simple("making a database", &sql)
}

/// The names of the foreign keys that are not validated (`pg_constraint`).
pub fn unvalidated_keys(session: &mut Session) -> Result<Vec<String>, PgError> {
    let sql = "SELECT conname::text FROM pg_catalog.pg_constraint \
               WHERE contype = 'f' AND NOT convalidated";
    let rows = session.rows("asking for the foreign keys", sql)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
