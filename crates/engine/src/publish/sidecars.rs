//! The sidecar of a copy. Of two hosts that store an archive under one key, the first sidecar says whose that key is.

use super::source::{CopyError, Task, sidecar_beside};
use crate::catalog::BackupRecord;
use crate::catalog::sidecar::Sidecar;
use crate::job::{Destination, LOCAL};
use crate::remote::{open_stored, sidecar_bytes, sidecar_key};
use hubvault_archive::{AnyArchive, Manifest};
use hubvault_model::Cancel;
use hubvault_store::{ErrorKind, Object, Store, StoreError};
use std::sync::Arc;

/// The largest object that a store puts only where there is none.
const CONDITIONAL: usize = 1 << 20;

/// The archive beside which a sidecar is stored.
#[derive(Clone, Copy)]
pub(super) enum There<'a> {
    /// None is there yet.
    Nothing,
    /// One of this backup, which is damaged.
    Damaged,
    /// One of this backup.
    Whole(&'a Object),
}

/// Stores the sidecar, unless the same one is there: a store may keep every version of it. That of another backup stays,
/// unless it is beside an archive of this one. Returns what is wrong with the one that is there then.
pub(super) fn put_sidecar(
    store: &Arc<dyn Store>,
    destination: &Destination,
    task: &Task,
    archive: There<'_>,
    cancel: &Cancel,
) -> Result<Option<String>, CopyError> {
    let key = sidecar_key(&task.key)?;
    let mut there = sidecar_bytes(&**store, &task.key, task.bytes)
        .map_err(|error| CopyError::from(error).of_object(&**store))?;
    if matches!(archive, There::Nothing) {
        refuse_other(destination, task, there.as_deref())?;
    }
    let whole = match archive {
        There::Whole(object) => Some(object),
        There::Nothing | There::Damaged => None,
    };
    let sidecar = match good_sidecar(store, task, whole, cancel)? {
        Good::Text(text) => text,
        Good::Missing => return Ok(None),
        Good::Wrong if is_of_this(task, there.as_deref()) => return Ok(None),
        Good::Wrong => {
            let what = "the sidecar beside its source is not of this backup, and that of a sealed archive cannot be made \
                        again without a key; it has none";
            return Ok(Some(what.to_owned()));
        }
    };
    if there.is_none() && sidecar.len() <= CONDITIONAL {
        match store.put_if_absent(&key, &mut sidecar.as_slice()) {
            // A conditional put locks nothing.
            Ok(Some(_)) if destination.options.lock.is_none() => return Ok(None),
            Ok(Some(_)) => {}
            Ok(None) => there = sidecar_bytes(&**store, &task.key, task.bytes)?,
            Err(error) if error.kind == ErrorKind::Unsupported => {}
            Err(error) => return Err(error.into()),
        }
        refuse_other(destination, task, there.as_deref())?;
    }
    if there.as_ref() != Some(&sidecar) {
        store.put(&key, &mut sidecar.as_slice())?;
    }
    Ok(None)
}

/// A sidecar that may be stored.
enum Good {
    Text(Vec<u8>),
    /// There is none, and none can be made.
    Missing,
    /// There is one, which is not of this archive.
    Wrong,
}

/// The sidecar of the source, if it is of this archive; else a new one from the archive's own manifest.
fn good_sidecar(
    store: &Arc<dyn Store>,
    task: &Task,
    whole: Option<&Object>,
    cancel: &Cancel,
) -> Result<Good, CopyError> {
    let json = match task.sidecar() {
        // A source that is gone is of no matter to what is whole already.
        Err(_) if whole.is_some() => None,
        json => json?,
    };
    let found = json.as_deref();
    let found = found.and_then(|json| Sidecar::parse(json, task.bytes));
    let found = found.filter(|found| found.manifest.id == task.backup);
    if task.is_sealed {
        let seal = found.and_then(|found| found.seal);
        let is_of_it = |known: &String| seal.as_ref().is_some_and(|seal| seal.sha256 == *known);
        return Ok(match json {
            None => Good::Missing,
            Some(json) if task.sha256.as_ref().map_or(seal.is_some(), is_of_it) => {
                let text = Sidecar::without_rows(json, task.bytes).map_err(|error| {
                    StoreError::new("making the sidecar of", task.key.as_str(), error)
                })?;
                Good::Text(text)
            }
            Some(_) => Good::Wrong,
        });
    }
    let opened = match whole {
        Some(object) => open_stored(store, object, cancel)?,
        None => task.open_archive(cancel)?,
    };
    let Ok(manifest) = opened.map(AnyArchive::into_manifest) else {
        return Ok(Good::Missing);
    };
    if let (Some(found), Some(json)) = (found, json)
        && found.seal.is_none()
        && is_same(&found.manifest, &manifest)
    {
        return Ok(Good::Text(json));
    }
    let sidecar = Sidecar {
        proof: task.proof.clone(),
        pinned: task.pin.is_some(),
        seal: None,
        manifest,
    };
    let text = serde_json::to_vec_pretty(&sidecar).map_err(|error| {
        StoreError::new("making the sidecar of", task.key.as_str(), error.into())
    })?;
    Ok(Good::Text(text))
}

fn is_of_this(task: &Task, there: Option<&[u8]>) -> bool {
    let there = there.and_then(|json| Sidecar::parse(json, task.bytes));
    there.is_some_and(|sidecar| sidecar.manifest.id == task.backup)
}

/// Whether the sidecar there still is of this backup, after its archive was stored.
pub(super) fn check_sidecar(
    store: &dyn Store,
    destination: &Destination,
    task: &Task,
) -> Result<(), CopyError> {
    let there = sidecar_bytes(store, &task.key, task.bytes)?;
    refuse_other(destination, task, there.as_deref())
}

fn refuse_other(
    destination: &Destination,
    task: &Task,
    there: Option<&[u8]>,
) -> Result<(), CopyError> {
    // One that cannot be read is nobody's.
    let there = there.and_then(|json| Sidecar::parse(json, task.bytes));
    if there.is_none_or(|sidecar| sidecar.manifest.id == task.backup) {
        return Ok(());
    }
    Err(another(destination, task))
}

/// What is wrong with the sidecar of a copy that is there. An archive on this machine needs none.
pub(super) fn sidecar_flaw(
    store: &Arc<dyn Store>,
    destination: &Destination,
    record: &BackupRecord,
    object: &Object,
    cancel: &Cancel,
) -> Result<Option<String>, StoreError> {
    let is_local = destination.name == LOCAL;
    let cure = if is_local && record.sealed_to.is_empty() {
        "hubvault drill stores it again"
    } else if is_local {
        "hubvault drill with its key stores it again"
    } else {
        "hubvault copies sync stores it again"
    };
    let Some(json) = sidecar_bytes(&**store, &object.key, object.bytes)? else {
        return Ok((!is_local).then(|| format!("its sidecar is not there; {cure}")));
    };
    let Some(there) = Sidecar::parse(json.as_slice(), object.bytes) else {
        return Ok(Some(format!("its sidecar cannot be read; {cure}")));
    };
    if there.manifest.id != record.id {
        let why = if is_local {
            ""
        } else {
            "; does another host or job copy to the same place?"
        };
        let what = format!("its sidecar is of another backup{why}; {cure}");
        return Ok(Some(what));
    }
    let is_wrong = match &there.seal {
        Some(seal) => {
            let known = record.copies.iter().find_map(|copy| copy.sha256.as_ref());
            known.is_some_and(|known| *known != seal.sha256)
        }
        None if record.sealed_to.is_empty() => {
            (is_local || !is_as_here(record, &there, object)?)
                && (open_stored(store, object, cancel)?)
                    .is_ok_and(|archive| !is_same(archive.manifest(), &there.manifest))
        }
        None => true,
    };
    Ok(is_wrong.then(|| format!("its sidecar is not that of its archive; {cure}")))
}

/// Whether the sidecar on this machine says the same, where there is one of this backup.
fn is_as_here(record: &BackupRecord, there: &Sidecar, object: &Object) -> Result<bool, StoreError> {
    let here = match record.archive() {
        Some(path) => sidecar_beside(path, object.bytes)?,
        None => None,
    };
    let here = here.and_then(|json| Sidecar::parse(json.as_slice(), object.bytes));
    let here = here.filter(|here| here.manifest.id == record.id);
    Ok(here.is_none_or(|here| is_same(&here.manifest, &there.manifest)))
}

fn is_same(one: &Manifest, other: &Manifest) -> bool {
    match (one.sha256(), other.sha256()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Why nothing is stored under a key.
pub(super) fn another(destination: &Destination, task: &Task) -> CopyError {
    CopyError::Refused(format!(
        "{}/{} is another archive's already; give every host and job a prefix of its own",
        destination.location, task.key
    ))
}
