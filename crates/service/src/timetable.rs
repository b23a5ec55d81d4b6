//! What is due: the schedule's runs, each once, and further tries of one that failed.

use hubvault_engine::schedule::{CatchUp, Schedule};
use hubvault_model::BackupId;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// A run of the schedule that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// When it was to begin.
    pub(super) at: Timestamp,
    /// Its tries that failed.
    pub(super) failed: Vec<BackupId>,
}

/// Knows what is next. The moment is always an argument; it may jump.
#[derive(Debug)]
pub(super) struct Timetable {
    job: String,
    schedule: Schedule,
    next: Option<Timestamp>,
    waiting: Option<(Timestamp, Due)>,
    looked_at: Timestamp,
}

/// So far back is looked for missed runs, in days.
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
            waiting: None,
            looked_at: now,
        }
    }

    /// Goes by another schedule from now on; a try that waits is still made.
    pub(super) fn go_by(&mut self, job: &str, schedule: Schedule, now: Timestamp) {
        let waiting = self.waiting.take();
        *self = Self {
            waiting,
            ..Self::new(job, schedule, now)
        };
    }

    /// The newest run that was missed while nobody served, given when the newest run that left an archive
    /// began; nothing was missed before the first. `Err` names one that is left out by `catch_up = "none"`.
    pub(super) fn missed(
        &self,
        newest: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Due>, Timestamp> {
        let last = self.schedule.last_due(&self.job, now, LOOK_BACK);
        let missed = last.filter(|due| newest.is_some_and(|newest| newest < *due));
        match (missed, self.schedule.catch_up) {
            (None, _) => Ok(None),
            (Some(at), CatchUp::None) => Err(at),
            (Some(at), CatchUp::Once) => Ok(Some(Due {
                at,
                failed: Vec::new(),
            })),
        }
    }

    /// The run that is to begin now. Several that became due since the last look are one.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<Due> {
        if now + SET_BACK < self.looked_at {
            tracing::warn!(
                "the clock was set back from {:.0} to {now:.0}",
                self.looked_at
            );
            self.next = self.schedule.next_after(&self.job, now);
        }
        self.looked_at = now;
        if let Some(next) = self.next.filter(|next| *next <= now) {
            let at = self
                .schedule
                .last_due(&self.job, now, LOOK_BACK)
                .unwrap_or(next);
            self.next = self.schedule.next_after(&self.job, now);
            // A new day's run stands for the tries of the one before.
            let failed = self
                .waiting
                .take()
                .map_or_else(Vec::new, |(_, due)| due.failed);
            return Some(Due { at, failed });
        }
        match self.waiting.take() {
            Some((from, due)) if from <= now => Some(due),
            waiting => {
                self.waiting = waiting;
                None
            }
        }
    }

    /// After what a run is tried again if its next try fails; `None` when that is the last one.
    pub(super) fn pause_after_next_try(&self, due: &Due) -> Option<Duration> {
        self.schedule.pause_after(due.failed.len() as u32 + 1)
    }

    /// Puts a run back, to be made once `pause` is over.
    pub(super) fn again(&mut self, due: Due, now: Timestamp, pause: Duration) {
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
        self.waiting = Some((now + pause, due));
    }

    /// When the next run begins.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let again = self.waiting.as_ref().map(|(from, _)| *from);
        self.next.into_iter().chain(again).min()
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
    fn a_clock_that_leaps_makes_one_run_and_one_that_is_set_back_loses_none() {
        let mut table = table("2026-01-05T01:00:00Z");
        let due = table.due(at("2026-01-09T12:00:00Z")).unwrap();
        assert_eq!(due.at, at("2026-01-09T02:00:00Z"));
        assert_eq!(table.due(at("2026-01-07T01:00:00Z")), None);
        assert!(table.due(at("2026-01-07T02:00:00Z")).is_some());
    }

    #[test]
    fn what_was_missed_is_made_once_or_named() {
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
    fn a_failed_run_is_tried_again_until_the_last() {
        let mut table = table("2026-01-05T01:59:00Z");
        let now = at("2026-01-05T02:00:00Z");
        let mut due = table.due(now).unwrap();
        let pause = table.pause_after_next_try(&due).unwrap();
        due.failed.push(BackupId::random());
        table.again(due.clone(), now, pause);
        assert_eq!(table.next(), Some(at("2026-01-05T02:05:00Z")));
        assert_eq!(table.due(at("2026-01-05T02:04:59Z")), None);
        assert_eq!(table.due(at("2026-01-05T02:05:00Z")), Some(due.clone()));
        table.again(due.clone(), now, pause);
        let schedule = table.schedule.clone();
        table.go_by("hub", schedule, now);
        assert_eq!(table.due(at("2026-01-05T02:05:00Z")), Some(due.clone()));
        due.failed.push(BackupId::random());
        assert_eq!(
            table.pause_after_next_try(&due),
            None,
            "the third try is the last"
        );
    }
}
