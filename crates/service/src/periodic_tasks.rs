//! What the service does besides backups: checks, resending queued messages, copies, the digest. Each is a child process.

use super::child::Task;
use hubvault_config::Settings;
use hubvault_engine::catalog::{Catalog, OutboxState};
use hubvault_engine::publish::is_tending_due;
use hubvault_engine::state::StateDir;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// Between two attempts to send queued messages and to make queued copies.
const RETRY_EVERY: Duration = Duration::from_mins(15);

/// When each is due next, and which are running.
#[derive(Debug)]
pub(super) struct PeriodicTasks {
    checked: Option<Instant>,
    retried: Option<Instant>,
    digest: Option<Timestamp>,
    running: Vec<(u32, Task)>,
}

impl PeriodicTasks {
    pub(super) fn new(settings: &Settings, now: Timestamp) -> Self {
        Self {
            checked: None,
            // What other machines made is to be known at once.
            retried: settings.job().lease.is_none().then(Instant::now),
            digest: next_digest(settings, now),
            running: Vec::new(),
        }
    }

    /// Follows a reloaded configuration; running tasks go on.
    pub(super) fn reload(&mut self, settings: &Settings, now: Timestamp) {
        self.digest = next_digest(settings, now);
        self.checked = None;
    }

    /// Those that are due now. One that is still running is not started again.
    pub(super) fn due(&mut self, settings: &Settings, now: Timestamp) -> Vec<Task> {
        let mut due = Vec::new();
        let interval = settings.job().monitor.interval;
        if self.checked.is_none_or(|at| at.elapsed() >= interval) {
            self.checked = Some(Instant::now());
            due.push(Task::Check);
        }
        if self.retried.is_none_or(|at| at.elapsed() >= RETRY_EVERY) {
            self.retried = Some(Instant::now());
            if has_queued_messages(settings) {
                due.push(Task::RetryMail);
            }
            if has_copies_to_tend(settings) {
                due.push(Task::Copies);
            }
        }
        if self.digest.is_some_and(|at| at <= now) {
            self.digest = next_digest(settings, now);
            due.push(Task::Digest);
        }
        due.retain(|task| {
            let is_running = self.running.iter().any(|(_, other)| other == task);
            if is_running {
                tracing::warn!("{} is still running; not started again", task.name());
            }
            !is_running
        });
        due
    }

    /// A task was started.
    pub(super) fn started(&mut self, task: Task, process: u32) {
        self.running.push((process, task));
    }

    /// A process ended: which of them it was, if it was one.
    pub(super) fn ended(&mut self, process: u32) -> Option<Task> {
        let at = (self.running.iter()).position(|(other, _)| *other == process)?;
        Some(self.running.remove(at).1)
    }
}

fn next_digest(settings: &Settings, now: Timestamp) -> Option<Timestamp> {
    let schedule = settings.job().delivery.digest.as_ref()?;
    schedule.next_after("digest", now)
}

fn has_queued_messages(settings: &Settings) -> bool {
    let outbox = StateDir::open(settings.job().state_root())
        .ok()
        .and_then(|state| Catalog::open(&state).ok()?.outbox_states().ok());
    // The child process reports a catalog that cannot be read.
    outbox.is_none_or(|states| states.into_iter().any(OutboxState::is_open))
}

fn has_copies_to_tend(settings: &Settings) -> bool {
    let job = settings.job();
    let catalog = StateDir::open(job.state_root())
        .ok()
        .and_then(|state| Catalog::open(&state).ok());
    catalog.is_none_or(|catalog| is_tending_due(job, &catalog))
}
