//! When runs are due: five fields of cron in a time zone, and what is done about runs that were
//! missed or that failed. Pure: the moment is always an argument.

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// When a job is backed up.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    text: String,
    /// The zone in which the fields are read.
    pub zone: TimeZone,
    /// By how much at most a run begins later than its minute, so that many hosts do not begin together.
    pub jitter: Duration,
    /// What is done about runs that nobody made as the service was down.
    pub catch_up: CatchUp,
    /// How often a run is tried before its failure is told.
    pub tries: u32,
    /// What is waited after the first failed try; twice as long after each further one.
    pub pause: Duration,
}

/// What is done about runs that were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// One run at the start stands for all of them.
    #[default]
    Once,
    /// The next regular one stands for them.
    None,
}

impl Schedule {
    /// The expression as it was written.
    pub fn expression(&self) -> &str {
        &self.text
    }

    /// Reads five fields such as `0 2 * * *`, or a word such as `@daily`; `Err` says what is wrong with them.
    pub fn new(text: &str, zone: TimeZone) -> Result<Self, String> {
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .build()
            .parse(text)
            .map_err(|error| error.to_string().trim_end_matches('.').to_owned())?;
        let schedule = Self {
            cron,
            text: text.to_owned(),
            zone,
            jitter: Duration::ZERO,
            catch_up: CatchUp::Once,
            tries: 1,
            pause: Duration::ZERO,
        };
        match schedule.minute_after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err("no day ever fits it".to_owned()),
        }
    }

    /// The five fields as they were written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// When the next run of `job` begins after `after`. A wall-clock time that a change of clocks skips is
    /// due right after the gap; one that it repeats is due the first time only.
    pub fn next_after(&self, job: &str, after: Timestamp) -> Option<Timestamp> {
        let jitter = SignedDuration::try_from(self.jitter).unwrap_or(SignedDuration::ZERO);
        let mut minute = after - jitter;
        // Jitter can put a later minute before an earlier one only when it is longer than the time between
        // them; the earliest of those in reach is the next.
        let mut next: Option<Timestamp> = None;
        loop {
            minute = self.minute_after(minute)?;
            if next.is_some_and(|next| minute >= next) {
                return next;
            }
            let begins = self.begins(job, minute);
            if begins > after {
                next = Some(next.map_or(begins, |next| next.min(begins)));
                if self.jitter.is_zero() {
                    return next;
                }
            }
        }
    }

    /// When the newest run of `job` that is due at `now` was to begin; looks back `days` days at most.
    pub fn last_due(&self, job: &str, now: Timestamp, days: i64) -> Option<Timestamp> {
        let mut at = now - SignedDuration::from_hours(24 * days);
        let mut last = None;
        while let Some(next) = self.next_after(job, at).filter(|next| *next <= now) {
            last = Some(next);
            at = next;
        }
        last
    }

    /// What is waited after the `failed`th failed try; `None` when that was the last one.
    pub fn pause_after(&self, failed: u32) -> Option<Duration> {
        (failed < self.tries).then(|| {
            let doublings = failed.saturating_sub(1).min(10);
            self.pause.saturating_mul(1 << doublings)
        })
    }

    fn begins(&self, job: &str, minute: Timestamp) -> Timestamp {
        let most = self.jitter.as_secs();
        if most == 0 {
            return minute;
        }
        // The same after a restart, so that no run is made twice.
        let mut hasher = DefaultHasher::new();
        (job, minute.as_second()).hash(&mut hasher);
        let seconds = (hasher.finish() % most) as i64;
        minute + SignedDuration::from_secs(seconds)
    }

    fn minute_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = after.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&after, false).ok()?;
        Some(next.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn berlin(text: &str) -> Schedule {
        Schedule::new(text, TimeZone::get("Europe/Berlin").unwrap()).unwrap()
    }

    fn times(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
        let mut now = at(from);
        let mut all = Vec::new();
        for _ in 0..count {
            now = schedule.next_after("hub", now).unwrap();
            let local = now.to_zoned(schedule.zone.clone());
            all.push(local.strftime("%m-%d %H:%M %Z").to_string());
        }
        all
    }

    #[test]
    fn a_time_that_the_clocks_skip_is_due_after_the_gap() {
        assert_eq!(
            times(&berlin("30 2 * * *"), "2026-03-27T12:00:00Z", 3),
            ["03-28 02:30 CET", "03-29 03:00 CEST", "03-30 02:30 CEST"]
        );
    }

    #[test]
    fn a_time_that_the_clocks_repeat_is_due_once() {
        assert_eq!(
            times(&berlin("30 2 * * *"), "2026-10-24T12:00:00Z", 2),
            ["10-25 02:30 CEST", "10-26 02:30 CET"]
        );
    }

    #[test]
    fn what_can_never_be_due_is_refused() {
        let zone = TimeZone::UTC;
        for bad in [
            "0 2 * *",
            "61 2 * * *",
            "0 0 30 2 *",
            "at two",
            "",
            "0 0 2 * * *",
        ] {
            assert!(Schedule::new(bad, zone.clone()).is_err(), "{bad}");
        }
        for good in ["0 2 * * *", "*/15 0-6 1,15 * MON", "@daily", "0 2 29 2 *"] {
            assert!(Schedule::new(good, zone.clone()).is_ok(), "{good}");
        }
    }

    #[test]
    fn the_last_run_that_was_due_is_known() {
        let schedule = berlin("0 2 * * *");
        let due = |now| schedule.last_due("hub", at(now), 30);
        assert_eq!(
            due("2026-01-05T00:59:59Z"),
            Some(at("2026-01-04T01:00:00Z"))
        );
        assert_eq!(
            due("2026-01-05T01:00:00Z"),
            Some(at("2026-01-05T01:00:00Z"))
        );
        let yearly = berlin("0 2 1 1 *");
        assert_eq!(yearly.last_due("hub", at("2026-06-01T00:00:00Z"), 30), None);
    }

    #[test]
    fn each_try_waits_twice_as_long() {
        let mut schedule = berlin("0 2 * * *");
        schedule.tries = 3;
        schedule.pause = Duration::from_mins(5);
        let pauses = [1, 2, 3].map(|failed| schedule.pause_after(failed).map(|p| p.as_secs()));
        assert_eq!(pauses, [Some(300), Some(600), None]);
    }

    proptest! {
        /// A schedule or what is wrong with it, and a schedule has a next run.
        #[test]
        fn no_text_panics(text in "(@[a-z]{0,9}|[-0-9*/,LW#?A-Za-z]{0,6}( [-0-9*/,LW#?A-Z]{0,6}){0,5}|\\PC{0,20})") {
            match Schedule::new(&text, TimeZone::UTC) {
                Ok(schedule) => {
                    let now = Timestamp::from_second(1_800_000_000).unwrap();
                    if let Some(next) = schedule.next_after("hub", now) {
                        prop_assert!(next > now);
                    }
                    let _ = schedule.last_due("hub", now, 32);
                }
                Err(why) => prop_assert!(!why.is_empty()),
            }
        }

        /// Whatever the clocks and the jitter do: time goes on, nothing is due twice, and who asks at the
        /// moment of a run is told the one after it.
        #[test]
        fn runs_follow_one_another(
            minute in 0u32..60, hour in prop::option::of(0u32..24), jitter in 0u64..7_200,
            start in 1_700_000_000i64..1_900_000_000,
            zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
        ) {
            let hour = hour.map_or("*".to_owned(), |hour| hour.to_string());
            let zone = TimeZone::get(zone).unwrap();
            let mut schedule = Schedule::new(&format!("{minute} {hour} * * *"), zone).unwrap();
            schedule.jitter = Duration::from_secs(jitter);
            let mut now = Timestamp::from_second(start).unwrap();
            for _ in 0..30 {
                let next = schedule.next_after("hub", now).unwrap();
                prop_assert!(next > now);
                prop_assert!(next.duration_since(now).as_hours() <= 27);
                prop_assert_eq!(schedule.next_after("hub", now), Some(next));
                prop_assert_eq!(schedule.last_due("hub", next, 3), Some(next));
                now = next;
            }
        }
    }
}
