//! Copies removed as the plan says. Nothing that the catalog does not know is ever touched.

use super::asked::Decided;
use super::plan::{Pruned, locked_in_words};
use crate::catalog::{BackupCopy, BackupRecord, Catalog, CatalogError, CopyState, contents};
use crate::job::{Destination, LOCAL};
use crate::remote::{
    Owner, Wanted, delete_archive, only_sidecar_locked, owner, sidecar_locked_until,
};
use hubvault_archive::Identities;
use hubvault_model::{BackupId, Cancel, counted};
use hubvault_store::{ErrorKind, Key, Object, Store};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// So many removals are recorded together: each time the disk is waited for.
const TOGETHER: usize = 200;
/// A destination at which so many removals failed is left alone until the next run.
const MOST_FAILURES: usize = 3;

/// What was removed, and what was not.
#[derive(Debug, Default)]
pub struct Applied {
    /// How many copies were removed.
    pub removed: usize,
    /// Copies that their destination does not let go yet, in sentences.
    pub locked: Vec<String>,
    /// What went wrong, in sentences. It is tried again at the next run.
    pub problems: Vec<String>,
}

/// Removes what was decided: first the catalog knows it, then archive and sidecar go. A file that is not the archive that
/// the catalog means is left. A destination that cannot be reached does not hold up the others.
pub fn apply(
    catalog: &Catalog,
    decided: Decided<'_>,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Applied, CatalogError> {
    let gone = decided.plan.iter().filter(|it| !it.decision.keep);
    give_up(catalog, &gone.collect::<Vec<_>>(), now)?;
    let mut applied = Applied::default();
    for place in &decided.places {
        let records = decided.removed_from(place.destination);
        let Some(store) = place.store().filter(|_| !records.is_empty()) else {
            continue;
        };
        let removal = Removal {
            catalog,
            destination: place.destination,
            store: Arc::clone(store),
            marks: &place.marks,
            now,
            zone,
            failures: 0,
            skipped: 0,
            applied: &mut applied,
        };
        removal.run(&records.iter().collect::<Vec<_>>())?;
    }
    let mut problems = decided.problems;
    problems.append(&mut applied.problems);
    Ok(Applied {
        problems,
        ..applied
    })
}

fn is_pending(copy: &BackupCopy) -> bool {
    copy.state == CopyState::Pending
}

fn copies(count: usize) -> String {
    counted(count as u64, "copy")
}

/// Copies that no rule would keep are not stored any more.
fn give_up(catalog: &Catalog, gone: &[&Pruned], now: Timestamp) -> Result<(), CatalogError> {
    let mut at: HashMap<BackupId, Vec<&str>> = HashMap::new();
    for pruned in gone {
        if pruned.copy().is_some_and(is_pending) {
            at.entry(pruned.record.id)
                .or_default()
                .push(&pruned.destination);
        }
    }
    let ids: Vec<BackupId> = at.keys().copied().collect();
    catalog.change_copies(&ids, |record| {
        for destination in at.get(&record.id).into_iter().flatten() {
            // It may have been stored meanwhile: then the next run decides.
            if let Some(copy) = record
                .copy_at_mut(destination)
                .filter(|copy| is_pending(copy))
            {
                copy.state = CopyState::Removed;
                copy.removed_at = Some(now);
                copy.next_try_at = None;
            }
        }
    })
}

/// The removals at one destination.
struct Removal<'a> {
    catalog: &'a Catalog,
    destination: &'a Destination,
    store: Arc<dyn Store>,
    marks: &'a HashMap<BackupId, Vec<String>>,
    now: Timestamp,
    zone: &'a TimeZone,
    failures: usize,
    /// Those that were not tried, as the ones before them failed.
    skipped: usize,
    applied: &'a mut Applied,
}

/// How the removal of a copy ended.
enum End {
    Removed,
    /// It is there as before; until then nobody can remove it, where that is known.
    Left(Option<Timestamp>),
    /// The archive; until then nobody can remove its sidecar, where that is known.
    Archive(Option<Timestamp>),
    /// It may be gone or not, because of this.
    Uncertain(String),
}

impl Removal<'_> {
    fn run(mut self, records: &[&Rc<BackupRecord>]) -> Result<(), CatalogError> {
        for batch in records.chunks(TOGETHER) {
            self.batch(batch)?;
        }
        if self.skipped > 0 {
            let (copies, name) = (copies(self.skipped), &self.destination.name);
            let what = format!("{copies} more at {name} were not tried after that");
            self.applied.problems.push(what);
        }
        Ok(())
    }

    fn batch(&mut self, records: &[&Rc<BackupRecord>]) -> Result<(), CatalogError> {
        let mut ends: HashMap<BackupId, End> = HashMap::new();
        let mut keys: Vec<(&BackupRecord, Key)> = Vec::new();
        for record in records {
            if self.gives_up() {
                continue;
            }
            match self.examine(record) {
                Ok(Ok(key)) => keys.push((record, key)),
                Ok(Err(until)) => {
                    ends.insert(record.id, self.locked(record, Some(until)));
                }
                Err(problem) => self.applied.problems.push(problem),
            }
        }
        let name = self.destination.name.as_str();
        let ids: Vec<BackupId> = keys.iter().map(|(record, _)| record.id).collect();
        // Recorded first: a process that crashes in between leaves an archive that is removed at the next run, or on this
        // machine is found again, and not one that is missing.
        self.catalog.change_copies(&ids, |record| {
            if let Some(copy) = record.copy_at_mut(name) {
                copy.state = CopyState::Removed;
                copy.removed_at = Some(self.now);
                copy.next_try_at = Some(self.now);
            }
        })?;
        for (record, key) in &keys {
            ends.insert(record.id, self.remove(record, key));
        }
        let before: HashMap<BackupId, &BackupCopy> = records
            .iter()
            .filter_map(|record| Some((record.id, record.copy_at(name)?)))
            .collect();
        let ids: Vec<BackupId> = ends.keys().copied().collect();
        self.catalog.change_copies(&ids, |record| {
            let id = record.id;
            let (Some(copy), Some(end)) = (record.copy_at_mut(name), ends.get(&id)) else {
                return;
            };
            match (end, before.get(&id)) {
                (End::Removed, _) => {
                    copy.next_try_at = None;
                    copy.pin_stored = false;
                    copy.drill_mark = None;
                }
                (End::Archive(until), _) => copy.locked_until = *until,
                (End::Left(until), Some(before)) => {
                    copy.state = before.state;
                    copy.removed_at = before.removed_at;
                    copy.next_try_at = before.next_try_at;
                    copy.locked_until = until.or(copy.locked_until);
                }
                (End::Uncertain(why), _) => copy.error = Some(why.clone()),
                (End::Left(_), None) => {}
            }
        })
    }

    /// Whether so many failed that the next one is not tried.
    fn gives_up(&mut self) -> bool {
        let gives_up = self.failures >= MOST_FAILURES;
        self.skipped += usize::from(gives_up);
        gives_up
    }

    /// The key of a copy that can be removed, or until when it is locked; or why it is left.
    fn examine(&mut self, record: &BackupRecord) -> Result<Result<Key, Timestamp>, String> {
        let name = &self.destination.name;
        let Some(copy) = record.copy_at(name) else {
            return Err(format!("backup {} is not at {name}", record.id.short()));
        };
        let key = Key::parse(&copy.key)
            .map_err(|error| format!("{:?} at {name} is no key: {error}; not removed", copy.key))?;
        if name == LOCAL {
            self.is_of(&key, copy, record)?;
            return Ok(Ok(key));
        }
        let object = self.store.head(&key).map_err(|error| {
            self.failures += 1;
            format!("could not look for {key} at {name}: {error}; tried again at the next run")
        })?;
        let Some(object) = object else {
            return Ok(Ok(key));
        };
        if copy.bytes.is_some_and(|bytes| bytes != object.bytes) && copy.state == CopyState::Present
        {
            return Err(format!(
                "{key} at {name} is another object now; not removed"
            ));
        }
        self.is_ours(&object, record)?;
        let locked = object.locked_until.filter(|until| *until > self.now);
        Ok(locked.map_or(Ok(key), Err))
    }

    /// Whether a copy is of this backup; or why it is left. Another host may store its archives at the same place.
    fn is_ours(&mut self, object: &Object, record: &BackupRecord) -> Result<(), String> {
        let (key, name) = (&object.key, &self.destination.name);
        let wanted = Wanted::of(record, self.destination, object);
        let found = owner(&self.store, object, &wanted, &Cancel::new());
        match found.map_err(|error| {
            self.failures += 1;
            format!("could not read whose {key} at {name} is: {error}; tried again at the next run")
        })? {
            Owner::This => Ok(()),
            Owner::Other => Err(format!("{key} at {name} is another archive's; not removed")),
            Owner::Unknown => Err(format!(
                "{key} at {name} has no sidecar that says which backup it is; not removed"
            )),
        }
    }

    /// Whether the file at the place of a copy on this machine is the archive of its record; or why it is left. A sealed
    /// one is known by its sidecar and its size.
    fn is_of(&self, key: &Key, copy: &BackupCopy, record: &BackupRecord) -> Result<(), String> {
        let Some(file) = copy.path() else {
            return Err(format!("{key} has no path on this machine; not removed"));
        };
        let shown = file.display();
        if copy.is_half_removed() && !file.exists() {
            return Ok(());
        }
        if self.destination.path(key).as_deref() != Some(file) {
            let name = &self.destination.name;
            return Err(format!(
                "{shown} is not at the destination {name} any more; not removed"
            ));
        }
        match is_archive_of(file, record) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("{shown} is another archive now; not removed")),
            Err(why) => Err(format!("could not read {shown}: {why}; not removed")),
        }
    }

    fn remove(&mut self, record: &BackupRecord, key: &Key) -> End {
        if self.gives_up() {
            return End::Left(None);
        }
        // Once the archive is gone, the rest is for the next run.
        let copy = record.copy_at(&self.destination.name);
        let has_pin = copy.is_some_and(|copy| copy.pin_stored);
        let marks = self.marks.get(&record.id);
        let marks = marks.map_or(&[][..], Vec::as_slice);
        let Err(error) = delete_archive(&*self.store, key, has_pin, marks) else {
            self.applied.removed += 1;
            return End::Removed;
        };
        let (id, name) = (record.id.short(), &self.destination.name);
        if only_sidecar_locked(&error) {
            self.applied.removed += 1;
            let what = format!(
                "the sidecar of backup {id} is still locked at {name}; its archive is removed"
            );
            self.applied.locked.push(what);
            return End::Archive(sidecar_locked_until(&*self.store, key));
        }
        if error.kind == ErrorKind::Locked {
            return self.locked(record, None);
        }
        let what = format!(
            "could not remove backup {id} from {name}: {error}; tried again at the next run"
        );
        // Said once of what is beside an archive that is gone.
        let is_known =
            copy.is_some_and(|it| it.is_half_removed() && it.error.as_ref() == Some(&what));
        if is_known {
            tracing::debug!("{what}");
        } else {
            self.failures += 1;
            self.applied.problems.push(what.clone());
        }
        if error.is_uncertain {
            End::Uncertain(what)
        } else {
            End::Left(None)
        }
    }

    fn locked(&mut self, record: &BackupRecord, until: Option<Timestamp>) -> End {
        let (id, name) = (record.id.short(), &self.destination.name);
        let locked = until.map_or_else(
            || "locked".to_owned(),
            |until| locked_in_words(until, self.zone),
        );
        let what = format!("backup {id} is {locked} at {name}; left there");
        self.applied.locked.push(what);
        End::Left(until)
    }
}

fn is_archive_of(file: &Path, record: &BackupRecord) -> Result<bool, String> {
    match contents(file, &Identities::none()) {
        Ok(known) => {
            let same_size = known.opened || record.bytes == Some(known.bytes);
            Ok(known.manifest.id == record.id && same_size)
        }
        Err(error) if error.is_sealed() => {
            Err("it is sealed, and its sidecar is missing".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
