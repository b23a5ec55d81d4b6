//! What is read of live tables without a plan, and rows of them for queries that must not be planned for the table itself: planning evaluates functions in its
//! indexes and statistics, which are its owner's. A COPY of a table is not planned.

use crate::connect::session::Session;
use crate::connect::settings::ConnectSettings;
use crate::copy::session::CopySession;
use crate::error::PgError;
use crate::lock_holders::LIMIT_WAITS;
use crate::target::{copy_into, list};
use hubvault_model::{Cancel, TableName, quote_ident, quote_literal};
use std::io::{self, PipeWriter, Write};

/// Fills a new temporary table with these columns of a live one, which `login` reads over a connection of its own. It gets
/// the types of `like`.
pub(crate) fn copy_unplanned(
    session: &mut Session,
    login: &ConnectSettings,
    (table, like, copy): (&TableName, &TableName, &TableName),
    columns: &[String],
    cancel: &Cancel,
) -> Result<(), PgError> {
    let doing = format!("copying {table}");
    let made = format!(
        "DROP TABLE IF EXISTS {}; CREATE TEMP TABLE {} AS SELECT {} FROM ONLY {} WITH NO DATA",
        copy.sql(),
        quote_ident(&copy.name),
        list(columns),
        like.sql()
    );
    session.simple(&doing, &made)?;
    let failed = |error: io::Error| PgError::Input {
        doing: doing.clone(),
        why: error.to_string(),
    };
    let (mut reader, writer) = io::pipe().map_err(failed)?;
    let names = match list(columns).as_str() {
        "" => String::new(),
        names => format!(" ({names})"),
    };
    let sql = format!("COPY {}{names} TO STDOUT", table.sql());
    let read = |mut writer: PipeWriter| {
        let mut source = CopySession::connect(login, cancel)?;
        source.simple(&doing, LIMIT_WAITS)?;
        source.copy_out(&doing, &sql, |rows| writer.write_all(rows).map_err(failed))
    };
    let (sent, filled) = std::thread::scope(|scope| {
        let sent = scope.spawn(|| read(writer));
        let filled = session.copy_in(&doing, &copy_into(copy, columns), &mut reader);
        // Whoever still writes does not wait for a reader.
        drop(reader);
        (sent.join(), filled)
    });
    let lost = || failed(io::Error::other("its reader ended early"));
    let (filled, sent) = (filled?, sent.map_err(|_| lost())??);
    if filled == sent { Ok(()) } else { Err(lost()) }
}

/// Whether a table has no row of its own, which `login` reads over a connection of its own: one that has is left in the
/// middle of its first rows.
pub fn is_empty(
    session: &mut Session,
    login: &ConnectSettings,
    table: &TableName,
    cancel: &Cancel,
) -> Result<bool, PgError> {
    if is_partitioned(session, table)? {
        return Ok(true);
    }
    let doing = format!("looking into {table}");
    let sql = format!("COPY {} TO STDOUT", table.sql());
    let mut is_empty = true;
    let mut source = CopySession::connect(login, cancel)?;
    source.simple(&doing, LIMIT_WAITS)?;
    let read = source.copy_out(&doing, &sql, |_| {
        is_empty = false;
        let why = "it has rows".to_owned();
        let doing = doing.clone();
        Err(PgError::Input { doing, why })
    });
    if is_empty {
        read?;
    }
    Ok(is_empty)
}

/// How many rows a table has of its own, as this session's transaction sees it.
pub(crate) fn count(session: &mut Session, table: &TableName) -> Result<u64, PgError> {
    let mut rows = 0;
    if !is_partitioned(session, table)? {
        let sql = format!("COPY {} TO STDOUT", table.sql());
        session.copy_out(&format!("counting the rows of {table}"), &sql, |_| {
            rows += 1;
        })?;
    }
    Ok(rows)
}

/// Whether only its partitions have rows; a COPY of it is refused.
fn is_partitioned(session: &mut Session, table: &TableName) -> Result<bool, PgError> {
    let sql = format!(
        "SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass({})",
        quote_literal(&table.sql())
    );
    let rows = session.rows(&format!("looking at {table}"), &sql)?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}
