//! Backups that stay because somebody said so: here, and at every destination that has a copy.

use super::RetainError;
use crate::catalog::{BackupCopy, BackupRecord, Catalog, CatalogError, CopyState, Pin, contents};
use crate::job::{Destination, Job, LOCAL};
use crate::remote::{delete_pin, impatient, put_pin};
use hubvault_archive::Identities;
use hubvault_model::BackupId;
use hubvault_store::{ErrorKind, Key, Store, StoreError};
use std::io;

/// Why a backup is pinned without anybody asking for it.
pub const ROWS_LOST: &str = "later backups lack rows of it";

/// A pin or a mark that is not at a destination yet, or a pin that still is there. It is recorded, and tried again.
#[derive(Clone, Debug)]
pub struct Unstored {
    /// The backup.
    pub backup: BackupId,
    /// The destination's name.
    pub destination: String,
    /// Whether a run without this copy ends with a warning.
    pub is_required: bool,
    /// Why, in words.
    pub problem: String,
}

/// Says that a backup stays, or no longer has to: in the catalog, in the sidecar on this machine, and by an object of its
/// own at each destination that has a copy. Returns where that could not be done yet.
pub fn pin(
    job: &Job,
    catalog: &Catalog,
    record: &BackupRecord,
    pin: Option<Pin>,
) -> Result<Vec<Unstored>, RetainError> {
    let pinned = pin.is_some();
    let changed = catalog.change(record.id, |record| {
        record.pinned = pinned;
        record.pin = pin;
        for copy in &mut record.copies {
            // A try before may have done it or not.
            copy.pin_stored = !pinned;
        }
    })?;
    let changed: Vec<BackupRecord> = changed.into_iter().collect();
    let unstored = store_pins_of(job, catalog, &changed, None)?;
    if let Some(record) = changed.first() {
        write_sidecar(record)?;
    }
    Ok(unstored)
}

/// Says in the sidecar on this machine whether a backup is pinned.
pub(crate) fn write_sidecar(record: &BackupRecord) -> Result<(), StoreError> {
    let Some(file) = record.archive() else {
        return Ok(());
    };
    let known = contents(file, &Identities::none()).map_err(|error| {
        let (doing, shown) = (
            "writing the sidecar manifest of",
            file.display().to_string(),
        );
        StoreError::new(doing, shown, io::Error::other(error))
    })?;
    known
        .into_sidecar(record.proof.clone(), record.pinned)
        .write(file)
}

/// Stores the pins that are not at every destination yet, and deletes those that do not count any more. Returns what could
/// not be done.
pub fn store_pins(
    job: &Job,
    catalog: &Catalog,
    only: Option<&str>,
) -> Result<Vec<Unstored>, CatalogError> {
    store_pins_of(job, catalog, &catalog.runs(&job.name)?, only)
}

/// Whether [`store_pins`] has something to do.
pub(crate) fn is_pin_due(job: &Job, record: &BackupRecord) -> bool {
    let mut configured = job.destinations.configured();
    configured.any(|at| due(record, at).is_some())
}

/// The copy beside which a pin is to be stored or deleted.
fn due<'a>(record: &'a BackupRecord, at: &Destination) -> Option<&'a BackupCopy> {
    let is_there = |copy: &&BackupCopy| {
        copy.is_expected()
            && matches!(copy.state, CopyState::Present | CopyState::Damaged)
            && copy.is_at(at)
            && !copy.until_copied
            && (at.name != LOCAL || copy.is_there())
    };
    let copy = record.copy_at(&at.name).filter(is_there)?;
    (record.pinned != copy.pin_stored).then_some(copy)
}

fn store_pins_of(
    job: &Job,
    catalog: &Catalog,
    records: &[BackupRecord],
    only: Option<&str>,
) -> Result<Vec<Unstored>, CatalogError> {
    let mut unstored = Vec::new();
    let configured = job.destinations.configured();
    for at in configured.filter(|at| only.is_none_or(|only| only == at.name)) {
        let mut opened: Option<Result<Box<dyn Store>, String>> = None;
        let text = |error: StoreError| job.delivery.masks.mask(&error.to_string());
        for record in records {
            let Some(copy) = due(record, at) else {
                continue;
            };
            let store = opened.get_or_insert_with(|| impatient(at).open().map_err(text));
            let done = match store {
                Ok(store) => store_one(&**store, pin_of(catalog, record)?.as_ref(), record, copy),
                Err(problem) => Ok(Err(problem.clone())),
            };
            let problem = match done {
                Ok(Ok(())) => {
                    set_stored(catalog, record, &at.name)?;
                    continue;
                }
                // It ends by itself, and until then other machines keep the backup.
                Err(error) if error.kind == ErrorKind::Locked && !record.pinned => {
                    tracing::debug!("the pin of backup {} is locked: {error}", record.id.short());
                    continue;
                }
                Err(error) => {
                    let problem = text(error);
                    // What failed now would fail again.
                    opened = Some(Err(problem.clone()));
                    problem
                }
                Ok(Err(problem)) => problem,
            };
            unstored.push(Unstored {
                backup: record.id,
                destination: at.name.clone(),
                is_required: at.rules.required,
                problem: in_words(record, &problem),
            });
        }
    }
    Ok(unstored)
}

fn in_words(record: &BackupRecord, problem: &str) -> String {
    if record.pinned {
        format!("its pin is not stored there yet, so that another machine may remove it: {problem}")
    } else {
        format!("its pin is not removed from there yet: {problem}")
    }
}

/// Who pinned a backup; `None` where it is not pinned.
fn pin_of(catalog: &Catalog, record: &BackupRecord) -> Result<Option<Pin>, CatalogError> {
    if !record.pinned {
        return Ok(None);
    }
    // An earlier version did not record who pinned it.
    let pin = catalog.whole(record)?.pin;
    Ok(Some(pin.unwrap_or_else(|| Pin::now("pinned"))))
}

fn store_one(
    store: &dyn Store,
    pin: Option<&Pin>,
    record: &BackupRecord,
    copy: &BackupCopy,
) -> Result<Result<(), String>, StoreError> {
    let key = match Key::parse(&copy.key) {
        Ok(key) => key,
        Err(error) => return Ok(Err(error.to_string())),
    };
    match pin {
        Some(pin) => put_pin(store, &key, record.id, pin)?,
        None => delete_pin(store, &key)?,
    }
    Ok(Ok(()))
}

/// Unless somebody pinned or unpinned it meanwhile.
fn set_stored(catalog: &Catalog, record: &BackupRecord, name: &str) -> Result<(), CatalogError> {
    let set = |known: &mut BackupRecord| {
        let is_same = known.pinned == record.pinned;
        if let Some(copy) = known.copy_at_mut(name).filter(|_| is_same) {
            copy.pin_stored = record.pinned;
        }
    };
    catalog.change(record.id, set).map(|_| ())
}
