//! Copies that the record has and their destination has no more, found by one listing of each.

use super::adopt::adopt_at_lease;
use super::same_place::{MANY, doubt, filesystem};
use crate::catalog::{BackupRecord, Catalog, CatalogError, CopyState};
use crate::job::{Destination, Job};
use hubvault_model::{BackupId, Cancel, Warning, counted};
use hubvault_store::StoreError;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};

/// The code of the warning that all copies at a destination were missing at once.
const ALL_MISSING: &str = "copies-missing";

/// A copy that was recorded as present, and is not as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsentCopy {
    /// The backup.
    pub backup: BackupId,
    /// The destination's name.
    pub destination: String,
    /// Whether it is there, with another size.
    pub is_damaged: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Absent {
    /// Newest backup first at each destination.
    pub copies: Vec<AbsentCopy>,
    /// Destinations that could not be asked, in sentences: nothing is known of their copies.
    pub problems: Vec<String>,
}

/// Lists each destination, or `only` one, and records the copies that are not there any more as missing, those of another
/// size as damaged. It costs no request for each copy. What the machines of a lease removed at its destination is not
/// missing.
pub fn find_absent(
    job: &Job,
    catalog: &Catalog,
    only: Option<&str>,
    cancel: &Cancel,
) -> Result<Absent, CatalogError> {
    let mut found = Absent::default();
    let leased = job.lease.as_ref().map(|lease| lease.destination.as_str());
    for destination in job.destinations.others() {
        let name = destination.name.as_str();
        if cancel.is_requested() || only.is_some_and(|only| only != name) {
            continue;
        }
        // Before the listing: what is stored meanwhile is not looked for.
        let records = catalog.runs(&job.name)?;
        let expected: Vec<&BackupRecord> = (records.iter())
            .filter(|record| is_there(record, destination))
            .collect();
        if expected.is_empty() {
            found.problems.extend(doubt(destination, &records));
            continue;
        }
        let looked = if leased == Some(name) {
            adopt_at_lease(job, catalog, cancel).map_err(|error| error.to_string())
        } else {
            match look(destination) {
                Ok((there, filesystem)) => {
                    record_absent(catalog, destination, &expected, (&there, filesystem))?;
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            }
        };
        if let Err(error) = looked {
            let error = job.delivery.masks.mask(&error);
            found.problems.push(format!(
                "could not list {name}, so that nothing is known of the copies there: {error}"
            ));
            continue;
        }
        let ids: HashSet<BackupId> = expected.iter().map(|record| record.id).collect();
        let now = catalog.runs(&job.name)?;
        found.problems.extend(doubt(destination, &now));
        let lost = now.iter().filter(|record| ids.contains(&record.id));
        let lost = lost.filter_map(|record| {
            let copy = record.copy_at(name).filter(|copy| copy.is_lost())?;
            Some(AbsentCopy {
                backup: record.id,
                destination: name.to_owned(),
                is_damaged: copy.state == CopyState::Damaged,
            })
        });
        let lost: Vec<AbsentCopy> = lost.collect();
        if lost.len() == expected.len() && lost.iter().filter(|it| !it.is_damaged).count() >= MANY {
            warn(catalog, expected[0].id, destination, lost.len())?;
        }
        found.copies.extend(lost);
    }
    Ok(found)
}

/// Records that a place lost all it had, with the newest backup that was there: that it is made again hides it otherwise.
fn warn(
    catalog: &Catalog,
    newest: BackupId,
    destination: &Destination,
    copies: usize,
) -> Result<(), CatalogError> {
    let (name, at) = (&destination.name, Timestamp::now());
    let what = format!(
        "all {} at {name} were missing on {}: somebody deleted them, or its disk was not mounted",
        counted(copies as u64, "copy"),
        at.strftime("%Y-%m-%d %H:%M UTC")
    );
    let warning = Warning::new(ALL_MISSING, name, what);
    catalog.change(newest, |record| {
        let is_earlier = |it: &Warning| it.code == ALL_MISSING && it.subject == *name;
        record.warnings.retain(|it| !is_earlier(it));
        record.warnings.push(warning);
    })?;
    Ok(())
}

fn is_there(record: &BackupRecord, destination: &Destination) -> bool {
    let copy = record.copy_at(&destination.name);
    copy.is_some_and(|copy| copy.is_present() && copy.is_at(destination))
}

/// The sizes of what is there, and the filesystem that it is on.
type Looked = (HashMap<String, u64>, Option<String>);

fn look(destination: &Destination) -> Result<Looked, StoreError> {
    let store = destination.open()?;
    let listed = store.list("")?.into_iter();
    let sizes = listed.map(|object| (object.key.to_string(), object.bytes));
    Ok((sizes.collect(), filesystem(&*store)))
}

fn record_absent(
    catalog: &Catalog,
    destination: &Destination,
    expected: &[&BackupRecord],
    (there, filesystem): (&HashMap<String, u64>, Option<String>),
) -> Result<(), CatalogError> {
    let name = &destination.name;
    let wrong = |record: &BackupRecord| {
        let copy = record.copy_at(name)?;
        let known = copy.bytes.or(record.bytes);
        match (there.get(&copy.key), known) {
            (None, _) => Some((CopyState::Missing, "it is not there any more".to_owned())),
            (Some(bytes), Some(known)) if *bytes != known => Some((
                CopyState::Damaged,
                format!("it has {bytes} bytes there instead of {known}"),
            )),
            _ => None,
        }
    };
    let wrong: HashMap<BackupId, _> = (expected.iter())
        .filter_map(|record| Some((record.id, (wrong(record)?, record.copy_at(name)?))))
        .collect();
    let is_unknown = |record: &&&BackupRecord| {
        let copy = record.copy_at(name);
        filesystem.is_some() && copy.is_some_and(|copy| copy.filesystem.is_none())
    };
    let unknown = expected.iter().filter(is_unknown).map(|record| record.id);
    let ids: HashSet<BackupId> = wrong.keys().copied().chain(unknown).collect();
    let ids: Vec<BackupId> = ids.into_iter().collect();
    let now = Timestamp::now();
    catalog.change_copies(&ids, |record| {
        let Some(((state, what), known)) = wrong.get(&record.id) else {
            // An earlier version stored it, and it was found here.
            if let Some(copy) = record.copy_at_mut(name) {
                copy.filesystem.clone_from(&filesystem);
            }
            return;
        };
        // One that another process stored or removed meanwhile is as that one says.
        let copy = record.copy_at_mut(name);
        if let Some(copy) =
            copy.filter(|copy| copy.is_present() && copy.checked_at == known.checked_at)
        {
            copy.state = *state;
            copy.since = Some(now);
            copy.checked_at = None;
            copy.error = Some(what.clone());
        }
    })
}
