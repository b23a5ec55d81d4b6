//! What a run may take: neither a server nor a program nor a network holds one up for ever.

use super::finish::{died_of, notify};
use crate::catalog::{BackupRecord, Catalog, DeliveryRecord, State};
use crate::deadline::{self, End};
use crate::job::Job;
use crate::run::BackupError;
use crate::run::Run;
use crate::state::StateDir;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::time::Duration;

/// What stops by itself has stopped after this; what still waits then waits for ever.
const GRACE: Duration = Duration::from_secs(2);
/// What a process that has to end now gives the catalog.
const LAST_MOMENT: Duration = Duration::from_millis(250);

/// Does the work of a run, which is stopped when it takes longer than the job allows. A panic becomes an error, so that
/// it is recorded and notified like any other failure.
pub(super) fn within<T>(
    job: &Job,
    run: &Run,
    work: impl FnOnce() -> Result<T, BackupError>,
) -> Result<T, BackupError> {
    let result = std::thread::scope(|scope| {
        let (_working, end) = deadline::begin();
        scope.spawn(move || watch(job, run, &end));
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|panic| Err(BackupError::panicked(&*panic)))
    });
    result.map_err(|error| {
        if error.is_cancelled() && run.is_too_long() {
            let limit = job.time_limit;
            return BackupError::TooLong { limit };
        }
        error
    })
}

fn watch(job: &Job, run: &Run, end: &End) {
    if end.comes_within(job.time_limit) {
        return;
    }
    run.work.request();
    if end.comes_within(GRACE) {
        return;
    }
    // A thread waits for a server that hears nothing any more. It cannot be woken, so this one does what is left.
    let error = BackupError::TooLong {
        limit: job.time_limit,
    };
    run.remove_unfinished();
    let record = died_of(job, run, &error);
    let catalog = opened(job);
    if let Some(catalog) = &catalog {
        close(catalog, &record);
    }
    if run.is_last_attempt() {
        notify(job, run, catalog.as_ref(), &record, Some(&error));
    }
    (run.give_up)(&error);
}

/// Removes what the run has written so far, and records that it was stopped. For the last moment of a process that cannot
/// wait for its threads any longer.
pub fn abandon(job: &Job, run: &Run) {
    run.remove_unfinished();
    stopped(job, run);
}

/// Records, as far as that can be done at once, that a run was stopped whose threads still wait for something.
fn stopped(job: &Job, run: &Run) {
    let mut record = died_of(job, run, &BackupError::Cancelled);
    // Whoever stopped it knows.
    record.delivery = Some(DeliveryRecord::default());
    let (written, waits) = channel();
    let job = job.clone();
    std::thread::spawn(move || {
        if let Some(catalog) = opened(&job) {
            close(&catalog, &record);
        }
        // Nobody waits any more where it took too long.
        let _ = written.send(());
    });
    let _ = waits.recv_timeout(LAST_MOMENT);
}

fn opened(job: &Job) -> Option<Catalog> {
    Catalog::open(&StateDir::open(job.state_root()).ok()?).ok()
}

/// Only of a run that is called running: another word about it is truer.
fn close(catalog: &Catalog, record: &BackupRecord) {
    let known = catalog.find(&record.id.to_string());
    if matches!(&known, Ok(Some(known)) if known.state == State::Running)
        && let Err(error) = catalog.finish(record)
    {
        tracing::warn!("could not record the failure in the catalog: {error}");
    }
}
