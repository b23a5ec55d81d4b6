//! What drills of published archives showed: recorded here, stored beside each copy, and learned from there.

use super::pin::write_sidecar;
use super::{RetainError, Unstored};
use crate::catalog::{
    BackupCopy, BackupRecord, Catalog, CatalogError, Contents, CopyState, DrillMark, FoundMark,
    Marks, ProofRecord, State,
};
use crate::job::{Destination, Job, LOCAL};
use crate::remote::{MarkNames, delete_marks, impatient, put_mark, read_marks};
use hubvault_model::BackupId;
use hubvault_store::{Key, Store, StoreError};
use std::io;

/// Records what a drill showed, here and in the sidecar on this machine, where `known` is what the archive on it holds.
/// [`store_drills`] stores it beside the copies. A drill that could not be made takes nothing back.
pub fn record_drill(
    catalog: &Catalog,
    id: BackupId,
    proof: &ProofRecord,
    known: Option<Contents>,
) -> Result<(), RetainError> {
    let changed = catalog.change(id, |record| {
        if proof.shows_something() {
            record.drilled(proof.clone());
        } else if !record.proof.proven {
            record.proof = proof.clone();
        }
    })?;
    let Some(record) = changed else {
        return Ok(());
    };
    if let (Some(known), Some(file)) = (known, record.archive()) {
        let sidecar = known.into_sidecar(record.proof.clone(), record.pinned);
        return Ok(sidecar.write(file)?);
    }
    write_sidecar_or_warn(&record);
    Ok(())
}

fn write_sidecar_or_warn(record: &BackupRecord) {
    if let Err(error) = write_sidecar(record) {
        tracing::warn!("could not record in its sidecar what the drill showed: {error}");
    }
}

/// Looks at each destination for what drills of other machines showed, so that the next drill counts rather than those.
/// Returns where that could not be done.
pub fn learn_drills(job: &Job, catalog: &Catalog) -> Result<Vec<String>, CatalogError> {
    let records = catalog.runs(&job.name)?;
    let mut problems = Vec::new();
    for at in job.destinations.configured() {
        let of_it: Vec<&BackupRecord> = (records.iter())
            .filter(|record| copy_at(record, at).is_some())
            .collect();
        if of_it.is_empty() {
            continue;
        }
        let learned = impatient(at)
            .open()
            .and_then(|store| Ok((store.list("")?, store)))
            .map(|(listed, store)| {
                let mut names = MarkNames::of(&listed);
                learn_all(catalog, at, &*store, &of_it, &mut names)
            });
        match learned {
            Ok(done) => match done {
                Ok(_) => {}
                Err(RetainError::Catalog(error)) => return Err(error),
                Err(RetainError::Store(error)) => problems.push(in_words(job, at, &error)),
            },
            Err(error) => problems.push(in_words(job, at, &error)),
        }
    }
    Ok(problems)
}

fn in_words(job: &Job, at: &Destination, error: &StoreError) -> String {
    let what = format!(
        "could not look for drills of other machines at {}: {error}",
        at.name
    );
    job.delivery.masks.mask(&what)
}

/// Takes what is beside the copies of these records into account; which of them another drill counts for now.
pub(super) fn learn_all(
    catalog: &Catalog,
    at: &Destination,
    store: &dyn Store,
    records: &[&BackupRecord],
    names: &mut MarkNames,
) -> Result<Vec<BackupId>, RetainError> {
    let mut changed = Vec::new();
    for record in records {
        let Some(copy) = copy_at(record, at) else {
            continue;
        };
        let key = key_of(copy)?;
        if learn(catalog, at, store, (record, &key), &names.take(&key))? {
            changed.push(record.id);
        }
    }
    Ok(changed)
}

/// Takes the marks of these names beside one copy into account; whether another drill counts now.
pub(super) fn learn(
    catalog: &Catalog,
    at: &Destination,
    store: &dyn Store,
    (record, key): (&BackupRecord, &Key),
    names: &[String],
) -> Result<bool, RetainError> {
    let new = unknown(record, &at.name, names);
    let found = if new.is_empty() {
        Marks::default()
    } else {
        read_marks(store, at, key, record.id, &new)?
    };
    Ok(learn_found(catalog, &at.name, record, &found)?)
}

/// Those of the names beside a copy that a record has not taken into account.
pub(crate) fn unknown(record: &BackupRecord, destination: &str, names: &[String]) -> Vec<String> {
    let known = record.drill_mark.as_ref();
    let unreadable = record
        .copy_at(destination)
        .map(|copy| &copy.unreadable_marks);
    let is_new = |name: &&String| {
        !known.is_some_and(|known| known.knows(name))
            && !unreadable.is_some_and(|names| names.contains(*name))
    };
    names.iter().filter(is_new).cloned().collect()
}

/// Records the marks that were found beside the copy at a destination; whether another drill counts now.
pub(crate) fn learn_found(
    catalog: &Catalog,
    destination: &str,
    record: &BackupRecord,
    marks: &Marks,
) -> Result<bool, CatalogError> {
    let unread = record.copy_at(destination).map(|copy| copy.unread_marks);
    let is_as_before = marks.unread == unread.unwrap_or_default();
    if marks.found.is_empty() && marks.unreadable.is_empty() && is_as_before {
        return Ok(false);
    }
    let mut is_changed = false;
    let record = catalog.change(record.id, |record| {
        is_changed = record.learn_marks(destination, &marks.found);
        record.note_marks(destination, marks);
    })?;
    let Some(record) = record.filter(|_| is_changed) else {
        return Ok(false);
    };
    let by = record.drill_mark.as_ref().map(DrillMark::by);
    let (id, state) = (record.id.short(), record.state.as_str());
    let by = by.unwrap_or_default();
    let what = format!("backup {id} is {state} by a drill{by} that was found at {destination}");
    if record.proof.proven {
        tracing::info!("{what}");
    } else {
        let why = record.proof.reason.as_deref().unwrap_or_default();
        tracing::warn!("{what}: {why}");
    }
    write_sidecar_or_warn(&record);
    Ok(true)
}

/// Stores what drills showed beside the copies that do not have it yet. Returns where that could not be done.
pub fn store_drills(
    job: &Job,
    catalog: &Catalog,
    only: Option<&str>,
) -> Result<Vec<Unstored>, CatalogError> {
    let records = catalog.runs(&job.name)?;
    let mut unstored = Vec::new();
    let configured = job.destinations.configured();
    for at in configured.filter(|at| only.is_none_or(|only| only == at.name)) {
        let due: Vec<&BackupRecord> = (records.iter())
            .filter(|record| due(record, at).is_some())
            .collect();
        if due.is_empty() {
            continue;
        }
        let opened = impatient(at)
            .open()
            .and_then(|store| Ok((store.list("")?, store)));
        let text = |error: &StoreError| job.delivery.masks.mask(&error.to_string());
        let mut opened = opened
            .map(|(listed, store)| (MarkNames::of(&listed), store))
            .map_err(|error| text(&error));
        for record in due {
            let done = match &mut opened {
                Ok((names, store)) => store_one(catalog, at, &**store, record, names),
                Err(problem) => Ok(Err(problem.clone())),
            };
            let problem = match done {
                Ok(Ok(())) => continue,
                Ok(Err(problem)) => problem,
                Err(RetainError::Catalog(error)) => return Err(error),
                Err(RetainError::Store(error)) => {
                    let problem = text(&error);
                    // What failed now would fail again.
                    opened = Err(problem.clone());
                    problem
                }
            };
            unstored.push(Unstored {
                backup: record.id,
                destination: at.name.clone(),
                is_required: at.rules.required,
                problem: format!(
                    "what its last drill showed is not stored there yet, so that other machines do not know it: {problem}"
                ),
            });
        }
    }
    Ok(unstored)
}

/// Whether [`store_drills`] has something to do.
pub(crate) fn is_drill_due(job: &Job, record: &BackupRecord) -> bool {
    let mut configured = job.destinations.configured();
    configured.any(|at| due(record, at).is_some())
}

fn store_one(
    catalog: &Catalog,
    at: &Destination,
    store: &dyn Store,
    record: &BackupRecord,
    names: &mut MarkNames,
) -> Result<Result<(), String>, RetainError> {
    let Some(key) = due(record, at).map(key_of).transpose()? else {
        return Ok(Ok(()));
    };
    let there = names.take(&key);
    learn(catalog, at, store, (record, &key), &there)?;
    // Another machine may have drilled it since.
    let Some(record) = catalog.find(&record.id.to_string())? else {
        return Ok(Ok(()));
    };
    let (Some(_), Some(latest)) = (due(&record, at), FoundMark::of(&record)) else {
        return Ok(Ok(()));
    };
    let name = &latest.mark.name;
    if !there.contains(name) {
        let is_sealed = !record.sealed_to.is_empty();
        let text = match latest.text(record.id, is_sealed) {
            Ok(text) => text,
            Err(error) => return Ok(Err(error.to_string())),
        };
        put_mark(store, &key, name, &text)?;
    }
    catalog.change(record.id, |known| {
        let is_same = known.drill_mark.as_ref().map(|mark| &mark.name) == Some(name);
        if let Some(copy) = known.copy_at_mut(&at.name).filter(|_| is_same) {
            copy.drill_mark = Some(name.clone());
        }
    })?;
    let is_old = |it: &&String| *it != name && latest.mark.knows(it);
    let old: Vec<String> = there.iter().filter(is_old).cloned().collect();
    if let Err(error) = delete_marks(store, &key, &old) {
        // A lock may hold it. It counts for nothing any more.
        tracing::debug!(
            "an earlier mark of backup {} is left: {error}",
            record.id.short()
        );
    }
    Ok(Ok(()))
}

/// The copy beside which a mark is to be stored.
fn due<'a>(record: &'a BackupRecord, at: &Destination) -> Option<&'a BackupCopy> {
    let mark = record.drill_mark.as_ref()?;
    let is_due = |copy: &&BackupCopy| copy.drill_mark.as_ref() != Some(&mark.name);
    copy_at(record, at).filter(is_due)
}

/// The copy at a destination, beside which marks are.
pub(super) fn copy_at<'a>(record: &'a BackupRecord, at: &Destination) -> Option<&'a BackupCopy> {
    let is_there = |copy: &&BackupCopy| {
        copy.is_expected()
            && matches!(copy.state, CopyState::Present | CopyState::Damaged)
            && copy.is_at(at)
            && !copy.until_copied
            && (at.name != LOCAL || copy.is_there())
    };
    let is_published = matches!(record.state, State::Proven | State::Unproven);
    record
        .copy_at(&at.name)
        .filter(|copy| is_published && is_there(copy))
}

fn key_of(copy: &BackupCopy) -> Result<Key, StoreError> {
    let text = copy.key.clone();
    Key::parse(&text).map_err(|error| StoreError::new("reading", text, io::Error::other(error)))
}
