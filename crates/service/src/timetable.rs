//! Which run is due: the schedule's runs, each once, and further attempts at one that failed.

use hubvault_engine::schedule::{CatchUp, Schedule};
use hubvault_model::BackupId;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// A run of the schedule that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DueRun {
    /// When it was due.
    pub(super) at: Timestamp,
    /// Its attempts that failed.
    pub(super) failed_attempts: Vec<BackupId>,
}

/// Decides which run is next. The current time is always an argument; it may jump.
#[derive(Debug)]
pub(super) struct Timetable {
    job: String,
    schedule: Schedule,
    next: Option<Timestamp>,
    retry: Option<(Timestamp, DueRun)>,
    last_checked: Timestamp,
}

/// How far back to look for missed runs, in days.
const LOOK_BACK: i64 = 8;
/// The clock was set back when it is behind by more than this.
const SET_BACK: SignedDuration = SignedDuration::from_secs(60);

impl Timetable {
    /// From `now` on.
    pub(super) fn new(job: &str, schedule: Schedule, now: Timestamp) -> Self {
        Self {
            next: schedule.next_after(job, now),
            job: job.to_owned(),
            schedule,
            retry: None,
            last_checked: now,
        }
    }

    /// Follows another schedule from now on; a pending retry is still made.
    pub(super) fn set_schedule(&mut self, job: &str, schedule: Schedule, now: Timestamp) {
        let retry = self.retry.take();
        *self = Self {
            retry,
            ..Self::new(job, schedule, now)
        };
    }

    /// The newest run that was missed while no service was running. `newest` is when the newest run that left an
    /// archive began; nothing was missed before the first. `Err` names a run that `catch_up = "none"` skips.
    pub(super) fn missed(
        &self,
        newest: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<DueRun>, Timestamp> {
        let last = self.schedule.last_due(&self.job, now, LOOK_BACK);
        let missed = last.filter(|due| newest.is_some_and(|newest| newest < *due));
        match (missed, self.schedule.catch_up) {
            (None, _) => Ok(None),
            (Some(at), CatchUp::None) => Err(at),
            (Some(at), CatchUp::Once) => Ok(Some(DueRun {
                at,
                failed_attempts: Vec::new(),
            })),
        }
    }

    /// The run that is to begin now. Several that became due since the last call are one.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<DueRun> {
        if now + SET_BACK < self.last_checked {
            tracing::warn!(
                "the clock was set back from {:.0} to {now:.0}",
                self.last_checked
            );
            self.next = self.schedule.next_after(&self.job, now);
        }
        self.last_checked = now;
        if let Some(next) = self.next.filter(|next| *next <= now) {
            let at = self
                .schedule
                .last_due(&self.job, now, LOOK_BACK)
                .unwrap_or(next);
            self.next = self.schedule.next_after(&self.job, now);
            // A new day's run replaces the retry of the one before.
            let retry = self.retry.take();
            return Some(DueRun {
                at,
                failed_attempts: retry.map_or_else(Vec::new, |(_, due)| due.failed_attempts),
            });
        }
        let retry = self.retry.take_if(|(from, _)| *from <= now);
        retry.map(|(_, due)| due)
    }

    /// The pause before another attempt if the next one fails; `None` if the next one is the last.
    pub(super) fn retry_after(&self, due: &DueRun) -> Option<Duration> {
        self.schedule
            .pause_after(due.failed_attempts.len() as u32 + 1)
    }

    /// Makes a run due once more after a pause.
    pub(super) fn retry(&mut self, due: DueRun, now: Timestamp, pause: Duration) {
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
        self.retry = Some((now + pause, due));
    }

    /// When the next run begins.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let retry = self.retry.as_ref().map(|(from, _)| *from);
        self.next.into_iter().chain(retry).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn table(now: &str) -> Timetable {
        let mut schedule = Schedule::new("0 2 * * *", TimeZone::UTC).unwrap();
        schedule.tries = 3;
        schedule.pause = Duration::from_mins(5);
        Timetable::new("hub", schedule, at(now))
    }

    #[test]
    fn each_run_is_due_once() {
        let mut table = table("2026-01-05T01:59:00Z");
        assert_eq!(table.due(at("2026-01-05T01:59:59Z")), None);
        let due = table.due(at("2026-01-05T02:00:00Z")).unwrap();
        assert_eq!(due.at, at("2026-01-05T02:00:00Z"));
        assert_eq!(table.due(at("2026-01-05T02:00:01Z")), None);
        assert_eq!(table.next(), Some(at("2026-01-06T02:00:00Z")));
    }

    #[test]
    fn a_clock_that_jumps_ahead_makes_one_run_and_one_that_is_set_back_loses_none() {
        let mut table = table("2026-01-05T01:00:00Z");
        let due = table.due(at("2026-01-09T12:00:00Z")).unwrap();
        assert_eq!(due.at, at("2026-01-09T02:00:00Z"));
        assert_eq!(table.due(at("2026-01-07T01:00:00Z")), None);
        assert!(table.due(at("2026-01-07T02:00:00Z")).is_some());
    }

    #[test]
    fn a_missed_run_is_made_once_or_named() {
        let mut table = table("2026-01-05T12:00:00Z");
        let now = at("2026-01-05T12:00:00Z");
        assert_eq!(table.missed(None, now), Ok(None), "nothing ran yet");
        let made = Some(at("2026-01-05T02:00:03Z"));
        assert_eq!(table.missed(made, now), Ok(None));
        let old = Some(at("2026-01-03T02:00:03Z"));
        let missed = table.missed(old, now).unwrap().unwrap();
        assert_eq!(missed.at, at("2026-01-05T02:00:00Z"));
        table.schedule.catch_up = CatchUp::None;
        assert_eq!(table.missed(old, now), Err(missed.at));
    }

    #[test]
    fn a_failed_run_is_attempted_again_until_the_last_attempt() {
        let mut table = table("2026-01-05T01:59:00Z");
        let now = at("2026-01-05T02:00:00Z");
        let mut due = table.due(now).unwrap();
        let pause = table.retry_after(&due).unwrap();
        due.failed_attempts.push(BackupId::random());
        table.retry(due.clone(), now, pause);
        assert_eq!(table.next(), Some(at("2026-01-05T02:05:00Z")));
        assert_eq!(table.due(at("2026-01-05T02:04:59Z")), None);
        assert_eq!(table.due(at("2026-01-05T02:05:00Z")), Some(due.clone()));
        table.retry(due.clone(), now, pause);
        let schedule = table.schedule.clone();
        table.set_schedule("hub", schedule, now);
        assert_eq!(table.due(at("2026-01-05T02:05:00Z")), Some(due.clone()));
        due.failed_attempts.push(BackupId::random());
        assert_eq!(
            table.retry_after(&due),
            None,
            "the third attempt is the last"
        );
    }
}
