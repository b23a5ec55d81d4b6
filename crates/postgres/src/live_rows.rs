//! Rows of a live table by their primary keys, as text: to be shown beside those of an archive.

use crate::connect::session::Session;
use crate::drift::{LiveColumn, live_columns};
use crate::error::PgError;
use crate::inspect;
use crate::target;
use hubvault_model::{TableName, quote_ident, quote_literal};
use std::collections::HashMap;

/// How long the server may take for a page of rows, and how long it waits for a lock.
const LIMITS: &str = "SET statement_timeout = '10s'; SET lock_timeout = '2s'";

/// Some rows of a live table.
#[derive(Debug, Default)]
pub struct LiveRows {
    /// The columns of its primary key; none where it has no such key, or the archive does not have all of it.
    pub key: Vec<String>,
    /// The columns that both have, in the order of the values.
    pub columns: Vec<String>,
    /// The values of each row that is there, by its key: the first characters of each; `None` is NULL.
    pub rows: HashMap<Vec<String>, Vec<Option<String>>>,
}

/// Looks up the rows of an archive, which has these columns, in a session that reads a source. `keys` gives the keys that
/// are wanted once the columns of the key are known. Of each value come `most` characters.
pub fn live_rows(
    session: &mut Session,
    table: &TableName,
    archive: &[String],
    keys: impl FnOnce(&[String]) -> Vec<Vec<String>>,
    most: usize,
) -> Result<Option<LiveRows>, PgError> {
    let doing = format!("looking up rows of {table}");
    session.simple(&doing, LIMITS)?;
    if !target::is_table(session, table)? {
        return Ok(None);
    }
    let name = table.sql();
    // What the name means does not change while it is locked.
    let lock = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE ONLY {name} IN ACCESS SHARE MODE"
    );
    session.simple(&doing, &lock)?;
    if !target::is_table(session, table)? {
        return Ok(None);
    }
    if inspect::planning_runs_code(session, table)? {
        let why = "an index or a statistics object of it calls functions of its owner, which would run over this role";
        return Err(PgError::Query {
            doing,
            why: why.to_owned(),
        });
    }
    let live = live_columns(session, table)?;
    let in_both = |column: &&LiveColumn| !column.computed && archive.contains(&column.name);
    let columns = live.iter().filter(in_both);
    let columns: Vec<String> = columns.map(|column| column.name.clone()).collect();
    let mut key: Vec<String> = live
        .iter()
        .filter(|column| column.in_key)
        .map(|column| column.name.clone())
        .collect();
    if !key.iter().all(|column| columns.contains(column)) {
        key.clear();
    }
    let mut found = LiveRows {
        key,
        columns,
        rows: HashMap::new(),
    };
    let keys = keys(&found.key);
    if !found.key.is_empty() && !keys.is_empty() {
        let types = key_types(session, &doing, table)?;
        let sql = found.sql(&name, &types, &keys, most);
        for row in session.rows(&doing, &sql)? {
            let texts = (0..found.key.len()).map(|at| row.get(at)).collect();
            let values = (found.key.len()..row.len()).map(|at| row.get(at)).collect();
            found.rows.insert(texts, values);
        }
    }
    session.simple(&doing, "COMMIT")?;
    Ok(Some(found))
}

/// The types of the columns that the server itself brings, by the column's name. Reading a value of another type may run
/// a function of its owner.
fn key_types(
    session: &mut Session,
    doing: &str,
    table: &TableName,
) -> Result<HashMap<String, String>, PgError> {
    let sql = format!(
        "SELECT a.attname::text, 'pg_catalog.' || pg_catalog.quote_ident(t.typname)
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = {}::regclass AND a.attnum > 0 AND NOT a.attisdropped
           AND t.typtype = 'b' AND t.typelem = 0 AND t.typnamespace = 'pg_catalog'::regnamespace",
        quote_literal(&table.sql())
    );
    let rows = session.rows(doing, &sql)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

impl LiveRows {
    fn sql(
        &self,
        table: &str,
        types: &HashMap<String, String>,
        keys: &[Vec<String>],
        most: usize,
    ) -> String {
        // By `format` and not by a cast, which the owner of a type may have made of a function of his own.
        let text = |column: &String| format!("pg_catalog.format('%s', a.{})", quote_ident(column));
        let own = self.key.iter().map(text);
        let shown = |column: &String| {
            let (name, text) = (quote_ident(column), text(column));
            format!(
                "CASE WHEN pg_catalog.num_nulls(a.{name}) = 0 THEN pg_catalog.left({text}, {most}) END"
            )
        };
        let values: Vec<String> = own.chain(self.columns.iter().map(shown)).collect();
        let equal = |(column, value): (&String, &String)| {
            let literal = quote_literal(value);
            match types.get(column) {
                // So that the key's index finds it.
                Some(of) => format!("a.{} = {literal}::{of}", quote_ident(column)),
                None => format!("{} = {literal}", text(column)),
            }
        };
        let row = |key: &Vec<String>| {
            let all: Vec<String> = self.key.iter().zip(key).map(equal).collect();
            format!("({})", all.join(" AND "))
        };
        let rows: Vec<String> = keys.iter().map(row).collect();
        format!(
            "SELECT {} FROM ONLY {table} a WHERE {}",
            values.join(", "),
            rows.join(" OR ")
        )
    }
}
