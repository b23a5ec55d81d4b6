//! What comes after a run, whichever way it ended: old archives removed, the outcome recorded, recipients notified.

use super::copy::copy_out;
use super::lost_rows::keep_what_is_lost;
use super::prepare::Prepared;
use super::stages::Stages;
use crate::catalog::{BackupRecord, Catalog, DeliveryRecord, DrillRecord, State, TRIED_AGAIN};
use crate::delivery::{self, DeliveryOutcome, EarlierRun, Notifier};
use crate::job::Job;
use crate::publish::{self, Published};
use crate::retain;
use crate::run::BackupError;
use crate::run::Run;
use crate::state::StateDir;
use hubvault_model::{BackupId, Warning};
use jiff::Timestamp;
use std::ops::ControlFlow;
use std::path::Path;

/// The code of the warning that the catalog could not be written.
const UNRECORDED: &str = "catalog";

/// The record of a run that failed.
fn failed(job: &Job, run: &Run, stages: Stages<'_>, error: &BackupError) -> BackupRecord {
    let mut record = died_of(job, run, error);
    if let Some(pause) = run.request.retry_after {
        let what = format!("next attempt in {} s", pause.as_secs());
        record
            .warnings
            .push(Warning::new(TRIED_AGAIN, &job.name, what));
    }
    stages.ended(&mut record);
    // Nothing else says them of a run that failed.
    for warning in &record.warnings {
        tracing::warn!("{warning}");
    }
    record
}

/// The record of a run that an error ended, without what its stages have to say.
pub(super) fn died_of(job: &Job, run: &Run, error: &BackupError) -> BackupRecord {
    let mut record = BackupRecord::failed(run.id, &job.name, run.started_at, error);
    record.stages = run.progress.times();
    record.stopped = error.is_cancelled();
    record.failed_check = error.check().map(str::to_owned);
    record.needed_bytes = run.needed_bytes();
    record.error = record.error.map(|text| job.delivery.masks.mask(&text));
    record
}

/// The notification of the last attempt covers the attempts before it.
fn mark_as_notified(catalog: &Catalog, attempts: &[BackupId]) {
    for id in attempts {
        if let Err(error) = catalog.record_delivery(*id, &DeliveryRecord::default(), Vec::new()) {
            tracing::warn!(
                "could not record the notification of attempt {}; the next run resends it: {error}",
                id.short()
            );
        }
    }
}

/// Records a run that could not be prepared, and notifies unless the lock is another run's. Returns the error.
pub(super) fn not_prepared(
    job: &Job,
    run: &Run,
    stages: Stages<'_>,
    error: BackupError,
) -> BackupError {
    if error.is_of_another_run() {
        return error;
    }
    let record = failed(job, run, stages, &error);
    // What it failed at may leave the catalog usable.
    let catalog = record_anyway(job, &record);
    if run.is_last_attempt() && !error.is_cancelled() {
        notify(job, run, catalog.as_ref(), &record, Some(&error));
    }
    error
}

/// Records a run that failed before it had a catalog, where that can be done after all.
fn record_anyway(job: &Job, record: &BackupRecord) -> Option<Catalog> {
    let open = || {
        let catalog = Catalog::open(&StateDir::open(job.state_root())?)?;
        catalog.finish(record)?;
        Ok::<_, BackupError>(catalog)
    };
    match open() {
        Ok(catalog) => Some(catalog),
        Err(error) => {
            tracing::warn!(
                "could not record this run in the catalog; no further notification will be sent: {error}"
            );
            None
        }
    }
}

/// How a run ended, as recorded: published, or failed with the error.
pub(super) type Outcome = Result<Box<BackupRecord>, Box<(BackupRecord, BackupError)>>;

/// Records how a run ended; retention follows a success.
pub(super) fn record(
    job: &Job,
    run: &Run,
    prepared: &Prepared,
    stages: Stages<'_>,
    published: Result<Published, BackupError>,
) -> Outcome {
    let error = match published {
        Ok(published) => return Ok(Box::new(settle(job, run, prepared, stages, published))),
        Err(error) => error,
    };
    let mut record = failed(job, run, stages, &error);
    if error.is_cancelled() {
        // Whoever stopped it knows.
        record.delivery = Some(DeliveryRecord::default());
    }
    if let Err(unrecorded) = prepared.catalog.finish(&record) {
        tracing::warn!("could not record the failure in the catalog: {unrecorded}");
    }
    Err(Box::new((record, error)))
}

/// Notifies of earlier runs that crashed before they could, and of this one.
pub(super) fn notify_all(
    job: &Job,
    run: &Run,
    prepared: &Prepared,
    outcome: Outcome,
) -> Result<BackupRecord, BackupError> {
    let catalog = &prepared.catalog;
    let is_notified = match &outcome {
        Ok(_) => true,
        Err(failure) => !failure.1.is_cancelled() && run.is_last_attempt(),
    };
    notify_earlier(job, run, prepared, is_notified);
    match outcome {
        Ok(mut record) => {
            let delivered = notify(job, run, Some(catalog), &record, None);
            record.delivery = Some(delivered.record.clone());
            record.warnings.extend(delivered.warnings());
            Ok(*record)
        }
        Err(failure) => {
            let (record, error) = *failure;
            if is_notified {
                notify(job, run, Some(catalog), &record, Some(&error));
            }
            Err(error)
        }
    }
}

/// Notifies of earlier runs, the oldest first, so that the last message is about the newest run.
fn notify_earlier(job: &Job, run: &Run, prepared: &Prepared, is_followed: bool) {
    let catalog = &prepared.catalog;
    for earlier in prepared.notification_pending.iter().rev() {
        // Its process may have been at it while this run began.
        let known = catalog.find(&earlier.id.to_string());
        if matches!(known, Ok(Some(known)) if known.delivery.is_some()) {
            continue;
        }
        let earlier_run = if !is_followed && newest_before(job, run, catalog) == Some(earlier.id) {
            EarlierRun::Newest
        } else {
            EarlierRun::Followed
        };
        let notifier = notifier(job, run, Some(catalog)).of_earlier_run(earlier_run);
        send(&notifier, run, Some(catalog), earlier, None);
    }
}

/// The newest other run that is, or is to be, notified.
fn newest_before(job: &Job, run: &Run, catalog: &Catalog) -> Option<BackupId> {
    let mut newest = None;
    let found = catalog.each(|record| {
        let is_other = record.job == job.name && record.id != run.id;
        let is_notified =
            record.finished_at.is_some() && !record.stopped && !record.is_tried_again();
        if is_other && is_notified {
            newest = Some(record.id);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    found.ok().and(newest)
}

/// The archive has its name: what cannot be written down now is a warning and no failure, or
/// somebody would think that there is no backup.
fn settle(
    job: &Job,
    run: &Run,
    prepared: &Prepared,
    mut stages: Stages<'_>,
    published: Published,
) -> BackupRecord {
    let Published {
        copy,
        manifest,
        proof,
        seal,
    } = published;
    let catalog = &prepared.catalog;
    let bytes = copy.bytes.unwrap_or_default();
    let mut record = BackupRecord::published(&manifest, copy, proof);
    record.sealed_to = seal.map_or_else(Vec::new, |seal| seal.sealed_to);
    record.finished_at = Some(Timestamp::now());
    record.needed_bytes = run.needed_bytes();
    record.stages = run.progress.times();
    for path in &prepared.swept {
        tracing::info!("removed {}, the leftover of a crashed run", path.display());
    }
    let marks = publish::write_marks(job.local_directory(), record.started_at, bytes);
    if let Err(error) = marks {
        let what = format!("the marks of the last success are old: {error}");
        let warning = Warning::new("marks", job.local_directory().display(), what);
        record.warnings.push(warning);
    }
    record.warnings.extend(prepared.warnings.iter().cloned());
    let drill = record.proof.drill.as_ref();
    record
        .warnings
        .extend(drill.map(DrillRecord::warnings).unwrap_or_default());
    record.warnings.extend(stages.take_warnings());
    record.warnings.extend(delivery::nobody_notified(job));
    record
        .copies
        .extend(publish::pending(job, catalog, &record, &run.zone));
    remember(catalog, &mut record, prepared.state.path());
    let of_copies = copy_out(job, run, prepared, &mut record);
    record.warnings.extend(of_copies);
    // Before the rules decide, which would remove the only archive that has what is lost here.
    record
        .warnings
        .extend(keep_what_is_lost(job, catalog, &record));
    // Before the notification, so that it reports what went wrong here, too.
    record.warnings.extend(prune(job, run, catalog));
    stages.ended(&mut record);
    remember(catalog, &mut record, prepared.state.path());
    record
}

/// Notifies of the outcome of this run, and records who was notified of it and of the attempts before it.
pub(super) fn notify(
    job: &Job,
    run: &Run,
    catalog: Option<&Catalog>,
    record: &BackupRecord,
    error: Option<&BackupError>,
) -> DeliveryOutcome {
    let outcome = send(&notifier(job, run, catalog), run, catalog, record, error);
    if let Some(catalog) = catalog {
        mark_as_notified(catalog, &run.request.failed_attempts);
    }
    outcome
}

fn notifier<'a>(job: &'a Job, run: &'a Run, catalog: Option<&'a Catalog>) -> Notifier<'a> {
    // Only a service keeps to the schedule.
    let due = run.request.due;
    let next = due.and_then(|_| job.schedule.next_after(&job.name, Timestamp::now()));
    Notifier::new(job, catalog, &run.zone, &run.cancel).with_next_run(next)
}

/// Notifies of the outcome of a run, and records who was notified.
fn send(
    notifier: &Notifier<'_>,
    run: &Run,
    catalog: Option<&Catalog>,
    record: &BackupRecord,
    error: Option<&BackupError>,
) -> DeliveryOutcome {
    let causes = error.map_or_else(Vec::new, causes);
    let log = if error.is_some() {
        (run.log)()
    } else {
        Vec::new()
    };
    let mut outcome = notifier.ended(record, &causes, &log);
    if let Some(catalog) = catalog
        && let Err(error) = catalog.record_delivery(record.id, &outcome.record, outcome.warnings())
    {
        let what = format!(
            "could not record who was notified; the next run will send the notification again: {error}"
        );
        outcome
            .warnings
            .push(Warning::new(UNRECORDED, &record.job, what));
    }
    // Those of a success are in its report.
    let unsaid = outcome.warnings().into_iter();
    for warning in unsaid.filter(|_| record.state == State::Failed) {
        tracing::warn!("{warning}");
    }
    outcome
}

/// What went wrong, the outermost first. Most of our errors say their cause already.
fn causes(error: &BackupError) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if !causes.iter().any(|said| said.contains(&text)) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes
}

fn remember(catalog: &Catalog, record: &mut BackupRecord, state: &Path) {
    // What failed before is true only where it fails again.
    record.warnings.retain(|warning| warning.code != UNRECORDED);
    if let Err(error) = catalog.finish_except_copies(record) {
        let what = format!("could not record how this run ended in the catalog: {error}");
        let warning = Warning::new(UNRECORDED, state.display(), what);
        record.warnings.push(warning);
    }
}

/// Removes what the rules no longer keep, now that a newer backup is there. What goes wrong here
/// is a warning: the backup itself is good.
fn prune(job: &Job, run: &Run, catalog: &Catalog) -> Vec<Warning> {
    let now = Timestamp::now();
    let warning = |what: String| Warning::new("retention", job.local_directory().display(), what);
    // What other machines removed meanwhile is in place of nothing.
    if let Err(error) = publish::adopt(job, catalog, &run.cancel) {
        let what =
            format!("could not look for what is there, so that retention removed nothing: {error}");
        return vec![warning(what)];
    }
    let decide = || retain::plan(catalog, job, false, now, &run.zone);
    let decided = match retain::decided(catalog, &job.destinations, decide, &run.zone, false) {
        Ok(decided) => decided,
        Err(error) => return vec![warning(format!("could not apply retention: {error}"))],
    };
    for pruned in decided.plan.iter().filter(|pruned| !pruned.decision.keep) {
        tracing::info!(
            "removing {} from {}: {}",
            pruned.record.id.short(),
            pruned.destination,
            pruned.decision.reason
        );
    }
    match retain::apply(catalog, decided, now, &run.zone) {
        Ok(applied) => {
            for locked in &applied.locked {
                tracing::info!("{locked}");
            }
            applied.problems.into_iter().map(warning).collect()
        }
        Err(error) => vec![warning(format!(
            "could not remove all old archives: {error}"
        ))],
    }
}
