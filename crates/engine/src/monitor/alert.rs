//! When somebody is told of what a check found: when its state changes, and from time to time while it
//! stays wrong.

use super::{AlertState, CheckState, Finding};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::time::Duration;

/// What somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Notice {
    /// Something went wrong.
    Firing,
    /// It is still wrong.
    Reminder,
    /// It is right again.
    Recovered,
}

impl Notice {
    /// The word in logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Reminder => "reminder",
            Self::Recovered => "recovered",
        }
    }
}

/// Whether somebody is told of `finding`, `previous` being what is remembered of the check. A zero
/// `reminder` means none.
///
/// Nobody is told twice of one alert but by a reminder, nobody of a recovery from what nobody was told
/// of, and nobody of anything but that while the check is silenced. A check that could not look changes
/// nothing.
pub fn decide(
    previous: Option<&AlertState>,
    finding: &Finding,
    now: Timestamp,
    reminder: Duration,
) -> Option<Notice> {
    let told_at = previous.and_then(|previous| previous.told_at);
    let is_silenced = previous.is_some_and(|previous| previous.is_silenced(now));
    match (finding.state, told_at) {
        (CheckState::Ok, Some(_)) => Some(Notice::Recovered),
        (CheckState::Ok, None) | (CheckState::Skipped, _) => None,
        (CheckState::Failing, _) if is_silenced => None,
        (CheckState::Failing, None) => Some(Notice::Firing),
        (CheckState::Failing, Some(at)) => {
            let every = SignedDuration::try_from(reminder).unwrap_or(SignedDuration::MAX);
            let is_due = !every.is_zero() && now.duration_since(at) >= every;
            is_due.then_some(Notice::Reminder)
        }
    }
}

/// What is remembered of a check once `notice` is told.
pub fn remember(
    job: &str,
    previous: Option<&AlertState>,
    finding: &Finding,
    notice: Option<Notice>,
    now: Timestamp,
) -> AlertState {
    let told_before = previous.and_then(|previous| previous.told_at);
    let same = previous.filter(|previous| previous.state == finding.state);
    AlertState {
        job: job.to_owned(),
        check: finding.check.clone(),
        state: finding.state,
        since: same.map_or(now, |previous| previous.since),
        told_at: match notice {
            Some(Notice::Firing | Notice::Reminder) => Some(now),
            Some(Notice::Recovered) => None,
            None => told_before,
        },
        silenced_until: previous.and_then(|previous| previous.silenced_until),
        what: finding.what.clone(),
        looked_at: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn finding(state: u8) -> Finding {
        match state {
            0 => Finding::ok("disk", "room"),
            1 => Finding::failing("disk", "full", "make room"),
            _ => Finding::skipped("disk", "no disk"),
        }
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    /// Looks once a minute; what was told in each.
    fn told(states: &[u8], silenced: std::ops::Range<i64>, reminder: u64) -> Vec<Option<Notice>> {
        let mut previous: Option<AlertState> = None;
        let mut all = Vec::new();
        for (minute, state) in (0..).zip(states) {
            let (now, finding) = (at(minute), finding(*state));
            if let Some(previous) = &mut previous {
                previous.silenced_until = silenced.contains(&minute).then(|| at(silenced.end));
            }
            let every = Duration::from_secs(reminder * 60);
            let notice = decide(previous.as_ref(), &finding, now, every);
            previous = Some(remember("hub", previous.as_ref(), &finding, notice, now));
            all.push(notice);
        }
        all
    }

    #[test]
    fn an_alert_is_told_once_reminded_and_ended() {
        use Notice::{Firing, Recovered, Reminder};
        assert_eq!(
            told(&[0, 1, 1, 1, 2, 1, 0, 0], 0..0, 4),
            [
                None,
                Some(Firing),
                None,
                None,
                None,
                Some(Reminder),
                Some(Recovered),
                None
            ]
        );
    }

    #[test]
    fn what_happens_while_silenced_is_told_afterwards_if_it_lasts() {
        use Notice::{Firing, Recovered};
        assert_eq!(
            told(&[1, 1, 0, 1, 1, 0], 1..4, 9),
            [
                Some(Firing),
                None,
                Some(Recovered),
                None,
                Some(Firing),
                Some(Recovered)
            ]
        );
        assert_eq!(told(&[0, 1, 0, 0], 1..3, 1), [None; 4]);
    }

    proptest! {
        #[test]
        fn told_and_ended_take_turns_and_silence_holds(
            states in prop::collection::vec(0..3_u8, 0..40), from in 0..40_i64, length in 0..20_i64,
            reminder in 0..5_u64,
        ) {
            let silenced = from..from + length;
            let mut stands = false;
            let mut last = 0;
            for (minute, notice) in (0..).zip(told(&states, silenced.clone(), reminder)) {
                let state = states[minute as usize];
                let is_silenced = silenced.contains(&minute) && minute > 0;
                match notice {
                    Some(Notice::Firing) => {
                        prop_assert!(!stands && state == 1 && !is_silenced);
                        (stands, last) = (true, minute);
                    }
                    Some(Notice::Reminder) => {
                        prop_assert!(stands && state == 1 && !is_silenced);
                        prop_assert!(reminder > 0 && minute - last >= reminder as i64);
                        last = minute;
                    }
                    Some(Notice::Recovered) => {
                        prop_assert!(stands && state == 0);
                        stands = false;
                    }
                    None => {
                        // Nothing that must be told is kept.
                        prop_assert!(!(stands && state == 0));
                        prop_assert!(stands || state != 1 || is_silenced);
                    }
                }
            }
        }
    }
}
