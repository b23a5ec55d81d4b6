//! Rows and digests of the source and of the restored database, both read anew.

use crate::text::{Align, columns, grouped};
use anyhow::Result;
use hubvault_archive::Manifest;
use hubvault_engine::restore::digest;
use hubvault_model::Cancel;
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
        let equal = before == after && after == table.digest;
        all_equal &= equal;
        rows.push(vec![
            table.name.to_string(),
            grouped(before.rows),
            grouped(after.rows),
            before.hex(),
            after.hex(),
            if equal {
                "equal".to_owned()
            } else {
                "DIFFERENT".to_owned()
            },
        ]);
    }
    let header = [
        ("table", Align::Left),
        ("source rows", Align::Right),
        ("restored rows", Align::Right),
        ("source digest", Align::Left),
        ("restored digest", Align::Left),
        ("", Align::Left),
    ];
    let note = "\nFor tables of which only referenced rows are in the archive, the source is counted in the \
                snapshot.\n";
    Ok((columns(&header, &rows) + note, all_equal))
}
