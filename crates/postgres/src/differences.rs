//! How rows of a live table differ from those of an archive, and the SQL that tells.

use hubvault_model::quote_ident;
use serde::Serialize;
use std::collections::HashSet;

/// How a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    /// Only in the archive.
    Missing,
    /// In both, with other values.
    Changed,
    /// Only in the database.
    Extra,
}

/// One row that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DifferentRow {
    /// How.
    pub difference: Difference,
    /// Its primary key as a JSON object; the whole row of a table without one.
    pub key: String,
    /// Of a changed one, a checksum of the living row.
    pub living: Option<i64>,
}

/// How many rows an UPDATE can give the archive's values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Rows that differ in a column that can be set; `None` where every column can be.
    pub settable: Option<u64>,
    /// Rows that differ in one that cannot.
    pub not_settable: u64,
    /// The columns that cannot be set: GENERATED ALWAYS AS IDENTITY. None where all rows are equal there.
    pub columns: Vec<String>,
}

/// Columns whose values are shown as the text that they are stored as.
pub(crate) type AsText = HashSet<String>;

/// Whether rows differ in one of these columns. As literals, in which NULL is another than every text.
pub(crate) fn differs(columns: &[String]) -> String {
    if columns.is_empty() {
        return "false".to_owned();
    }
    let side = |side: &str| {
        let text =
            |column: &String| format!("pg_catalog.format('%L', {side}.{})", quote_ident(column));
        columns.iter().map(text).collect::<Vec<_>>().join(", ")
    };
    format!("ROW({}) IS DISTINCT FROM ROW({})", side("a"), side("b"))
}

/// A checksum of the living row. By `format`, as in [`differs`].
pub(crate) fn checksum(columns: &[String]) -> String {
    let columns: Vec<String> =
        (columns.iter().map(|it| format!("a.{}", quote_ident(it)))).collect();
    let row = format!("pg_catalog.format('%s', ROW({}))", columns.join(", "));
    format!("pg_catalog.hashtextextended({row}, 0)")
}

/// A column's value, for JSON.
pub(crate) fn value(side: &str, column: &String, as_text: &AsText) -> String {
    let value = format!("{side}.{}", quote_ident(column));
    if !as_text.contains(column) {
        return value;
    }
    // IS NULL is true of a composite value of nothing but NULLs, too.
    format!("CASE WHEN pg_catalog.num_nulls({value}) = 0 THEN pg_catalog.format('%s', {value}) END")
}
