//! Copies on their way: one thread for each destination, which records what comes of each.

use super::destination_lock::lock;
use super::source::{CopyError, Scope, Task};
use super::upload::{Uploaded, upload};
use crate::catalog::{BackupCopy, Catalog, CatalogError, CopyState};
use crate::job::{Destination, Destinations, LOCAL};
use crate::progress::Progress;
use crate::remote::open_alone;
use crate::state::StateDir;
use hubvault_model::{BackupId, Cancel, Masks};
use hubvault_store::{Requests, Store};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// What is waited between two tries within a run.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// A destination that refuses so many copies one after the other gets no more.
const MOST_REFUSALS: usize = 3;
/// What a thread that was asked to stop gets for it. It may wait for a server.
const GRACE: Duration = Duration::from_secs(1);

/// What goes to one destination, in this order.
pub(super) struct Plan {
    pub(super) destination: Destination,
    pub(super) tasks: Vec<Task>,
    /// Why nothing may be stored there now.
    pub(super) refusal: Option<String>,
}

/// What came of one copy.
#[derive(Clone, Debug)]
pub struct CopyOutcome {
    /// The backup.
    pub backup: BackupId,
    /// The destination's name.
    pub destination: String,
    /// Whether it is stored.
    pub is_stored: bool,
    /// Whether it was there before, and nothing was sent.
    pub was_there: bool,
    /// Why it is not stored, or what is wrong with it nevertheless.
    pub error: Option<String>,
    /// Whether a run without it ends with a warning.
    pub is_required: bool,
}

impl CopyOutcome {
    /// What is wrong, in a sentence.
    pub fn problem(&self) -> Option<String> {
        let (id, name) = (self.backup.short(), &self.destination);
        let error = self.error.as_ref()?;
        Some(if self.is_stored {
            format!("the copy of backup {id} at {name}: {error}")
        } else {
            format!("backup {id} is not copied to {name}: {error}")
        })
    }
}

/// What the threads share.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) state: StateDir,
    pub(super) destinations: Destinations,
    pub(super) masks: Masks,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) stop: Cancel,
}

enum Event {
    Done(CopyOutcome),
    Ended,
    Stop,
}

/// Says that a thread ended, however it did.
struct Ending(Sender<Event>);

impl Drop for Ending {
    fn drop(&mut self) {
        // Nobody waits any more where it took too long.
        let _ = self.0.send(Event::Ended);
    }
}

/// Copies all that is planned, to all destinations at once, until `cancel` or so long. Returns what came of each; what is
/// not in it was not begun, or did not end in time.
pub(super) fn fill(
    plans: Vec<Plan>,
    work: &Work,
    cancel: &Cancel,
    limit: Option<Duration>,
) -> Vec<CopyOutcome> {
    let (sender, events) = channel();
    let wake = sender.clone();
    let _guard = cancel.on_request(move || {
        let _ = wake.send(Event::Stop);
    });
    let mut working = plans.len();
    for plan in plans {
        let (ending, work) = (Ending(sender.clone()), work.clone());
        // Not scoped: one that waits for a server which hears nothing is left behind.
        std::thread::spawn(move || {
            copy_all(&plan, &work, &ending.0);
        });
    }
    let mut outcomes = Vec::new();
    let mut until = limit.map(|limit| Instant::now() + limit);
    while working > 0 {
        let event = match until {
            None => events.recv().ok(),
            Some(until) => events
                .recv_timeout(until.saturating_duration_since(Instant::now()))
                .ok(),
        };
        match event {
            Some(Event::Done(outcome)) => outcomes.push(outcome),
            Some(Event::Ended) => working -= 1,
            Some(Event::Stop) | None if !work.stop.is_requested() => {
                work.stop.request();
                until = Some(Instant::now() + GRACE);
            }
            Some(Event::Stop) => {}
            None => break,
        }
    }
    outcomes
}

fn copy_all(plan: &Plan, work: &Work, sender: &Sender<Event>) {
    let destination = &plan.destination;
    let open = || open_alone(destination, &work.destinations, &work.state).map(Arc::from);
    let store: Result<Arc<dyn Store>, _> = match &plan.refusal {
        Some(why) => Err(why.clone()),
        None => open().map_err(|error| error.to_string()),
    };
    let mut refusals = 0;
    for task in &plan.tasks {
        let Ok(_alone) = lock(&work.state, destination, &work.stop) else {
            return;
        };
        let (was_there, wrong) = match &store {
            Ok(store) => match copy_one(store, destination, task, work) {
                Ok(stored) => (stored.was_there, stored.wrong),
                Err(wrong) => (false, Some(wrong)),
            },
            Err(error) => {
                let text = work.masks.mask(error);
                failed(destination, task, work, &text, false, Requests::default());
                let wrong = Wrong {
                    text,
                    scope: Scope::Destination,
                    is_stored: false,
                };
                (false, Some(wrong))
            }
        };
        let scope = wrong.as_ref().map(|wrong| wrong.scope);
        let is_refused = scope == Some(Scope::Perhaps);
        refusals = if is_refused { refusals + 1 } else { 0 };
        let is_hopeless = scope == Some(Scope::Destination) || refusals == MOST_REFUSALS;
        let outcome = CopyOutcome {
            backup: task.backup,
            destination: destination.name.clone(),
            is_stored: wrong.as_ref().is_none_or(|wrong| wrong.is_stored),
            was_there,
            error: wrong.map(|wrong| wrong.text),
            is_required: destination.rules.required,
        };
        if sender.send(Event::Done(outcome)).is_err() || is_hopeless || work.stop.is_requested() {
            return;
        }
    }
}

/// What is wrong with a copy.
struct Wrong {
    text: String,
    scope: Scope,
    /// Whether it is stored nevertheless.
    is_stored: bool,
}

/// A copy that is stored.
struct Copied {
    was_there: bool,
    wrong: Option<Wrong>,
}

/// Copies one archive unless it is there by now; `Err` where it is not stored.
fn copy_one(
    store: &Arc<dyn Store>,
    destination: &Destination,
    task: &Task,
    work: &Work,
) -> Result<Copied, Wrong> {
    let known = Catalog::open(&work.state).and_then(|catalog| {
        let record = catalog.find(&task.backup.to_string())?;
        Ok(record.and_then(|record| record.copy_at(&destination.name).cloned()))
    });
    match known.ok().flatten() {
        Some(copy) if copy.state == CopyState::Removed => {
            return Err(Wrong {
                text: "it was taken from the queue meanwhile".to_owned(),
                scope: Scope::Copy,
                is_stored: false,
            });
        }
        Some(copy) if copy.is_at(destination) && copy.is_present() && copy.error.is_none() => {
            return Ok(Copied {
                was_there: true,
                wrong: None,
            });
        }
        _ => {}
    }
    // Before the first byte: whatever happens, somebody knows that it may be there.
    change(work, destination, task, |_| ());
    let before = store.requests();
    let result = send(store, destination, task, work);
    let asked = store.requests() - before;
    match result {
        Ok(mut uploaded) => {
            uploaded.flaw = uploaded.flaw.map(|flaw| work.masks.mask(&flaw));
            stored(destination, task, work, &uploaded, asked);
            if let Some(what) = &uploaded.damaged_source {
                source_damaged(task, work, what);
            }
            let wrong = uploaded.flaw.map(|text| Wrong {
                text,
                scope: Scope::Copy,
                is_stored: true,
            });
            Ok(Copied {
                was_there: uploaded.was_there,
                wrong,
            })
        }
        Err(error) => {
            let text = work.masks.mask(&error.to_string());
            if matches!(error, CopyError::Damaged(_)) {
                source_damaged(task, work, &text);
            }
            failed(destination, task, work, &text, error.is_throttled(), asked);
            Err(Wrong {
                text,
                scope: error.scope(),
                is_stored: false,
            })
        }
    }
}

/// Sends it, again after what may pass.
fn send(
    store: &Arc<dyn Store>,
    destination: &Destination,
    task: &Task,
    work: &Work,
) -> Result<Uploaded, CopyError> {
    let sent = |bytes| work.progress.advance(None, 0, bytes);
    let mut pauses = PAUSES.iter();
    loop {
        match upload(store, destination, task, &work.stop, &sent) {
            Err(error) if error.may_be_retried() => match pauses.next() {
                Some(pause) => {
                    tracing::debug!("copying to {}: {error}; trying again", destination.name);
                    if work.stop.wait(*pause) {
                        return Err(CopyError::Stopped);
                    }
                }
                None => return Err(error),
            },
            result => return result,
        }
    }
}

fn stored(
    destination: &Destination,
    task: &Task,
    work: &Work,
    uploaded: &Uploaded,
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
        copy.set_place(destination);
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
fn source_damaged(task: &Task, work: &Work, what: &str) {
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

fn failed(
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
fn pause(attempts: u32, is_throttled: bool) -> SignedDuration {
    let first = if is_throttled { 15 } else { 5 };
    let minutes = first << attempts.saturating_sub(1).min(7);
    SignedDuration::from_mins(minutes.min(360))
}

/// Records something about a copy. What cannot be recorded is found by the next try.
fn change(work: &Work, destination: &Destination, task: &Task, set: impl FnOnce(&mut BackupCopy)) {
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

#[cfg(test)]
mod tests;
