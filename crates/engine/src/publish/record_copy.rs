//! What is recorded of copies on their way.

use super::source::Task;
use super::upload::Uploaded;
use crate::catalog::{BackupCopy, Catalog, CatalogError, CopyState};
use crate::job::{Destination, Destinations, LOCAL};
use crate::progress::Progress;
use crate::state::StateDir;
use hubvault_model::{Cancel, Masks};
use hubvault_store::Requests;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// What the threads share.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) state: StateDir,
    pub(super) destinations: Destinations,
    pub(super) masks: Masks,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) stop: Cancel,
}

/// Records a copy that is at its destination, compared.
pub(super) fn stored(
    destination: &Destination,
    task: &Task,
    work: &Work,
    (uploaded, filesystem): (&Uploaded, Option<String>),
    asked: Requests,
) {
    let (key, place) = (&task.key, &destination.location);
    if uploaded.was_there {
        tracing::info!("found {key} at {place}");
    } else {
        tracing::info!("copied {key} to {place}");
    }
    change(work, destination, task, |copy| {
        let now = Timestamp::now();
        copy.state = CopyState::Present;
        copy.key = task.key.to_string();
        copy.set_place(destination, filesystem);
        copy.bytes = Some(task.bytes);
        copy.sha256 = Some(uploaded.sha256.clone());
        copy.checked_at = Some(now);
        copy.locked_until = uploaded.locked_until;
        copy.removed_at = None;
        copy.since = None;
        copy.next_try_at = None;
        copy.error.clone_from(&uploaded.flaw);
        copy.attempts = 0;
        copy.pin_stored = task.pin.is_some();
        // It is looked for when it is stored.
        copy.drill_mark = None;
        let from = (destination.name == LOCAL).then(|| task.source.name().to_owned());
        copy.made_again_from = from;
        copy.requests = Some(copy.requests.unwrap_or_default().plus(asked));
    });
}

/// Records that a copy is damaged, so that nothing is read from it any more.
pub(super) fn source_damaged(task: &Task, work: &Work, what: &str) {
    let name = task.source.name();
    tracing::warn!(
        "the copy of backup {} at {name} is damaged: {what}",
        task.backup.short()
    );
    let recorded = Catalog::open(&work.state).and_then(|catalog| {
        catalog.change(task.backup, |record| {
            let copy = record.copy_at_mut(name);
            if let Some(copy) = copy.filter(|copy| copy.is_present()) {
                copy.state = CopyState::Damaged;
                copy.checked_at = None;
                copy.since = Some(Timestamp::now());
                copy.error = Some(what.to_owned());
            }
        })
    });
    if let Err(error) = recorded {
        tracing::warn!("could not record that the copy at {name} is damaged: {error}");
    }
}

/// Records a try that failed.
pub(super) fn failed(
    destination: &Destination,
    task: &Task,
    work: &Work,
    error: &str,
    is_throttled: bool,
    asked: Requests,
) {
    change(work, destination, task, |copy| {
        copy.attempts = copy.attempts.saturating_add(1);
        copy.error = Some(error.to_owned());
        copy.next_try_at = Some(Timestamp::now() + pause(copy.attempts, is_throttled));
        copy.requests = Some(copy.requests.unwrap_or_default().plus(asked));
    });
}

/// What is waited after so many attempts: from five minutes to six hours, longer where fewer requests are asked for.
pub(super) fn pause(attempts: u32, is_throttled: bool) -> SignedDuration {
    let first = if is_throttled { 15 } else { 5 };
    let minutes = first << attempts.saturating_sub(1).min(7);
    SignedDuration::from_mins(minutes.min(360))
}

/// Records something about a copy. What cannot be recorded is found by the next try.
pub(super) fn change(
    work: &Work,
    destination: &Destination,
    task: &Task,
    set: impl FnOnce(&mut BackupCopy),
) {
    let recorded = Catalog::open(&work.state)
        .and_then(|catalog| change_copy(&catalog, task, &destination.name, set));
    if let Err(error) = recorded {
        let name = &destination.name;
        tracing::warn!("could not record the copy at {name}: {error}");
    }
}

fn change_copy(
    catalog: &Catalog,
    task: &Task,
    name: &str,
    set: impl FnOnce(&mut BackupCopy),
) -> Result<(), CatalogError> {
    catalog
        .change(task.backup, |record| {
            let at = record
                .copies
                .iter()
                .position(|copy| copy.destination == name);
            let at = at.unwrap_or_else(|| {
                let (key, bytes) = (task.key.as_str(), Some(task.bytes));
                let copy = BackupCopy::pending(name, key, bytes, Timestamp::now());
                record.copies.push(copy);
                record.copies.len() - 1
            });
            set(&mut record.copies[at]);
        })
        .map(|_| ())
}
