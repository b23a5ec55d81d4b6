//! What a restored table holds, and the source's does not: compared by digests of the source.

use super::compare::{Compared, Reader, copy_sql, digest_of, rows_sql};
use super::units::Unit;
use hubvault_archive::TableSummary;
use hubvault_model::Cancel;
use hubvault_postgres::{PgError, ServerDigest, TableLogins};

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

/// Generated columns that functions of users compute, of tables whose rows are equal, and that have other values than at the
/// source, as text.
pub(crate) fn other_computed(
    units: &[Unit<'_>],
    compared: &[Compared],
    logins: &TableLogins,
    cancel: &Cancel,
) -> Result<Vec<String>, PgError> {
    let mut other = Vec::new();
    let mut reader = Reader::new(logins, cancel);
    let equal = units
        .iter()
        .zip(compared)
        .filter(|(_, table)| table.is_equal());
    for (unit, _) in equal {
        let Some(computed) = &unit.table.computed else {
            continue;
        };
        let table = TableSummary {
            columns: computed.columns.clone(),
            ..unit.table.as_ref().clone()
        };
        let sql = copy_sql(&table, unit.only(), None);
        let found = reader.read(&table.name, |session| digest_of(session, &table, &sql));
        if cancel.is_requested() {
            return Err(PgError::Cancelled);
        }
        let what = match &computed.columns[..] {
            [one] => format!("generated column {one} of {}", table.name),
            several => format!("generated columns {} of {}", several.join(", "), table.name),
        };
        match found {
            Ok(found) if found == computed.digest => {}
            Ok(_) => other.push(format!(
                "{what}: other values than at the source: a function that computes them reads what is different here, or was \
                 changed after the rows were written"
            )),
            Err(error) => other.push(format!("{what} could not be compared: {error}")),
        }
    }
    Ok(other)
}
