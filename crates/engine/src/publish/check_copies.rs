//! Copies that are at their destinations, looked for and read back.

use super::compare::compare;
use super::found_copy::Found;
use super::sidecars::sidecar_flaw;
use super::source::{CopyError, Scope};
use crate::catalog::sidecar::Sidecar;
use crate::catalog::{BackupCopy, BackupRecord, Catalog, CatalogError, CopyState, State};
use crate::job::{Destination, Job, LOCAL};
use crate::remote::{open_stored, same_as, shared, stored_sidecar};
use hubvault_model::{BackupId, ByteSize, Cancel};
use hubvault_store::{Key, Object, Store};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How closely copies are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Whether each is there, with its size.
    Look,
    /// The same, and as much is read back as this, what was not read for the longest time first. At least one copy of each
    /// destination.
    Sample(ByteSize),
    /// The same, and every copy is read back.
    Full,
}

/// What was found of a copy.
#[derive(Clone, Debug)]
pub struct CheckedCopy {
    /// The backup.
    pub backup: BackupId,
    /// The destination's name.
    pub destination: String,
    /// What is recorded of it now.
    pub state: CopyState,
    /// Whether it was looked for; otherwise `error` says why that was not possible.
    pub is_checked: bool,
    /// Whether it was read back whole.
    pub read_back: bool,
    /// What is wrong with it, or why that could not be found out.
    pub error: Option<String>,
}

/// Looks for the copies of a job at its destinations, or at `only` one, and records what it finds.
pub fn check_copies(
    job: &Job,
    catalog: &Catalog,
    only: Option<&str>,
    depth: Depth,
    cancel: &Cancel,
) -> Result<Vec<CheckedCopy>, CatalogError> {
    let records = catalog.runs(&job.name)?;
    let mut all = Vec::new();
    for destination in job.destinations.iter() {
        if only.is_none_or(|only| only == destination.name) {
            let check = Check {
                job,
                catalog,
                destination,
                cancel,
            };
            check.all(&records, depth, &mut all)?;
        }
    }
    Ok(all)
}

/// Reads back the copy of one backup at a destination, and records what it finds; `None` where none is expected there.
pub(super) fn check_copy(
    job: &Job,
    catalog: &Catalog,
    record: &BackupRecord,
    destination: &Destination,
    cancel: &Cancel,
) -> Result<Option<CheckedCopy>, CatalogError> {
    let check = Check {
        job,
        catalog,
        destination,
        cancel,
    };
    let mut all = Vec::new();
    check.all(std::slice::from_ref(record), Depth::Full, &mut all)?;
    Ok(all.pop())
}

struct Check<'a> {
    job: &'a Job,
    catalog: &'a Catalog,
    destination: &'a Destination,
    cancel: &'a Cancel,
}

impl Check<'_> {
    fn all(
        &self,
        records: &[BackupRecord],
        depth: Depth,
        all: &mut Vec<CheckedCopy>,
    ) -> Result<(), CatalogError> {
        let of = |record: &BackupRecord| {
            let known = record.copy_at(&self.destination.name);
            // It may be there under another name.
            let renamed = || record.copies.iter().find(|copy| self.was_here(copy));
            known.or_else(renamed).cloned()
        };
        let mut there: Vec<(&BackupRecord, BackupCopy)> = records
            .iter()
            .filter_map(|record| Some((record, of(record)?)))
            .filter(|(_, copy)| copy.is_expected() && (depth == Depth::Full || is_stored(copy)))
            .collect();
        if there.is_empty() {
            return Ok(());
        }
        let to_read = to_read(&there, depth);
        there.sort_by_key(|(record, _)| std::cmp::Reverse(record.started_at));
        let (known, state) = (&self.job.destinations, self.catalog.state());
        let opened = self.destination.open().and_then(|store| {
            let same = same_as(self.destination, &*store, known, state)?;
            Ok((Arc::<dyn Store>::from(store), same))
        });
        let (store, same) = match opened {
            Ok((store, same)) => (Ok(store), same),
            Err(error) => (Err(error), None),
        };
        for (record, copy) in there {
            if self.cancel.is_requested() {
                break;
            }
            // What was missing is there again only if its content says so.
            let reads = to_read.contains(&record.id) || copy.state == CopyState::Missing;
            let looked = match &store {
                Ok(_) if let Some(other) = same => {
                    let what = shared(self.destination, other).source.to_string();
                    Ok(Found::wrong(CopyState::Missing, what))
                }
                Ok(store) => self
                    .look(store, record, &copy, reads)
                    .map_err(|error| error.of_object(&**store)),
                Err(error) => Err(CopyError::Refused(error.to_string())),
            };
            if let Ok(found) = looked.as_ref()
                && !is_stored(&copy)
                && found.whole.is_none()
            {
                // Nothing says that it should be there. What is damaged there is no copy, and named.
                if copy.state != CopyState::Pending && found.state == CopyState::Damaged {
                    all.push(self.checked(record, found));
                }
                continue;
            }
            let scope = looked.as_ref().err().map(CopyError::scope);
            let looked = looked.map_err(|error| error.to_string());
            all.push(self.note(record, &copy, looked)?);
            if store.is_err() || scope.is_some_and(|scope| scope != Scope::Copy) {
                // The same is to be expected of the others.
                break;
            }
        }
        Ok(())
    }

    /// Whether a copy was stored at this place under a name that is not configured any more.
    fn was_here(&self, copy: &BackupCopy) -> bool {
        let is_named = self.job.destinations.named(&copy.destination).is_some();
        let is_known = copy.location.is_some() && copy.is_expected();
        !is_named && is_known && copy.is_in_place_of(self.destination)
    }

    fn checked(&self, record: &BackupRecord, found: &Found) -> CheckedCopy {
        CheckedCopy {
            backup: record.id,
            destination: self.destination.name.clone(),
            state: found.state,
            is_checked: true,
            read_back: found.whole.is_some(),
            error: found.error.clone(),
        }
    }

    /// What is found; `Err` where it cannot be found out. Where another backup's archive is under its key, it has no copy.
    fn look(
        &self,
        store: &Arc<dyn Store>,
        record: &BackupRecord,
        copy: &BackupCopy,
        reads: bool,
    ) -> Result<Found, CopyError> {
        let found = self.look_at(store, record, copy, reads)?;
        if found.error.is_none() || found.state == CopyState::Missing {
            return Ok(found);
        }
        let key = Key::parse(&copy.key).map_err(|error| CopyError::Source(error.to_string()))?;
        let Some(object) = store.head(&key)? else {
            return Ok(found);
        };
        let sidecar = stored_sidecar(&**store, &key, object.bytes)?;
        if sidecar.is_some_and(|sidecar| sidecar.manifest.id != record.id)
            && let Ok(other) = open_stored(store, &object, self.cancel)?
            && other.manifest().id != record.id
        {
            let what = format!("{key} there is the archive of another backup");
            return Ok(Found::wrong(CopyState::Missing, what));
        }
        Ok(found)
    }

    fn look_at(
        &self,
        store: &Arc<dyn Store>,
        record: &BackupRecord,
        copy: &BackupCopy,
        reads: bool,
    ) -> Result<Found, CopyError> {
        let key = Key::parse(&copy.key).map_err(|error| CopyError::Source(error.to_string()))?;
        let Some(object) = store.head(&key)? else {
            return Ok(Found::wrong(CopyState::Missing, "it is not there any more"));
        };
        let bytes = copy.bytes.or(record.bytes).unwrap_or(object.bytes);
        if object.bytes != bytes {
            let what = format!("it has {} bytes there instead of {bytes}", object.bytes);
            return Ok(Found::wrong(CopyState::Damaged, what));
        }
        let mut found = if reads {
            let compared = compare(store, record, copy, &object, self.cancel)?;
            Found::of(compared, copy, &object)
        } else if copy.state == CopyState::Damaged {
            // Its size says nothing of its content.
            return Ok(Found::wrong(
                CopyState::Damaged,
                copy.error.clone().unwrap_or_default(),
            ));
        } else {
            Found::wrong(CopyState::Present, "")
        };
        if let Some(whole) = &mut found.whole
            && record.bytes.is_none()
        {
            let sidecar = stored_sidecar(&**store, &key, object.bytes)?;
            whole.sidecar = sidecar.filter(|sidecar| sidecar.manifest.id == record.id);
        }
        if found.state == CopyState::Present {
            found.locked_until = object.locked_until;
            self.warn_of_lock(record, copy, &object);
        }
        if found.state == CopyState::Present && found.error.is_none() {
            found.error = sidecar_flaw(store, self.destination, record, &object, self.cancel)?;
        }
        Ok(found)
    }

    fn warn_of_lock(&self, record: &BackupRecord, copy: &BackupCopy, object: &Object) {
        if let Some(until) = copy.locked_until.filter(|it| *it > Timestamp::now())
            && object.locked_until.is_none_or(|now| now < until)
        {
            tracing::warn!(
                "the copy of backup {} at {} is not locked until {until} any more: somebody stored it again or ended its lock",
                record.id.short(),
                self.destination.name
            );
        }
    }

    fn note(
        &self,
        record: &BackupRecord,
        copy: &BackupCopy,
        looked: Result<Found, String>,
    ) -> Result<CheckedCopy, CatalogError> {
        let now = Timestamp::now();
        let masks = &self.job.delivery.masks;
        let found = match looked {
            Ok(found) => found,
            Err(error) => {
                let unclear = Found::wrong(copy.state, masks.mask(&error));
                return Ok(CheckedCopy {
                    is_checked: false,
                    ..self.checked(record, &unclear)
                });
            }
        };
        let checked = self.checked(record, &found);
        // A copy that another process stored, found or removed meanwhile is as that one says.
        let is_same = |now: &BackupCopy| {
            (now.state, now.checked_at, now.removed_at)
                == (copy.state, copy.checked_at, copy.removed_at)
        };
        let name = &self.destination.name;
        let before = &copy.destination;
        self.catalog.change(record.id, |record| {
            if before != name
                && record.copy_at(name).is_none()
                && let Some(renamed) = record.copy_at_mut(before)
            {
                renamed.destination.clone_from(name);
            }
            let Some(copy) = record.copy_at_mut(name).filter(|now| is_same(now)) else {
                return;
            };
            if copy.state != found.state {
                copy.since = (found.state != CopyState::Present).then_some(now);
                // What was compared before is not what is there now.
                copy.checked_at = None;
            }
            copy.state = found.state;
            copy.error = found.error;
            if found.state == CopyState::Present && *name != LOCAL {
                copy.locked_until = found.locked_until;
                copy.set_place(self.destination, None);
                copy.next_try_at = None;
                copy.attempts = 0;
            }
            if let Some(whole) = found.whole {
                copy.bytes = Some(whole.bytes);
                copy.sha256 = Some(whole.sha256);
                copy.checked_at = Some(now);
                let is_known = copy.error.is_some();
                known_whole(record, whole.bytes, whole.sidecar.filter(|_| !is_known));
            }
        })?;
        Ok(checked)
    }
}

/// Whether it was stored at this destination, as far as the catalog knows.
fn is_stored(copy: &BackupCopy) -> bool {
    !copy.is_unconfigured() && copy.state != CopyState::Pending
}

/// Nothing whole was known of a backup; now its size is, and what its sidecar says.
fn known_whole(record: &mut BackupRecord, bytes: u64, sidecar: Option<Sidecar>) {
    if record.bytes.is_some() {
        return;
    }
    record.bytes = Some(bytes);
    if let Some(sidecar) = sidecar {
        record.state = if sidecar.proof.proven {
            State::Proven
        } else {
            State::Unproven
        };
        record.proof = sidecar.proof;
    }
}

/// Which copies are read back: those that were not for the longest time, as far as the budget goes.
fn to_read(there: &[(&BackupRecord, BackupCopy)], depth: Depth) -> BTreeSet<BackupId> {
    let mut left = match depth {
        Depth::Look => return BTreeSet::new(),
        Depth::Full => u64::MAX,
        Depth::Sample(budget) => budget.0,
    };
    let mut by_age: Vec<_> = there.iter().collect();
    by_age.sort_by_key(|(record, copy)| (copy.checked_at, record.started_at));
    let mut chosen = BTreeSet::new();
    for (record, copy) in by_age {
        let bytes = copy.bytes.unwrap_or_default();
        if bytes > left && !chosen.is_empty() {
            break;
        }
        left = left.saturating_sub(bytes);
        chosen.insert(record.id);
    }
    chosen
}

#[cfg(test)]
mod tests;
