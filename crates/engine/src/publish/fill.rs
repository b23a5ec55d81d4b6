//! Copies on their way: one thread for each destination, which records what comes of each.

use super::destination_lock::lock;
use super::record_copy::{Work, change, failed, source_damaged, stored};
use super::same_place::{filesystem, moved};
use super::source::{CopyError, Scope, Task};
use super::upload::{Uploaded, upload};
use crate::catalog::{BackupCopy, Catalog, CopyState};
use crate::job::Destination;
use crate::remote::check_alone;
use hubvault_model::{BackupId, Cancel};
use hubvault_store::{Requests, Store};
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
    /// The copies that were stored there on a known filesystem, newest first.
    pub(super) stored: Vec<BackupCopy>,
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

/// Opens the store of a destination, if it is where its copies were stored and no other one's place.
fn open(plan: &Plan, work: &Work) -> Result<Arc<dyn Store>, String> {
    if let Some(why) = &plan.refusal {
        return Err(why.clone());
    }
    let destination = &plan.destination;
    let opened = destination.open().map_err(|error| error.to_string());
    let store: Arc<dyn Store> = Arc::from(opened?);
    if let Some(why) = moved(destination, &*store, &plan.stored) {
        return Err(why);
    }
    check_alone(destination, &*store, &work.destinations, &work.state)
        .map_err(|error| error.to_string())?;
    Ok(store)
}

fn copy_all(plan: &Plan, work: &Work, sender: &Sender<Event>) {
    let destination = &plan.destination;
    let store = open(plan, work);
    let filesystem = store.as_ref().ok().and_then(|store| filesystem(&**store));
    let mut refusals = 0;
    for task in &plan.tasks {
        let Ok(_alone) = lock(&work.state, destination, &work.stop) else {
            return;
        };
        let (was_there, wrong) = match &store {
            Ok(store) => match copy_one(store, filesystem.as_deref(), destination, task, work) {
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
    filesystem: Option<&str>,
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
            let found = (&uploaded, filesystem.map(str::to_owned));
            stored(destination, task, work, found, asked);
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

#[cfg(test)]
mod tests;
