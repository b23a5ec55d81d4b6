//! A drill that rejected a copy: what that says of the backup, and what of this one file.

use super::check_copies::check_copy;
use crate::catalog::{BackupRecord, Catalog, CopyState, ProofRecord};
use crate::job::Job;
use crate::remote::Backup;
use crate::retain::{self, RetainError};
use hubvault_archive::{Identities, Manifest};
use hubvault_model::{BackupId, Cancel};
use jiff::Timestamp;

/// What a drill that rejected a copy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Of the backup: its archive is the one that was stored, and cannot be restored. It is unproven now.
    Backup(BackupId),
    /// Of this copy, which is recorded as damaged; of the backup nothing.
    Copy {
        /// Whose it is.
        backup: BackupId,
        /// The destination's name.
        destination: String,
        /// What is wrong with it.
        what: String,
    },
    /// Nothing that could be recorded.
    Nothing {
        /// Whose copy it is.
        backup: BackupId,
        /// Why.
        why: String,
    },
}

const OTHER: &str = "it is not the archive that was recorded";

/// Reads a copy back that a drill rejected, and records what that shows; `None` where it is no copy that the catalog knows.
/// `is_of_file` says that the file could not be read.
/// Only where the file is the one that was stored, and what it holds failed, the backup is unproven.
pub fn drill_rejected(
    job: &Job,
    catalog: &Catalog,
    backup: &Backup,
    (is_of_file, why): (bool, &str),
    cancel: &Cancel,
) -> Result<Option<Rejection>, RetainError> {
    let copy_of = |record: &BackupRecord| backup.copy_of(record, &job.destinations);
    let found = catalog.newest(Some(&job.name), |it| copy_of(&it.run).is_some())?;
    let copy = found.and_then(|record| Some((copy_of(&record)?, record)));
    let Some((name, record)) = copy else {
        return Ok(None);
    };
    let id = record.id;
    let nothing = |why: &str| {
        let why = why.to_owned();
        Ok(Some(Rejection::Nothing { backup: id, why }))
    };
    let Some(destination) = job.destinations.named(&name) else {
        return Ok(None);
    };
    let Some(checked) = check_copy(job, catalog, &record, destination, cancel)? else {
        return nothing("its copy was not found again");
    };
    let wrong = checked.error.clone().unwrap_or_default();
    let damaged = |what: String| {
        Ok(Some(Rejection::Copy {
            backup: id,
            destination: name.clone(),
            what,
        }))
    };
    match checked.state {
        CopyState::Damaged if checked.is_checked => return damaged(wrong),
        CopyState::Present if checked.read_back => {}
        _ => return nothing(&format!("its copy could not be compared: {wrong}")),
    }
    let is_compared = record.copies.iter().any(|copy| copy.sha256.is_some());
    if !is_compared && (!wrong.is_empty() || !holds_the_tables(backup, &record)) {
        catalog.change(id, |record| {
            if let Some(copy) = record.copy_at_mut(&name) {
                copy.state = CopyState::Damaged;
                copy.since = Some(Timestamp::now());
                copy.error = Some(OTHER.to_owned());
                (copy.sha256, copy.checked_at) = (None, None);
            }
        })?;
        return damaged(OTHER.to_owned());
    }
    if is_of_file {
        return nothing(
            "its copy is whole now that it was read once more: reading it failed; drill it again",
        );
    }
    retain::record_drill(catalog, id, &ProofRecord::rejected(why), None)?;
    Ok(Some(Rejection::Backup(id)))
}

/// Whether an archive of which no checksum is recorded has the tables that are. One that is sealed has a recorded checksum.
fn holds_the_tables(backup: &Backup, record: &BackupRecord) -> bool {
    let of_manifest = |manifest: &Manifest| -> Vec<(String, u64, String)> {
        let tables = manifest.tables.iter();
        let facts = tables.map(|it| (it.name.to_string(), it.digest.rows, it.digest.hex()));
        facts.collect()
    };
    let known = record.tables.iter();
    let known: Vec<_> = known
        .map(|it| (it.name.clone(), it.rows, it.digest.clone()))
        .collect();
    let opened = backup.open(&Identities::none());
    opened.is_ok_and(|archive| of_manifest(archive.manifest()) == known)
}
