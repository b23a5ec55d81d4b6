//! Rows that the server cannot write as text: one value, or all of a row's together, would be larger than what it can
//! allocate (1 GB, `MaxAllocSize`). `pg_dump` has the same limit.

use super::Relation;
use crate::connect::open::{LIMIT_CATALOGS, UNLIMIT_STATEMENTS};
use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{TableName, quote_ident, quote_literal};

/// What one row's text may have, in bytes: a little less than what the server can allocate.
const TEXT_LIMIT: u64 = (1 << 30) - (1 << 20);
/// A table that stores less than this in TOAST has no such row: compression makes a value at most 300 times smaller.
const LEAST_TOAST: u64 = 2 << 20;
/// From this size on values may be as large without being compressed.
const MUCH_TOAST: u64 = 256 << 20;
/// A larger heap is not read for the sake of values that would be compressed so very much.
const SMALL_HEAP: u64 = 1 << 30;
/// How many rows are named.
const NAMED: usize = 3;

/// The rows of a table that can be written as text, where not all can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WritableRows {
    /// What is true of them and of no other, as SQL.
    pub condition: String,
    /// How many others there are.
    pub others: u64,
    /// Some of the others: the key, and the bytes of its text at least.
    pub named: Vec<(String, u64)>,
}

/// Looks for rows that the server cannot write as text, in a table that may have some. Reads the heap alone: the size of
/// a value in TOAST is known without it.
pub fn writable_rows(
    session: &mut Session,
    relation: &Relation,
) -> Result<Option<WritableRows>, PgError> {
    let columns = relation.columns.iter().filter(|c| !c.generated);
    let sizes: Vec<String> = columns
        .filter(|c| c.text_bytes > 0)
        .map(|c| {
            let (name, times) = (quote_ident(&c.name), c.text_bytes);
            format!("coalesce(pg_catalog.octet_length({name}), 0)::pg_catalog.int8 * {times}")
        })
        .collect();
    let may_have = relation.toast_bytes >= MUCH_TOAST
        || (relation.toast_bytes >= LEAST_TOAST && relation.heap_bytes <= SMALL_HEAP);
    // Planning would run functions in the table's indexes.
    if !may_have || sizes.is_empty() || relation.planning_runs_code {
        return Ok(None);
    }
    let doing = format!("looking for rows of {} that are too large", relation.name);
    let size = sizes.join(" + ");
    let key = key(session, &doing, &relation.name)?;
    let sql = format!(
        "SELECT pg_catalog.left({key}, 200), {size} FROM ONLY {} WHERE {size} > {TEXT_LIMIT} ORDER BY ctid",
        relation.name.sql()
    );
    session.simple(&doing, UNLIMIT_STATEMENTS)?;
    let rows = session.rows(&doing, &sql)?;
    session.simple(&doing, LIMIT_CATALOGS)?;
    let bytes = |row: &postgres::Row| row.get::<_, i64>(1).unsigned_abs();
    let named = rows.iter().take(NAMED);
    Ok((!rows.is_empty()).then(|| WritableRows {
        condition: format!("{size} <= {TEXT_LIMIT}"),
        others: rows.len() as u64,
        named: named.map(|row| (row.get(0), bytes(row))).collect(),
    }))
}

/// A row's primary key as text, when it is of built-in types; else its address.
fn key(session: &mut Session, doing: &str, table: &TableName) -> Result<String, PgError> {
    let sql = format!(
        "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
         WHERE i.indisprimary AND i.indrelid = pg_catalog.to_regclass({}) AND a.atttypid < 16384
         ORDER BY a.attnum",
        quote_literal(&table.sql())
    );
    let rows = session.rows(doing, &sql)?;
    let columns = rows.iter().map(|row| {
        let name = row.get::<_, String>(0);
        format!(
            "pg_catalog.format('%s = %s', {}, {})",
            quote_literal(&name),
            quote_ident(&name)
        )
    });
    let columns: Vec<String> = columns.collect();
    Ok(match columns.as_slice() {
        [] => "pg_catalog.format('ctid = %s', ctid)".to_owned(),
        columns => format!("pg_catalog.concat_ws(', ', {})", columns.join(", ")),
    })
}
