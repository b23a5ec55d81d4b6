//! One copy of a backup removed, unless it is the last one.

use super::compare::{Compared, compare};
use super::source::turn_of;
use crate::catalog::{BackupCopy, BackupRecord, Catalog, CatalogError, CopyState};
use crate::job::{Destination, Job};
use crate::remote::{
    MarkNames, Owner, Wanted, delete_archive, only_sidecar_locked, open_alone_now, owner,
    sidecar_locked_until,
};
use crate::state::file::{Access, open};
use hubvault_model::{ByteSize, Cancel};
use hubvault_store::{ErrorKind, Key, Object, Store, StoreError};
use jiff::Timestamp;
use std::fs::{File, TryLockError};
use std::io;
use std::sync::Arc;

/// Why a copy was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It may not be.
    #[error("{0}")]
    Refused(String),
    /// The record of runs.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The copy.
    Copy,
    /// A copy that was not stored yet from the queue.
    Queued,
    /// A copy at a place that is not configured any more from the catalog alone. What is there was not touched.
    Record,
}

/// Removes the copy of a backup at the destination of this name, unless no other one is found.
pub fn remove_copy(
    job: &Job,
    catalog: &Catalog,
    record: &BackupRecord,
    name: &str,
) -> Result<Removed, RemoveError> {
    let id = record.id;
    let Some(_alone) = alone(catalog)? else {
        let what = "another process removes copies now; try again once it has ended";
        return Err(RemoveError::Refused(what.to_owned()));
    };
    // The one before may have removed what `record` says is there.
    match catalog.find(&id.to_string())? {
        Some(record) => remove_found(job, catalog, &record, name),
        None => Err(RemoveError::Refused(format!(
            "backup {} is not in the catalog any more",
            id.short()
        ))),
    }
}

/// The lock of those who remove a copy because another one is left; `None` while another process has it.
pub(super) fn alone(catalog: &Catalog) -> Result<Option<File>, StoreError> {
    lock(catalog, "removing-copies.lock")
}

fn lock(catalog: &Catalog, name: &str) -> Result<Option<File>, StoreError> {
    let path = catalog.state().file(name);
    let failed = |error| StoreError::new("locking", path.display().to_string(), error);
    let file = open(&path, Access::Append).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn remove_found(
    job: &Job,
    catalog: &Catalog,
    record: &BackupRecord,
    name: &str,
) -> Result<Removed, RemoveError> {
    let id = record.id.short();
    let refused = |what: String| Err(RemoveError::Refused(what));
    let Some(copy) = record.copy_at(name).filter(|copy| copy.is_expected()) else {
        return refused(format!("backup {id} has no copy at {name}"));
    };
    let at = job.destinations.named(name);
    // What is on its way there may be this copy.
    let turn = at.map(|at| lock(catalog, &turn_of(&at.name)));
    let turn = turn.transpose()?;
    if turn.as_ref().is_some_and(Option::is_none) {
        return refused(format!(
            "copies are being made at {name} now; try again once that has ended"
        ));
    }
    if copy.state == CopyState::Pending {
        // It was never stored: what is under its key may be another's.
        set_copy(catalog, record, name, |copy| {
            if copy.state == CopyState::Pending {
                set_removed(copy, None);
            }
        })?;
        return Ok(Removed::Queued);
    }
    let place = at.filter(|at| copy.is_at(at));
    if !is_elsewhere((job, catalog), record, (name, place)) {
        return refused(format!(
            "no other whole copy of backup {id} was found, so that the one at {name} is the only one; \
             hubvault copies verify --full looks for all, hubvault prune removes backups, and with --gone those that are lost"
        ));
    }
    let Some(destination) = place else {
        // What is at the place that is configured now is not this copy: that one is yet to be made.
        catalog.change(record.id, |record| {
            record.copies.retain(|copy| copy.destination != name);
        })?;
        return Ok(Removed::Record);
    };
    let store: Arc<dyn Store> = Arc::from(open_alone_now(
        destination,
        &job.destinations,
        catalog.state(),
    )?);
    check_owner(&store, record, copy, destination)?;
    match (
        remove_stored(catalog, record, copy, &*store)?,
        copy.locked_until,
    ) {
        (Err(error), _) if only_sidecar_locked(&error) => {
            tracing::info!("{error}; retention removes it once its lock has ended");
            Ok(Removed::Copy)
        }
        (Err(error), Some(until)) if error.kind == ErrorKind::Locked => refused(format!(
            "the copy of backup {id} at {name} is locked until {until}; it was not removed"
        )),
        (removed, _) => Ok(removed.map(|()| Removed::Copy)?),
    }
}

/// Removes the archive and the sidecar of a copy. Recorded first: what a process that crashes in between leaves is removed
/// by retention, and not missing.
pub(super) fn remove_stored(
    catalog: &Catalog,
    record: &BackupRecord,
    copy: &BackupCopy,
    store: &dyn Store,
) -> Result<Result<(), StoreError>, CatalogError> {
    let key = match key_of(copy) {
        Ok(key) => key,
        Err(error) => return Ok(Err(error)),
    };
    let name = &copy.destination;
    let marks = match MarkNames::beside(store, &key) {
        Ok(marks) => marks,
        Err(error) => return Ok(Err(error)),
    };
    set_copy(catalog, record, name, |copy| {
        set_removed(copy, Some(Timestamp::now()));
    })?;
    let has_pin = record.pinned || copy.pin_stored;
    let removed = delete_archive(store, &key, has_pin, &marks);
    let has_locked_sidecar = removed.as_ref().err().is_some_and(only_sidecar_locked);
    let locked_until = has_locked_sidecar.then(|| sidecar_locked_until(store, &key));
    set_copy(catalog, record, name, |now| match &removed {
        Ok(()) => {
            now.next_try_at = None;
            now.pin_stored = false;
            now.drill_mark = None;
        }
        // The archive may be gone: retention finishes the removal.
        Err(error) if error.is_uncertain => {
            now.error = Some(error.to_string());
            now.locked_until = locked_until.unwrap_or(now.locked_until);
        }
        Err(error) => {
            now.state = copy.state;
            now.removed_at = copy.removed_at;
            now.next_try_at = copy.next_try_at;
            // Whoever asked hears of it; a copy that is there as before has no flaw because of that.
            let was_flawed = copy.error.clone();
            now.error = if copy.is_present() {
                was_flawed
            } else {
                Some(error.to_string())
            };
        }
    })?;
    Ok(removed)
}

/// `next_try_at`: when retention is to finish the removal.
fn set_removed(copy: &mut BackupCopy, next_try_at: Option<Timestamp>) {
    copy.state = CopyState::Removed;
    copy.removed_at = Some(Timestamp::now());
    copy.next_try_at = next_try_at;
    copy.error = None;
}

fn set_copy(
    catalog: &Catalog,
    record: &BackupRecord,
    name: &str,
    set: impl FnOnce(&mut BackupCopy),
) -> Result<(), CatalogError> {
    let change = |record: &mut BackupRecord| {
        if let Some(copy) = record.copy_at_mut(name) {
            set(copy);
        }
    };
    catalog.change(record.id, change).map(|_| ())
}

fn key_of(copy: &BackupCopy) -> Result<Key, StoreError> {
    let text = copy.key.clone();
    Key::parse(&text).map_err(|error| StoreError::new("removing", text, io::Error::other(error)))
}

/// Whether another copy than the one of this name is found whole at a destination that is configured, and not in `place`. A
/// record alone is no copy.
fn is_elsewhere(
    (job, catalog): (&Job, &Catalog),
    record: &BackupRecord,
    (name, place): (&str, Option<&Destination>),
) -> bool {
    let is_apart = |at: &Destination| place.is_none_or(|place| !place.overlaps(at));
    let is_found = |copy: &BackupCopy| {
        let at = job.destinations.named(&copy.destination);
        let at = at.filter(|at| copy.is_at(at) && is_apart(at));
        at.is_some_and(|at| {
            let store = open_alone_now(at, &job.destinations, catalog.state());
            find_whole(store, record, copy, at)
                .inspect_err(|what| {
                    tracing::warn!("the copy at {} does not count: {what}", at.name);
                })
                .is_ok()
        })
    };
    let mut others = record.copies.iter();
    others.any(|copy| copy.destination != name && copy.is_present() && is_found(copy))
}

/// Whether a copy is there and whole, read back now; else why not.
fn find_whole(
    store: Result<Box<dyn Store>, StoreError>,
    record: &BackupRecord,
    copy: &BackupCopy,
    at: &Destination,
) -> Result<(), String> {
    if let Some(error) = &copy.error {
        return Err(error.clone());
    }
    let (store, object) = find(store, record, copy)?;
    if at.location.directory().is_none() {
        tracing::info!(
            "reading the copy of backup {} at {} back ({}) before the other one is removed",
            record.id.short(),
            at.name,
            ByteSize(object.bytes)
        );
    }
    match compare(&store, record, copy, &object, &Cancel::new()) {
        Ok(Compared::Whole(_)) => Ok(()),
        Ok(Compared::Damaged(what)) => Err(what),
        Ok(Compared::Unclear(what)) => Err(what.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Looks for a copy with its size; else why it does not count.
fn find(
    store: Result<Box<dyn Store>, StoreError>,
    record: &BackupRecord,
    copy: &BackupCopy,
) -> Result<(Arc<dyn Store>, Object), String> {
    let text = |error: StoreError| error.to_string();
    let key = key_of(copy).map_err(text)?;
    let store: Arc<dyn Store> = Arc::from(store.map_err(text)?);
    let Some(object) = store.head(&key).map_err(text)? else {
        return Err("it is not there".to_owned());
    };
    match copy.bytes.or(record.bytes) {
        Some(bytes) if bytes != object.bytes => Err(format!(
            "it has {} bytes there instead of {bytes}",
            object.bytes
        )),
        _ => Ok((store, object)),
    }
}

/// Whether what is recorded as copied elsewhere is there: at each required destination, and at one at least. They were
/// compared when they were stored.
pub(super) fn check_copied(
    job: &Job,
    catalog: &Catalog,
    record: &BackupRecord,
) -> Result<(), String> {
    let mut result = Err("no copy of it is at another destination".to_owned());
    for at in job.destinations.others() {
        let Some(copy) = record.copy_at(&at.name).filter(|copy| copy.is_present()) else {
            continue;
        };
        let store = open_alone_now(at, &job.destinations, catalog.state());
        match find(store, record, copy) {
            Ok(_) => result = Ok(()),
            Err(what) if at.rules.required => {
                return Err(format!("its copy at {} was not found: {what}", at.name));
            }
            Err(what) => tracing::warn!("the copy at {} does not count: {what}", at.name),
        }
    }
    result
}

/// Refuses to remove what is another backup's.
fn check_owner(
    store: &Arc<dyn Store>,
    record: &BackupRecord,
    copy: &BackupCopy,
    destination: &Destination,
) -> Result<(), RemoveError> {
    let Some(object) = store.head(&key_of(copy)?)? else {
        return Ok(());
    };
    let wanted = Wanted::of(record, destination, &object);
    if owner(store, &object, &wanted, &Cancel::new())? == Owner::This {
        return Ok(());
    }
    Err(RemoveError::Refused(format!(
        "{}/{} is not known to be the archive of backup {}: its sidecar or manifest says otherwise, or neither is there; \
         it was not removed",
        destination.location,
        copy.key,
        record.id.short()
    )))
}
