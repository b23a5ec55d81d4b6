//! What a run may take: neither a server nor a program nor a network holds one up for ever.

use super::error::BackupError;
use super::settle::{died_of, tell};
use super::{Run, state_directory};
use crate::catalog::{BackupRecord, Catalog, DeliveryRecord, State};
use crate::job::Job;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Scope;
use std::time::Duration;

/// What stops by itself has stopped after this; what still waits then waits for ever.
const GRACE: Duration = Duration::from_secs(2);
/// What a process that has to end now gives the catalog.
const LAST_MOMENT: Duration = Duration::from_millis(250);

/// While this is there, the run's work is stopped when it has taken longer than it may.
pub(super) struct Limit {
    _done: Sender<()>,
}

impl Limit {
    /// Starts the clock.
    pub(super) fn start<'s>(scope: &'s Scope<'s, '_>, job: &'s Job, run: &'s Run) -> Self {
        let (done, waits) = channel();
        scope.spawn(move || watch(job, run, &waits));
        Self { _done: done }
    }
}

fn watch(job: &Job, run: &Run, done: &Receiver<()>) {
    let is_over = |time| done.recv_timeout(time) != Err(RecvTimeoutError::Timeout);
    if is_over(job.time_limit) {
        return;
    }
    run.work.request();
    if is_over(GRACE) {
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
    if run.tried_again_in.is_none() {
        tell(job, run, catalog.as_ref(), &record, Some(&error));
    }
    (run.give_up)(&error);
}

/// Records, as far as that can be done at once, that a run was stopped whose threads still wait for something.
pub(super) fn stopped(job: &Job, run: &Run) {
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
    Catalog::open(&state_directory(&job.directory).ok()?).ok()
}

/// Only of a run that is called running: another word about it is truer.
fn close(catalog: &Catalog, record: &BackupRecord) {
    let known = catalog.find(&record.id.to_string());
    if matches!(&known, Ok(Some(known)) if known.state == State::Running)
        && let Err(error) = catalog.finish(record)
    {
        tracing::warn!("the catalog does not know that this run failed: {error}");
    }
}
