//! What the service does beside the runs, each now and then, as a child that may take its time.

use crate::config::Settings;
use hubvault_engine::backup::state_directory;
use hubvault_engine::catalog::{Catalog, OutboxItem};
use hubvault_engine::schedule::Schedule;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// Between two tries of what waits in the outbox.
const RETRY_EVERY: Duration = Duration::from_mins(15);

/// When each is due next.
#[derive(Debug)]
pub(super) struct Chores {
    retry: Instant,
    digest: Option<Timestamp>,
}

impl Chores {
    pub(super) fn new(settings: &Settings, now: Timestamp) -> Self {
        Self {
            retry: Instant::now(),
            digest: next_digest(settings, now),
        }
    }

    /// The arguments of those that are due now.
    pub(super) fn due(
        &mut self,
        settings: &Settings,
        now: Timestamp,
    ) -> Vec<&'static [&'static str]> {
        let mut due: Vec<&'static [&'static str]> = Vec::new();
        if self.retry.elapsed() >= RETRY_EVERY {
            self.retry = Instant::now();
            if something_waits(settings) {
                due.push(&["mail", "retry"]);
            }
        }
        if self.digest.is_some_and(|at| at <= now) {
            self.digest = next_digest(settings, now);
            due.push(&["mail", "send", "digest"]);
        }
        due
    }
}

fn next_digest(settings: &Settings, now: Timestamp) -> Option<Timestamp> {
    let schedule = Schedule::new(settings.text("email.digest"), settings.zone.clone()).ok()?;
    schedule.next_after("digest", now)
}

fn something_waits(settings: &Settings) -> bool {
    let outbox = state_directory(&settings.job().directory)
        .ok()
        .and_then(|state| Catalog::open(&state).ok()?.outbox().ok());
    // One that cannot be read is for the child to complain about.
    outbox.is_none_or(|items| items.iter().any(OutboxItem::is_open))
}
