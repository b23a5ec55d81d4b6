//! What a restored table holds, and the source's does not: compared by digests of the source.

use super::compare::{Compared, Reader, copy_sql, digest_of, rows_sql};
use super::units::Unit;
use crate::pool::Pool;
use hubvault_archive::{Computed, TableSummary};
use hubvault_model::{Cancel, TableName};
use hubvault_postgres::{PgError, ServerDigest, TableLogins};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Tables whose rows differ from the source server's digest, as text.
pub(crate) fn unlike_the_source(
    units: &[Unit<'_>],
    logins: &TableLogins,
    cancel: &Cancel,
) -> Result<Vec<String>, PgError> {
    let mut wrong = Vec::new();
    let mut reader = Reader::new(logins, cancel);
    for unit in units {
        let table = &unit.table;
        let Some(expected) = &table.source_digest else {
            continue;
        };
        let doing = format!("comparing {} with the source", table.name);
        let is_digest = |why: std::num::ParseIntError| PgError::Query {
            doing: doing.clone(),
            why: format!("{expected:?} in the archive is not a digest: {why}"),
        };
        let expected: ServerDigest = expected.parse().map_err(is_digest)?;
        let sql = rows_sql(table, unit.only(), None);
        let found = reader.read(&table.name, |session| {
            let rows_in = table.encoding.as_deref().unwrap_or("UTF8");
            session.server_digest_like(&doing, &sql, expected, rows_in)
        })?;
        let Some(found) = found else {
            let to = logins.of(&table.name);
            tracing::warn!(
                "{to} is in another encoding than the source: its digests are not compared there"
            );
            return Ok(wrong);
        };
        if found != expected {
            wrong.push(format!(
                "{}: the rows differ from the source's digest: they were changed between the source and hubvault; \
                 use TLS (sslmode = verify-full), and check the network",
                table.name
            ));
        }
    }
    Ok(wrong)
}

/// Generated columns of a table, as text.
pub(crate) fn computed_columns(table: &TableName, columns: &[String]) -> String {
    match columns {
        [one] => format!("generated column {one} of {table}"),
        several => format!("generated columns {} of {table}", several.join(", ")),
    }
}

/// Generated columns that functions of users compute, of tables whose rows are equal, and that have other values than at the
/// source, as text.
pub(crate) fn other_computed(
    units: &[Unit<'_>],
    compared: &[Compared],
    logins: &TableLogins,
    workers: usize,
    cancel: &Cancel,
) -> Result<Vec<String>, PgError> {
    let equal = units
        .iter()
        .zip(compared)
        .filter(|(_, table)| table.is_equal())
        .filter_map(|(unit, _)| Some((unit, unit.table.computed.as_ref()?)));
    let other = Mutex::new(BTreeMap::new());
    let open = || Ok(Reader::new(logins, cancel));
    let read = |reader: &mut Reader<'_>,
                (number, (unit, computed)): (usize, (&Unit<'_>, &Computed))| {
        let table = TableSummary {
            columns: computed.columns.clone(),
            ..unit.table.as_ref().clone()
        };
        let sql = copy_sql(&table, unit.only(), None);
        let found = reader.read(&table.name, |session| digest_of(session, &table, &sql));
        if cancel.is_requested() {
            return Err(PgError::Cancelled);
        }
        let why = match found {
            Ok(found) if found == computed.digest => return Ok(()),
            Ok(_) => {
                ": other values than at the source: a function that computes them reads what is different here, or was \
                 changed after the rows were written"
                    .to_owned()
            }
            Err(error) => format!(" could not be compared: {error}"),
        };
        let text = computed_columns(&table.name, &computed.columns) + &why;
        let mut other = other.lock().unwrap_or_else(PoisonError::into_inner);
        other.insert(number, text);
        Ok(())
    };
    Pool::new(equal.enumerate(), cancel).run(workers, open, read)?;
    let other = other.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(other.into_values().collect())
}
