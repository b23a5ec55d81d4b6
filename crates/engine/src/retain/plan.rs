//! Which copies stay, at each destination: the policy of each, and what they owe each other.

use super::policy::{Decision, Kept, PINNED, decide};
use crate::catalog::{BackupCopy, BackupRecord, Catalog, CatalogError, CopyState, State};
use crate::job::{Destination, Destinations, Job, LOCAL, RetentionRules};
use hubvault_model::BackupId;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// What is to happen to one copy.
#[derive(Clone, Debug)]
pub struct Pruned {
    /// The backup, as [`Catalog::runs`] has it.
    pub record: Rc<BackupRecord>,
    /// The destination of the copy.
    pub destination: String,
    /// Whether it stays, and why.
    pub decision: Decision,
}

impl Pruned {
    /// The copy that it is about.
    pub fn copy(&self) -> Option<&BackupCopy> {
        self.record.copy_at(&self.destination)
    }
}

/// Decides about every copy of a job's backups that is at a configured destination: by destination, newest first. What is
/// on this machine is looked for; what is elsewhere is there as far as the record knows.
///
/// When the newest run of the job failed, everything stays, unless `after_failed_run`: on a full disk every run fails
/// until something is removed. The newest proven backup of each destination stays in any case, so that its last copy
/// anywhere does.
pub fn plan(
    catalog: &Catalog,
    job: &Job,
    after_failed_run: bool,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Vec<Pruned>, CatalogError> {
    let records = catalog.runs(&job.name)?.into_iter();
    let records: Vec<Rc<BackupRecord>> = records.map(Rc::new).collect();
    let failed = records
        .first()
        .is_some_and(|newest| newest.state == State::Failed);
    let mut plan = decide_all(&records, &job.destinations, &job.retention, now, zone);
    name_pins(catalog, &mut plan, zone)?;
    if failed && !after_failed_run {
        for pruned in plan.iter_mut().filter(|pruned| !pruned.decision.keep) {
            pruned.decision.keep = true;
            "the newest run failed: nothing is removed (if it failed as the disk is full: hubvault prune \
             --after-failed-run)"
                .clone_into(&mut pruned.decision.reason);
        }
    }
    Ok(plan)
}

/// Says who pinned a backup, which the whole record knows.
fn name_pins(catalog: &Catalog, plan: &mut [Pruned], zone: &TimeZone) -> Result<(), CatalogError> {
    for pruned in plan.iter_mut().filter(|it| it.decision.reason == PINNED) {
        if let Some(pin) = catalog.whole(&pruned.record)?.pin {
            pruned.decision.reason = pin.in_words(zone);
        }
    }
    Ok(())
}

/// Decides by the records alone, and the look at this machine.
pub(super) fn decide_all(
    records: &[Rc<BackupRecord>],
    destinations: &Destinations,
    rules: &RetentionRules,
    now: Timestamp,
    zone: &TimeZone,
) -> Vec<Pruned> {
    let mut plan = Vec::new();
    for destination in destinations.configured() {
        plan.extend(Here::of(destination, destinations, rules, now, zone).decide(records));
    }
    keep_sources(&mut plan);
    plan
}

/// Which of the backups that are `coming` to a destination its rules keep once all of them are there.
pub(crate) fn kept_once_there(
    job: &Job,
    destination: &Destination,
    records: &[BackupRecord],
    coming: &HashSet<BackupId>,
    now: Timestamp,
    zone: &TimeZone,
) -> HashSet<BackupId> {
    let here = Here::of(destination, &job.destinations, &job.retention, now, zone);
    let is_there = |record: &&BackupRecord| {
        let copy = record.copy_at(&destination.name);
        coming.contains(&record.id)
            || copy.is_some_and(|copy| !copy.is_unconfigured() && here.is_removable(record, copy))
    };
    let history: Vec<Kept> = (records.iter().filter(is_there))
        .map(|record| here.kept(record))
        .collect();
    let decided = decide(&history, now, here.rules, zone).into_iter();
    let kept = decided.filter(|decision| decision.keep && coming.contains(&decision.id));
    kept.map(|decision| decision.id).collect()
}

/// One destination.
struct Here<'a> {
    destination: &'a Destination,
    configured: &'a Destinations,
    /// Whether archives are only made there, and leave it once they are copied.
    spools: bool,
    rules: &'a RetentionRules,
    now: Timestamp,
    zone: &'a TimeZone,
}

impl<'a> Here<'a> {
    fn of(
        destination: &'a Destination,
        configured: &'a Destinations,
        rules: &'a RetentionRules,
        now: Timestamp,
        zone: &'a TimeZone,
    ) -> Self {
        Self {
            destination,
            configured,
            spools: destination.name == LOCAL && !configured.keeps_local(),
            rules: destination.rules.keep.as_ref().unwrap_or(rules),
            now,
            zone,
        }
    }

    fn decide(&self, records: &[Rc<BackupRecord>]) -> Vec<Pruned> {
        let (mut there, mut pending, mut unfinished) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            let Some(copy) = record.copy_at(&self.destination.name) else {
                continue;
            };
            if copy.is_half_removed() {
                unfinished.push(record);
            } else if copy.is_unconfigured() {
                // It lies where nothing is removed any more.
            } else if copy.is_expected() && copy.state == CopyState::Pending {
                pending.push(record);
            } else if self.is_removable(record, copy) {
                there.push(record);
            }
        }
        let mut decided: HashMap<BackupId, Decision> = HashMap::new();
        // What is yet to be stored there displaces nothing: it would be gone if storing it failed for ever.
        let with_pending = there.iter().chain(&pending).map(|record| self.kept(record));
        let wanted = decide(
            &with_pending.collect::<Vec<_>>(),
            self.now,
            self.rules,
            self.zone,
        );
        let is_pending: HashSet<BackupId> = pending.iter().map(|record| record.id).collect();
        let of_pending = wanted.into_iter().filter(|it| is_pending.contains(&it.id));
        let history: Vec<Kept> = there.iter().map(|record| self.kept(record)).collect();
        let of_there = decide(&history, self.now, self.rules, self.zone);
        let of_pending = of_pending.map(|mut decision| {
            decision.reason = format!("not stored yet; {}", decision.reason);
            decision
        });
        for decision in of_pending.chain(of_there) {
            decided.insert(decision.id, decision);
        }
        for record in unfinished {
            decided.insert(record.id, Decision::unfinished(record.id));
        }
        let pruned = |record: &Rc<BackupRecord>| {
            let mut decision = decided.remove(&record.id)?;
            self.spare_locked(record, &mut decision);
            Some(Pruned {
                record: Rc::clone(record),
                destination: self.destination.name.clone(),
                decision,
            })
        };
        records.iter().filter_map(pruned).collect()
    }

    /// What lies in a spool leaves it once it is copied. What is due at no destination falls under the rules.
    fn is_removable(&self, record: &BackupRecord, copy: &BackupCopy) -> bool {
        let waits = copy.until_copied && self.spools && self.goes_elsewhere(record);
        !waits && (copy.is_there() || (copy.is_expected() && copy.state == CopyState::Damaged))
    }

    fn goes_elsewhere(&self, record: &BackupRecord) -> bool {
        let is_other = |copy: &&BackupCopy| copy.destination != self.destination.name;
        let mut others = record.copies.iter().filter(is_other);
        others.any(|copy| {
            copy.is_expected()
                && !copy.is_unconfigured()
                && self.configured.named(&copy.destination).is_some()
        })
    }

    fn kept(&self, record: &BackupRecord) -> Kept {
        let copy = record.copy_at(&self.destination.name);
        let is_damaged = copy.is_some_and(|copy| copy.state == CopyState::Damaged);
        Kept {
            id: record.id,
            at: record.started_at,
            bytes: record.bytes.unwrap_or(0),
            proven: record.state == State::Proven && !is_damaged,
            pinned: record.pinned,
        }
    }

    fn spare_locked(&self, record: &BackupRecord, decision: &mut Decision) {
        let Some(copy) = record.copy_at(&self.destination.name) else {
            return;
        };
        let is_locked = |until: &Timestamp| !decision.keep && *until > self.now;
        if let Some(until) = copy.locked_until.filter(is_locked) {
            decision.keep = true;
            decision.reason = locked_in_words(until, self.zone);
            if copy.is_half_removed() {
                decision.reason = format!("removed, but for its sidecar: {}", decision.reason);
            }
        }
    }
}

/// Why a locked copy stays.
pub(super) fn locked_in_words(until: Timestamp, zone: &TimeZone) -> String {
    let until = until.to_zoned(zone.clone());
    format!("locked until {}", until.strftime("%Y-%m-%d %H:%M %Z"))
}

/// A copy from which another one is yet to be made stays: the one on this machine, or where there is none, any.
fn keep_sources(plan: &mut [Pruned]) {
    let mut waits: HashMap<BackupId, String> = HashMap::new();
    let mut sources: HashMap<BackupId, usize> = HashMap::new();
    for (at, pruned) in plan.iter().enumerate() {
        let Some(copy) = pruned.copy() else { continue };
        if copy.state == CopyState::Pending {
            if pruned.decision.keep {
                waits.insert(pruned.record.id, pruned.destination.clone());
            }
        } else if copy.is_there() {
            // The plan begins with this machine; of others one that stays anyhow is as good.
            let source = sources.entry(pruned.record.id).or_insert(at);
            let is_here = plan[*source].destination == LOCAL;
            if !is_here && !plan[*source].decision.keep && pruned.decision.keep {
                *source = at;
            }
        }
    }
    for (id, destination) in waits {
        let Some(pruned) = sources.get(&id).map(|at| &mut plan[*at]) else {
            continue;
        };
        let spooled = pruned.record.local_copy();
        let is_spooled = spooled.is_some_and(|copy| copy.until_copied && copy.is_there());
        let has_other = is_spooled && pruned.destination != LOCAL;
        if !pruned.decision.keep && !has_other {
            pruned.decision.keep = true;
            pruned.decision.reason = format!("to be copied to {destination}");
        }
    }
}

#[cfg(test)]
mod tests;
