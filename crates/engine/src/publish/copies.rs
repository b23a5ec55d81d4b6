//! The copies of backups at every destination but the one in which they are made.

use super::due::{Reach, is_due, is_refused, task, to_copy};
use super::fill::{CopyOutcome, Plan, fill};
use super::held_lease::Term;
use super::leased_queue::LeasedQueue;
use super::local_copies::{no_room, to_bring_back};
use super::record_copy::Work;
use super::remove_copy::{alone, check_copied, remove_stored};
use super::same_place::{doubt, stored_there};
use super::source::{Task, no_source};
use crate::catalog::{BackupCopy, BackupRecord, Catalog, CatalogError, CopyState};
use crate::job::{Destination, Job, LOCAL};
use crate::progress::{Progress, Stage};
use crate::remote::open_alone_now;
use crate::retain::kept_once_there;
use crate::retain::{self, Unstored};
use hubvault_model::{BackupId, Cancel, counted};
use hubvault_store::StoreError;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// What is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    /// A new backup first, then what is to be tried again.
    New(BackupId),
    /// What is to be tried again by now.
    Due,
    /// Everything that a destination does not have, newest first.
    Everything,
}

/// Who copies, and how long it may take.
pub struct Copier<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its record.
    pub catalog: &'a Catalog,
    /// Of days and weeks.
    pub zone: &'a TimeZone,
    /// How it is stopped.
    pub cancel: &'a Cancel,
    /// Who hears of its progress.
    pub progress: Arc<dyn Progress>,
    /// How long it may take at most.
    pub limit: Option<Duration>,
    /// The only destination that is copied to.
    pub only: Option<&'a str>,
    /// The lease of the run that copies, without which nothing is sent.
    pub lease: Option<Arc<Term>>,
}

/// A backup that cannot be copied, and why.
type Lacking = (BackupId, String);

/// The copies that a new backup is to get.
pub(crate) fn pending(
    job: &Job,
    catalog: &Catalog,
    record: &BackupRecord,
    zone: &TimeZone,
) -> Vec<BackupCopy> {
    let records = catalog.runs(&job.name).unwrap_or_else(|error| {
        // Better one copy too many.
        tracing::warn!("could not read which copies there are: {error}");
        Vec::new()
    });
    let others = job.destinations.others().iter();
    let due = others.filter(|it| is_due(it, record, &records, &[], zone));
    let key = record.archive_name().unwrap_or_default();
    due.map(|it| BackupCopy::pending(&it.name, key, record.bytes, Timestamp::now()))
        .collect()
}

impl Copier<'_> {
    /// Copies; what came of each copy that was tried or should have been.
    pub fn copy(&self, what: Copying) -> Result<Vec<CopyOutcome>, CatalogError> {
        let mut outcomes = self.copy_archives(what)?;
        // Beside new copies, too.
        let unstored = retain::store_drills(self.job, self.catalog, self.only)?;
        outcomes.extend(unstored.into_iter().map(outcome));
        Ok(outcomes)
    }

    fn copy_archives(&self, what: Copying) -> Result<Vec<CopyOutcome>, CatalogError> {
        let queue = LeasedQueue::of(self.job, self.catalog, self.lease.as_ref(), self.cancel)?;
        let mut records = self.catalog.runs(&self.job.name)?;
        records.retain(|record| !queue.left_out.contains(&record.id));
        let mut outcomes = self.store_pins()?;
        let mut planned = Vec::new();
        let mut plans = Vec::new();
        for destination in self.destinations() {
            let of = |id, error: &str| CopyOutcome {
                backup: id,
                destination: destination.name.clone(),
                is_stored: false,
                was_there: false,
                error: Some(error.to_owned()),
                is_required: destination.rules.required,
            };
            let (tasks, lacking) = self.tasks(destination, &records, what, &queue)?;
            outcomes.extend(lacking.into_iter().map(|(id, why)| of(id, &why)));
            let stopped = |task: &Task| of(task.backup, "stopped before it was copied");
            planned.extend(tasks.iter().map(stopped));
            if !tasks.is_empty() {
                let destination = destination.clone();
                plans.push(Plan {
                    refusal: None,
                    stored: stored_there(&destination, &records),
                    destination,
                    tasks,
                });
            }
        }
        if what == Copying::Everything && self.only.is_none_or(|only| only == LOCAL) {
            let here = self.job.destinations.first();
            let tasks = to_bring_back(self.job, self.catalog, &records, self.zone)?;
            if !tasks.is_empty() {
                plans.push(Plan {
                    refusal: no_room(here, &tasks),
                    stored: Vec::new(),
                    destination: here.clone(),
                    tasks,
                });
            }
        }
        if plans.is_empty() {
            return Ok(outcomes);
        }
        let tasks = plans.iter().flat_map(|plan| &plan.tasks);
        let bytes = tasks.map(|task| task.bytes).sum();
        self.progress.stage(Stage::Copies, Some(bytes));
        let work = Work {
            state: self.catalog.state().clone(),
            destinations: self.job.destinations.clone(),
            masks: self.job.delivery.masks.clone(),
            progress: Arc::clone(&self.progress),
            stop: queue.stop.clone(),
        };
        outcomes.extend(fill(plans, &work, self.cancel, self.limit));
        for outcome in planned {
            let is_same = |other: &CopyOutcome| {
                other.backup == outcome.backup && other.destination == outcome.destination
            };
            let is_new = what == Copying::New(outcome.backup);
            // What follows a failure of its destination was not tried.
            if !outcomes.iter().any(is_same) && (is_new || work.stop.is_requested()) {
                outcomes.push(outcome);
            }
        }
        Ok(outcomes)
    }

    /// Pins that could not be stored at once.
    fn store_pins(&self) -> Result<Vec<CopyOutcome>, CatalogError> {
        let unstored = retain::store_pins(self.job, self.catalog, self.only)?;
        Ok(unstored.into_iter().map(outcome).collect())
    }

    fn destinations(&self) -> impl Iterator<Item = &Destination> {
        let all = self.job.destinations.others().iter();
        all.filter(|it| self.only.is_none_or(|only| it.name == only))
    }

    /// What is to be done for a destination, and, asked for everything, the backups of which nothing is left to copy.
    fn tasks(
        &self,
        destination: &Destination,
        records: &[BackupRecord],
        what: Copying,
        queue: &LeasedQueue,
    ) -> Result<(Vec<Task>, Vec<Lacking>), CatalogError> {
        let reach = match what {
            Copying::New(_) => Reach::SinceInUse,
            Copying::Due => Reach::DueBy(Timestamp::now()),
            Copying::Everything => Reach::All,
        };
        let may_be_there = reach == Reach::All;
        let (mut coming, mut lacking) = (Vec::new(), Vec::new());
        let doubt = doubt(destination, records);
        let is_missing = |record: &BackupRecord| {
            let copy = record.copy_at(&destination.name);
            copy.is_some_and(|copy| copy.state == CopyState::Missing)
        };
        for record in to_copy(destination, records, reach, self.zone) {
            if let Some(doubt) = doubt.as_ref().filter(|_| is_missing(record)) {
                tracing::debug!("{}: {doubt}", record.id.short());
                continue;
            }
            // What its sidecar says of the drill is in the whole record alone.
            let whole = self.catalog.whole(record)?;
            match task(&whole, &self.job.destinations, destination, may_be_there) {
                Some(task) => {
                    let lease = queue.term.clone();
                    coming.push((record, Task { lease, ..task }));
                }
                None if may_be_there => lacking.push((record.id, no_source(record))),
                None => {}
            }
        }
        let of_coming: Vec<&BackupRecord> = coming.iter().map(|(record, _)| *record).collect();
        let kept = self.kept(destination, records, &of_coming);
        let is_left_out = |record: &BackupRecord| {
            let may_be_left_out = match record.copy_at(&destination.name) {
                None => true,
                // Retention takes it from the queue; until then the service would ask for it over and over.
                Some(copy) => match copy.state {
                    CopyState::Pending => what != Copying::Due,
                    state => state == CopyState::Missing,
                },
            };
            may_be_left_out && !kept.contains(&record.id) && what != Copying::New(record.id)
        };
        let (left_out, coming): (Vec<_>, Vec<_>) =
            (coming.into_iter()).partition(|(record, _)| is_left_out(record));
        if !left_out.is_empty() {
            tracing::info!(
                "{} not copied to {}: its retention would remove them at once",
                counted(left_out.len() as u64, "backup"),
                destination.name
            );
        }
        let left_out: Vec<BackupId> = left_out.iter().map(|(record, _)| record.id).collect();
        self.forget_missing(destination, &left_out)?;
        Ok((coming.into_iter().map(|(_, task)| task).collect(), lacking))
    }

    /// What is missing and kept by no rule is not owed any more: retention would have removed it.
    fn forget_missing(
        &self,
        destination: &Destination,
        ids: &[BackupId],
    ) -> Result<(), CatalogError> {
        self.catalog.change_copies(ids, |record| {
            let copy = record.copy_at_mut(&destination.name);
            if let Some(copy) = copy.filter(|copy| copy.state == CopyState::Missing) {
                copy.state = CopyState::Removed;
                copy.removed_at = Some(Timestamp::now());
                copy.next_try_at = None;
            }
        })
    }

    /// Those of the backups that are to be copied which the destination's retention keeps. What may never get there
    /// displaces no other.
    fn kept(
        &self,
        destination: &Destination,
        records: &[BackupRecord],
        coming: &[&BackupRecord],
    ) -> HashSet<BackupId> {
        let (job, now) = (self.job, Timestamp::now());
        let is_untried = |record: &&&BackupRecord| {
            let copy = record.copy_at(&destination.name);
            !is_refused(destination, record) && copy.is_none_or(|copy| copy.attempts == 0)
        };
        let all: HashSet<BackupId> = coming.iter().map(|record| record.id).collect();
        let untried = coming.iter().filter(is_untried);
        let untried = untried.map(|record| record.id).collect();
        let of = |coming| kept_once_there(job, destination, records, coming, now, self.zone);
        let mut kept = of(&untried);
        kept.extend(of(&all));
        kept
    }
}

/// Of a copy that is there without its pin, or what its last drill showed.
fn outcome(unstored: Unstored) -> CopyOutcome {
    CopyOutcome {
        backup: unstored.backup,
        destination: unstored.destination,
        is_stored: true,
        was_there: true,
        error: Some(unstored.problem),
        is_required: unstored.is_required,
    }
}

/// Removes archives from a spool directory that are copied everywhere they have to be. One that is still to be sent by
/// mail stays until then. Returns what went wrong.
pub fn leave_spool(job: &Job, catalog: &Catalog) -> Result<Vec<String>, CatalogError> {
    let mut problems = Vec::new();
    let _alone = match alone(catalog) {
        Ok(Some(alone)) => alone,
        // Who removes copies now may count on the one here.
        Ok(None) => return Ok(problems),
        Err(error) => return Ok(vec![error.to_string()]),
    };
    for record in catalog.runs(&job.name)? {
        if !may_leave(job, &record) {
            continue;
        }
        let why = match check_copied(job, catalog, &record) {
            Ok(()) => leave(job, catalog, &record)?.map_err(|error| error.to_string()),
            missing => missing,
        };
        if let Err(why) = why {
            let id = record.id.short();
            problems.push(format!(
                "backup {id} is copied and stays in the spool directory: {why}"
            ));
        }
    }
    Ok(problems)
}

fn may_leave(job: &Job, record: &BackupRecord) -> bool {
    let is_spooled = |copy: &BackupCopy| copy.until_copied && copy.is_expected();
    let others = || {
        record
            .copies
            .iter()
            .filter(|copy| copy.destination != LOCAL)
    };
    let is_required = |copy: &BackupCopy| {
        let destination = job.destinations.named(&copy.destination);
        destination.is_some_and(|it| it.rules.required) && copy.is_expected()
    };
    record.local_copy().is_some_and(is_spooled)
        && others().any(BackupCopy::is_present)
        && !others().any(|copy| is_required(copy) && !copy.is_present())
        && record.delivery.is_some()
        && !record.has_queued()
}

fn leave(
    job: &Job,
    catalog: &Catalog,
    record: &BackupRecord,
) -> Result<Result<(), StoreError>, CatalogError> {
    let Some(copy) = record.local_copy() else {
        return Ok(Ok(()));
    };
    // One that is recorded in the same place as this is no other copy.
    let is_alone = |other: &BackupCopy| {
        let at = job.destinations.named(&other.destination);
        at.is_some_and(|at| open_alone_now(at, &job.destinations, catalog.state()).is_ok())
    };
    let mut others = record
        .copies
        .iter()
        .filter(|other| other.destination != LOCAL);
    if !others.any(|other| other.is_present() && is_alone(other)) {
        return Ok(Ok(()));
    }
    match job.destinations.first().open() {
        Ok(store) => remove_stored(catalog, record, copy, &*store),
        Err(error) => Ok(Err(error)),
    }
}
