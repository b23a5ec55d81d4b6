//! Copies that are missing or damaged although hubvault did not remove them.

use crate::catalog::{BackupCopy, BackupRecord, Catalog, CatalogError, CopyState};
use hubvault_model::BackupId;
use jiff::Timestamp;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;

/// What is missing.
#[derive(Debug, Default)]
pub struct Missing {
    /// Copies that are not there as they were stored, newest backup first.
    pub copies: Vec<MissingCopy>,
    /// Archives of which that is not known: their directory is missing, too (perhaps a disk), or cannot be read.
    pub unclear: Vec<String>,
}

/// A copy that is not there as it was stored.
#[derive(Debug)]
pub struct MissingCopy {
    /// The backup, as [`Catalog::runs`] has it.
    pub record: BackupRecord,
    /// The destination.
    pub destination: String,
}

impl MissingCopy {
    /// The copy.
    pub fn copy(&self) -> Option<&BackupCopy> {
        self.record.copy_at(&self.destination)
    }
}

/// Looks for the copies of a job that should be there and are not: on this machine by looking, elsewhere by what was
/// found when they were last read back.
pub fn missing(catalog: &Catalog, job: &str) -> Result<Missing, CatalogError> {
    let mut missing = Missing::default();
    for record in catalog.runs(job)? {
        let mut lost = Vec::new();
        for copy in record
            .copies
            .iter()
            .filter(|copy| copy.is_expected() && !copy.is_unconfigured())
        {
            match state_of(copy) {
                Found::Lost => lost.push(copy.destination.clone()),
                Found::There => {}
                Found::Unclear(what) => missing.unclear.push(what),
            }
        }
        let lost = lost.into_iter().map(|destination| MissingCopy {
            record: record.clone(),
            destination,
        });
        missing.copies.extend(lost);
    }
    Ok(missing)
}

enum Found {
    There,
    Lost,
    Unclear(String),
}

fn state_of(copy: &BackupCopy) -> Found {
    let Some(file) = copy.path() else {
        return if copy.is_lost() {
            Found::Lost
        } else {
            Found::There
        };
    };
    let shown = file.display();
    match copy.find() {
        Ok(_) if copy.state == CopyState::Damaged => Found::Lost,
        Ok(_) => Found::There,
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Found::Unclear(format!("looking for {shown}: {error}"))
        }
        Err(_) if file.parent().is_some_and(Path::is_dir) => Found::Lost,
        Err(_) => {
            let what = "is not there, and nor is its directory: is a disk missing?";
            Found::Unclear(format!("{shown} {what}"))
        }
    }
}

/// Records that it was accepted: nothing expects them any more. Their records are kept, and what is damaged stays where
/// it is.
pub fn accept_missing(
    catalog: &Catalog,
    copies: &[MissingCopy],
    now: Timestamp,
) -> Result<(), CatalogError> {
    let mut at: HashMap<BackupId, Vec<&str>> = HashMap::new();
    for lost in copies {
        at.entry(lost.record.id)
            .or_default()
            .push(&lost.destination);
    }
    let ids: Vec<BackupId> = at.keys().copied().collect();
    catalog.change_copies(&ids, |record| {
        for destination in at.get(&record.id).into_iter().flatten() {
            let copy = record.copy_at_mut(destination);
            // It may have been stored anew meanwhile.
            if let Some(copy) = copy.filter(|copy| !copy.is_there()) {
                if copy.state != CopyState::Damaged {
                    copy.state = CopyState::Missing;
                }
                copy.removed_at = Some(now);
                copy.next_try_at = None;
            }
        }
    })
}
