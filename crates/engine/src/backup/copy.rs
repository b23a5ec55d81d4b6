//! A new archive goes to every destination, and leaves a spool directory once it is there.

use super::prepare::Prepared;
use crate::catalog::{BackupCopy, BackupRecord, Catalog};
use crate::job::{Destination, Job};
use crate::progress::Progress;
use crate::publish::{
    Copier, CopyOutcome, Copying, HeldLease, UnknownArchives, leave_spool, new_unknown_archives,
    remove_unfinished_daily,
};
use crate::run::Run;
use hubvault_model::Warning;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Copies a new archive, then what earlier runs could not copy, for as long as the run may take. What is missing is queued,
/// and a warning where its destination is required.
pub(super) fn copy_out(
    job: &Job,
    run: &Run,
    prepared: &Prepared,
    record: &mut BackupRecord,
) -> Vec<Warning> {
    let (catalog, lease) = (&prepared.catalog, prepared.lease.as_ref());
    if job.destinations.others().is_empty() {
        return Vec::new();
    }
    let taken = Timestamp::now().duration_since(run.started_at);
    let taken = Duration::try_from(taken).unwrap_or_default();
    let copier = Copier {
        job,
        catalog,
        zone: &run.zone,
        // Losing the lease stops the work of a run, and nothing else does by now.
        cancel: lease.map_or(&run.cancel, |_| &run.work),
        progress: Arc::clone(&run.progress) as Arc<dyn Progress>,
        limit: Some(job.time_limit.saturating_sub(taken)),
        only: None,
        lease: lease.map(HeldLease::term),
    };
    let outcomes = match copier.copy(Copying::New(record.id)) {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let what = format!("could not read what is to be copied: {error}");
            return vec![Warning::new("copy", &job.name, what)];
        }
    };
    reload(catalog, record);
    let lost = lease.and_then(|lease| lease.term().check().err().map(str::to_owned));
    let lost = lost.map(|why| Warning::new("lease", &job.name, format!("lost the lease: {why}")));
    let warnings = outcomes.iter().filter_map(warning);
    let others = of_others(job, run, catalog, record);
    warnings.chain(lost).chain(others).collect()
}

/// Archives of others at the places that this one was copied to.
fn of_others(job: &Job, run: &Run, catalog: &Catalog, record: &BackupRecord) -> Vec<Warning> {
    let has_it = |at: &Destination| record.copy_at(&at.name).is_some_and(BackupCopy::is_present);
    let found = new_unknown_archives(job, catalog, &run.cancel, &has_it).unwrap_or_default();
    let warning = |it: &UnknownArchives| {
        let what = job.delivery.masks.mask(&it.to_string());
        Warning::new("unknown-archives", &it.destination, what)
    };
    found.iter().map(warning).collect()
}

fn warning(outcome: &CopyOutcome) -> Option<Warning> {
    let name = &outcome.destination;
    let what = outcome.problem()?;
    let what = if outcome.is_stored {
        format!("{what}; hubvault copies sync tries again")
    } else {
        format!("{what}; it is queued, and hubvault copies sync tries it at once")
    };
    if outcome.is_required {
        return Some(Warning::new("copy", name, what));
    }
    tracing::warn!("{what}");
    None
}

/// Once the recipients are notified: leftovers of crashed uploads, and what nobody needs here any more.
pub(super) fn leave(job: &Job, catalog: &Catalog, record: &mut BackupRecord) {
    // What failed just now would only fail again.
    let is_wanted = |name: &str| {
        let copy = record.copy_at(name);
        copy.is_none_or(BackupCopy::is_present)
    };
    for problem in remove_unfinished_daily(job, catalog, &is_wanted) {
        tracing::warn!("{problem}");
    }
    if job.destinations.keeps_local() {
        return;
    }
    match leave_spool(job, catalog) {
        Ok(problems) => {
            for problem in problems {
                tracing::warn!("{problem}");
            }
        }
        Err(error) => tracing::warn!("could not look for copied archives to remove: {error}"),
    }
    reload(catalog, record);
}

/// Takes over what is recorded of the copies by now.
fn reload(catalog: &Catalog, record: &mut BackupRecord) {
    if let Ok(Some(known)) = catalog.find(&record.id.to_string())
        && !known.copies.is_empty()
    {
        record.copies = known.copies;
    }
}
