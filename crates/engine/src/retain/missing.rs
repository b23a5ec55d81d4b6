//! Archives that are gone though nothing of ours removed them.

use crate::catalog::{BackupRecord, Catalog, CatalogError};
use jiff::Timestamp;
use std::path::Path;

/// What is gone.
#[derive(Debug, Default)]
pub struct Gone {
    /// Archives that are not at their place, newest first.
    pub records: Vec<BackupRecord>,
    /// Places where that cannot be said, as the directory itself is not there: no disk, rather than no
    /// archive.
    pub unclear: Vec<String>,
}

/// Looks for the archives of a job that should be there and are not.
pub fn gone(catalog: &Catalog, job: &str) -> Result<Gone, CatalogError> {
    let mut gone = Gone::default();
    for record in catalog.list()? {
        let Some(file) = record.file.clone().filter(|_| record.removed_at.is_none()) else {
            continue;
        };
        if record.job != job {
            continue;
        }
        match (file.try_exists(), file.parent().is_some_and(Path::is_dir)) {
            (Ok(true), _) => {}
            (Ok(false), true) => gone.records.push(record),
            (Ok(false), false) => gone.unclear.push(format!(
                "{} is not there, and nor is its directory: is a disk missing?",
                file.display()
            )),
            (Err(error), _) => gone
                .unclear
                .push(format!("looking for {}: {error}", file.display())),
        }
    }
    Ok(gone)
}

/// Remembers that somebody accepts it: nothing asks for them any more. Their records stay.
pub fn accept(
    catalog: &Catalog,
    records: &[BackupRecord],
    now: Timestamp,
) -> Result<(), CatalogError> {
    for record in records {
        catalog.finish(&BackupRecord {
            removed_at: Some(now),
            gone: true,
            ..record.clone()
        })?;
    }
    Ok(())
}
