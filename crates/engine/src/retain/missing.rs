//! Archives that are missing although hubvault did not remove them.

use crate::catalog::{BackupRecord, Catalog, CatalogError, CopyState};
use jiff::Timestamp;
use std::io::ErrorKind;
use std::path::Path;

/// What is missing.
#[derive(Debug, Default)]
pub struct Missing {
    /// Backups whose archive is missing, newest first.
    pub records: Vec<BackupRecord>,
    /// Archives of which that is not known: their directory is missing, too (perhaps a disk), or cannot be read.
    pub unclear: Vec<String>,
}

/// Looks for the archives of a job that should be there and are not.
pub fn missing(catalog: &Catalog, job: &str) -> Result<Missing, CatalogError> {
    let mut missing = Missing::default();
    for record in catalog.list()? {
        if record.job != job || !record.is_kept() {
            continue;
        }
        let Some(copy) = record.local_copy() else {
            continue;
        };
        let (Err(error), Some(file)) = (copy.find(), copy.path()) else {
            continue;
        };
        let shown = file.display();
        if error.kind() != ErrorKind::NotFound {
            missing
                .unclear
                .push(format!("looking for {shown}: {error}"));
        } else if file.parent().is_some_and(Path::is_dir) {
            missing.records.push(record);
        } else {
            let what = "is not there, and nor is its directory: is a disk missing?";
            missing.unclear.push(format!("{shown} {what}"));
        }
    }
    Ok(missing)
}

/// Records that it was accepted: nothing expects them any more. Their records are kept.
pub fn accept_missing(
    catalog: &Catalog,
    records: &[BackupRecord],
    now: Timestamp,
) -> Result<(), CatalogError> {
    for record in records {
        catalog.finish(&record.removed(CopyState::Missing, now))?;
    }
    Ok(())
}
