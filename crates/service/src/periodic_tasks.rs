//! What the service does beside the runs, each now and then, as a child that may take its time.

use hubvault_config::Settings;
use hubvault_engine::catalog::{Catalog, OutboxState};
use hubvault_engine::schedule::Schedule;
use hubvault_engine::state::StateDir;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// Between two tries of what waits in the outbox.
const RETRY_EVERY: Duration = Duration::from_mins(15);

/// The arguments of a chore.
pub(super) type Chore = &'static [&'static str];

const WATCH: Chore = &["check", "--alert"];
const RETRY: Chore = &["mail", "retry"];
const DIGEST: Chore = &["mail", "send", "digest"];

/// When each is due next, and which are at work.
#[derive(Debug)]
pub(super) struct PeriodicTasks {
    watched: Option<Instant>,
    retried: Instant,
    digest: Option<Timestamp>,
    at_work: Vec<(u32, Chore)>,
}

impl PeriodicTasks {
    pub(super) fn new(settings: &Settings, now: Timestamp) -> Self {
        Self {
            watched: None,
            retried: Instant::now(),
            digest: next_digest(settings, now),
            at_work: Vec::new(),
        }
    }

    /// As the configuration has it now; what is at work goes on.
    pub(super) fn reload(&mut self, settings: &Settings, now: Timestamp) {
        self.digest = next_digest(settings, now);
        self.watched = None;
    }

    /// Those that are due now. One that still is at work is not begun again beside itself.
    pub(super) fn due(&mut self, settings: &Settings, now: Timestamp) -> Vec<Chore> {
        let mut due = Vec::new();
        let interval = settings.watch_interval();
        if self.watched.is_none_or(|at| at.elapsed() >= interval) {
            self.watched = Some(Instant::now());
            due.push(WATCH);
        }
        if self.retried.elapsed() >= RETRY_EVERY {
            self.retried = Instant::now();
            if something_waits(settings) {
                due.push(RETRY);
            }
        }
        if self.digest.is_some_and(|at| at <= now) {
            self.digest = next_digest(settings, now);
            due.push(DIGEST);
        }
        due.retain(|chore| {
            let busy = self.at_work.iter().any(|(_, other)| other == chore);
            if busy {
                tracing::warn!(
                    "hubvault {} takes long; it is not begun again",
                    chore.join(" ")
                );
            }
            !busy
        });
        due
    }

    /// One was begun.
    pub(super) fn started(&mut self, chore: Chore, process: u32) {
        self.at_work.push((process, chore));
    }

    /// A process ended, which may have been one of them.
    pub(super) fn ended(&mut self, process: u32) {
        self.at_work.retain(|(other, _)| *other != process);
    }
}

fn next_digest(settings: &Settings, now: Timestamp) -> Option<Timestamp> {
    let schedule = Schedule::new(settings.text("email.digest"), settings.zone.clone()).ok()?;
    schedule.next_after("digest", now)
}

fn something_waits(settings: &Settings) -> bool {
    let outbox = StateDir::open(&settings.job().directory)
        .ok()
        .and_then(|state| Catalog::open(&state).ok()?.outbox_states().ok());
    // One that cannot be read is for the child to complain about.
    outbox.is_none_or(|states| states.into_iter().any(OutboxState::is_open))
}
