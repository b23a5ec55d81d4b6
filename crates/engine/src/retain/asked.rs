//! Before anything is removed, each destination is asked which of the backups somebody pinned there, and what drills of
//! other machines showed. The plan is made with the answers, so that it can be printed as it is done.

use super::RetainError;
use super::doubt::spare;
use super::drills::learn_all;
use super::plan::Pruned;
use super::still_there;
use crate::catalog::{BackupRecord, Catalog, CatalogError, CopyState, Pin};
use crate::job::{Destination, Destinations};
use crate::remote::{MarkNames, impatient, same_as, shared, stored_pins};
use hubvault_model::{BackupId, counted};
use hubvault_store::{Key, Object, Store, StoreError};
use jiff::tz::TimeZone;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

/// What retention does, decided with what the destinations said.
pub struct Decided<'a> {
    /// Which copies stay and which are removed, as `apply` does it.
    pub plan: Vec<Pruned>,
    /// Which destinations did not answer, and what stays because of that, in sentences.
    pub problems: Vec<String>,
    pub(super) places: Vec<Place<'a>>,
}

/// A destination that has copies.
pub(super) struct Place<'a> {
    pub(super) destination: &'a Destination,
    store: Result<Arc<dyn Store>, StoreError>,
    listed: Vec<Object>,
    /// Those of drills that were not looked at yet.
    names: Option<MarkNames>,
    /// The names of the marks of drills beside each archive.
    pub(super) marks: HashMap<BackupId, Vec<String>>,
    /// Whose pins were looked for.
    pins_of: HashSet<BackupId>,
}

/// Decides by `decide`, and if something is to be removed anywhere, once more with what each destination that has copies
/// says of pins, and of drills by other machines. Where one does not answer, nothing is removed there, and elsewhere not the
/// last backup that is proven beyond doubt. A dry run stores nothing, so that it does not notice that two destinations are
/// in the same place.
pub fn decided<'a>(
    catalog: &Catalog,
    destinations: &'a Destinations,
    decide: impl Fn() -> Result<Vec<Pruned>, CatalogError>,
    zone: &TimeZone,
    is_dry_run: bool,
) -> Result<Decided<'a>, CatalogError> {
    let mut decided = Decided {
        plan: decide()?,
        problems: Vec::new(),
        places: Vec::new(),
    };
    if !decided.plan.iter().any(is_removed) {
        return Ok(decided);
    }
    let with_copies = |it: &&Destination| decided.plan.iter().any(|pruned| is_stored(pruned, it));
    let places = destinations.configured().filter(with_copies);
    decided.places = places.map(|at| Place::open(at, &decided.plan)).collect();
    while ask(catalog, &mut decided, zone)? {
        decided.plan = decide()?;
    }
    decided.hold_silent();
    decided.hold_unlike(|place, store| {
        let at = place.destination;
        if !is_dry_run && let Some(other) = same_as(at, store, destinations, catalog.state())? {
            return Err(shared(at, other));
        }
        Ok(())
    });
    Ok(decided)
}

/// Whether a copy that is stored is to be removed.
pub(super) fn is_removed(pruned: &Pruned) -> bool {
    let is_pending = pruned.copy().map(|copy| copy.state == CopyState::Pending);
    !pruned.decision.keep && is_pending == Some(false)
}

fn is_stored(pruned: &Pruned, at: &Destination) -> bool {
    let copy = pruned.copy().filter(|_| pruned.destination == at.name);
    copy.is_some_and(|copy| copy.state != CopyState::Pending)
}

/// Asks what was not asked yet; whether something was found that the plan was made without.
fn ask(
    catalog: &Catalog,
    decided: &mut Decided<'_>,
    zone: &TimeZone,
) -> Result<bool, CatalogError> {
    let removed = decided.plan.iter().filter(|it| is_removed(it));
    let removed: HashSet<BackupId> = removed.map(|it| it.record.id).collect();
    let mut is_new = false;
    for place in &mut decided.places {
        match place.ask(catalog, &decided.plan, &removed, zone) {
            Ok(found) => is_new |= found,
            Err(RetainError::Catalog(error)) => return Err(error),
            Err(RetainError::Store(error)) => place.store = Err(error),
        }
    }
    Ok(is_new)
}

impl<'a> Place<'a> {
    fn open(destination: &'a Destination, plan: &[Pruned]) -> Self {
        let here = || plan.iter().filter(|it| is_stored(it, destination));
        let opened = if here().any(is_removed) {
            destination.open()
        } else {
            impatient(destination).open()
        };
        let opened = opened.and_then(|store| Ok((store.list("")?, Arc::from(store))));
        let (listed, store) = match opened {
            Ok((listed, store)) => (listed, Ok(store)),
            Err(error) => (Vec::new(), Err(error)),
        };
        let names = MarkNames::of(&listed);
        let marks = here().filter_map(|it| {
            let marks = names.of_archive(&it.copy()?.key);
            (!marks.is_empty()).then_some((it.record.id, marks))
        });
        Self {
            destination,
            store,
            listed,
            marks: marks.collect(),
            names: Some(names),
            pins_of: HashSet::new(),
        }
    }

    /// The store, if it answered.
    pub(super) fn store(&self) -> Option<&Arc<dyn Store>> {
        self.store.as_ref().ok()
    }

    /// Learns the drills of all that is there, and the pins of what is to be removed from any destination.
    fn ask(
        &mut self,
        catalog: &Catalog,
        plan: &[Pruned],
        removed: &HashSet<BackupId>,
        zone: &TimeZone,
    ) -> Result<bool, RetainError> {
        let Some(store) = self.store().cloned() else {
            return Ok(false);
        };
        let at = self.destination;
        let here = plan.iter().filter(|it| is_stored(it, at));
        let here: Vec<&BackupRecord> = here.map(|it| &*it.record).collect();
        let mut is_new = false;
        if let Some(mut names) = self.names.take() {
            is_new = !learn_all(catalog, at, &*store, &here, &mut names)?.is_empty();
        }
        let mut unasked = here;
        unasked.retain(|it| removed.contains(&it.id) && self.pins_of.insert(it.id));
        for (id, pin) in pins_at(&*store, &at.name, &self.listed, &unasked)? {
            keep(catalog, id, &at.name, &pin, zone)?;
            is_new = true;
        }
        Ok(is_new)
    }
}

impl Decided<'_> {
    /// What is to be removed from a destination.
    pub(super) fn removed_from(&self, at: &Destination) -> Vec<Rc<BackupRecord>> {
        let here = self.plan.iter().filter(|it| is_stored(it, at));
        here.filter(|it| is_removed(it))
            .map(|it| Rc::clone(&it.record))
            .collect()
    }

    /// Where a destination did not answer, everything stays; elsewhere what it may have disproved the rest for.
    fn hold_silent(&mut self) {
        let (mut silent, mut unsaid) = (Vec::new(), Vec::new());
        for place in &self.places {
            let (at, Err(error)) = (place.destination, &place.store) else {
                continue;
            };
            let held = hold(&mut self.plan, at, "does not answer");
            if held == 0 {
                unsaid.push(format!(
                    "could not ask the destination {} what drills of other machines showed: {error}",
                    at.name
                ));
            } else {
                self.problems.push(not_removed(at, held, error));
            }
            silent.push(at);
        }
        let spared = spare(&mut self.plan, &silent);
        if !spared.is_empty() {
            self.problems.append(&mut unsaid);
        }
        self.problems.extend(spared);
    }

    /// Nothing is removed where another destination is, nor where what is kept is not there.
    fn hold_unlike(&mut self, is_alone: impl Fn(&Place<'_>, &dyn Store) -> Result<(), StoreError>) {
        for place in &self.places {
            let (at, Ok(store)) = (place.destination, &place.store) else {
                continue;
            };
            let removed = self.plan.iter().filter(|it| is_stored(it, at));
            let count = removed.filter(|it| is_removed(it)).count();
            if count == 0 {
                continue;
            }
            let checked = is_alone(place, &**store)
                .map_err(|error| not_removed(at, count, &error))
                .and_then(|()| still_there::look(&**store, &at.name, &self.plan));
            if let Err(problem) = checked {
                hold(&mut self.plan, at, "is not as recorded");
                self.problems.push(problem);
            }
        }
    }
}

/// Keeps what would be removed from a destination; how many copies that are.
fn hold(plan: &mut [Pruned], at: &Destination, why: &str) -> usize {
    let mut held = 0;
    for pruned in plan.iter_mut().filter(|it| is_stored(it, at)) {
        if is_removed(pruned) {
            pruned.decision.keep = true;
            let reason = &pruned.decision.reason;
            pruned.decision.reason = format!("{reason}; left, as {} {why}", at.name);
            held += 1;
        }
    }
    held
}

fn not_removed(at: &Destination, count: usize, error: &StoreError) -> String {
    format!(
        "could not remove {} from the destination {}, tried again at the next run: {error}",
        counted(count as u64, "copy"),
        at.name
    )
}

/// The pins that somebody else stored.
fn pins_at(
    store: &dyn Store,
    name: &str,
    listed: &[Object],
    records: &[&BackupRecord],
) -> Result<Vec<(BackupId, Pin)>, StoreError> {
    let key = |record: &&BackupRecord| {
        // One that was released here, and could not be deleted yet, does not count.
        let copy = record.copy_at(name).filter(|copy| !copy.pin_stored)?;
        Some((record.id, Key::parse(&copy.key).ok()?))
    };
    let keys: Vec<(BackupId, Key)> = records.iter().filter_map(key).collect();
    stored_pins(store, listed, &keys)
}

fn keep(
    catalog: &Catalog,
    id: BackupId,
    name: &str,
    pin: &Pin,
    zone: &TimeZone,
) -> Result<(), CatalogError> {
    tracing::info!(
        "backup {} is kept: {} at {name}",
        id.short(),
        pin.in_words(zone)
    );
    catalog
        .change(id, |record| {
            record.learn_pin(name, pin);
        })
        .map(|_| ())
}
