//! Rows and digests of the source and of the restored database, both read anew.

use crate::text::{Align, columns, grouped};
use anyhow::{Context, Result};
use hubvault_archive::{Manifest, TableSummary};
use hubvault_engine::restore::digest;
use hubvault_model::{Cancel, RowDigest, TableName};
use hubvault_postgres::{ConnectSettings, CopySession};

/// A line for each table of the archive; true when all are equal.
pub(super) fn compare(
    manifest: &Manifest,
    source: &ConnectSettings,
    target: &ConnectSettings,
    cancel: &Cancel,
) -> Result<(String, bool)> {
    let mut source = CopySession::connect(source, cancel)?;
    let mut target = CopySession::connect(target, cancel)?;
    let mut rows = Vec::new();
    let mut all_equal = true;
    for table in &manifest.tables {
        // Which rows others refer to is not said by a condition: for these tables it is the
        // snapshot's digest, taken in the source as well.
        let before = match table.added_rows {
            0 => digest(&mut source, table, table.filter.as_deref())?,
            _ => table.digest,
        };
        let after = digest(&mut target, table, None)?;
        let (row, is_equal) = compared(table, before, after);
        all_equal &= is_equal;
        rows.push(row);
    }
    let note = "\nFor tables of which only referenced rows are in the archive, the source is counted in the \
                snapshot.\n";
    Ok((text(&rows) + note, all_equal))
}

/// The line of one table that was restored into `schema` of the same database, beside the live one.
pub(super) fn compare_beside(
    manifest: &Manifest,
    name: &str,
    schema: &str,
    database: &ConnectSettings,
    cancel: &Cancel,
) -> Result<(String, bool)> {
    let mut session = CopySession::connect(database, cancel)?;
    let live = manifest.tables.iter().find(|table| table.name.name == name);
    let live = live.with_context(|| format!("the archive has no table {name}"))?;
    let mut restored = live.clone();
    restored.name = TableName::new(schema, name);
    let before = digest(&mut session, live, live.filter.as_deref())?;
    let after = digest(&mut session, &restored, None)?;
    let (row, is_equal) = compared(&restored, before, after);
    Ok((text(&[row]), is_equal))
}

/// A table's line, and whether both digests are the archive's.
fn compared(table: &TableSummary, before: RowDigest, after: RowDigest) -> (Vec<String>, bool) {
    let is_equal = before == after && after == table.digest;
    let row = vec![
        table.name.to_string(),
        grouped(before.rows),
        grouped(after.rows),
        before.hex(),
        after.hex(),
        if is_equal { "equal" } else { "DIFFERENT" }.to_owned(),
    ];
    (row, is_equal)
}

fn text(rows: &[Vec<String>]) -> String {
    let header = [
        ("table", Align::Left),
        ("source rows", Align::Right),
        ("restored rows", Align::Right),
        ("source digest", Align::Left),
        ("restored digest", Align::Left),
        ("", Align::Left),
    ];
    columns(&header, rows)
}
