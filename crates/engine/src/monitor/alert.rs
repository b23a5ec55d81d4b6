//! When somebody is told of what a check found: when its state changes, and from time to time while it
//! stays wrong.

use super::{AlertState, CheckState, Finding};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::time::Duration;

/// What every recipient refused for good is sent once more after this, as long as nobody has it.
const AGAIN: SignedDuration = SignedDuration::from_mins(15);

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

/// What the runs of the job say about a check.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OfRuns {
    /// A run is at work, or about to be tried again, that changes what the check finds: nobody is told before its end.
    pub(super) pending: bool,
    /// When the newest run ended, whose message told of what the check finds now.
    pub(super) told_at: Option<Timestamp>,
}

/// A notice, and whether the message about a run has told it already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// What somebody is told.
    pub(super) notice: Notice,
    /// Nobody is told once more.
    pub(super) by_run: bool,
}

/// Whether somebody is told of `finding`, `previous` being what is remembered of the check. A zero
/// `reminder` means none.
///
/// Nobody is told twice of one alert but by a reminder, nobody of a recovery from what nobody was told
/// of, and nobody of anything but that while the check is silenced. A check that could not look changes
/// nothing. What reached nobody is told once more after a pause. What the message about a run told is told; it ends as silently, with the message about another run.
pub(super) fn decide(
    previous: Option<&AlertState>,
    finding: &Finding,
    now: Timestamp,
    reminder: Duration,
    runs: OfRuns,
) -> Option<Decision> {
    let told_at = previous.and_then(|previous| previous.told_at);
    let is_silenced = previous.is_some_and(|previous| previous.is_silenced(now));
    let began_by_run = previous.is_some_and(|previous| previous.by_run);
    let decision = |notice, by_run| Some(Decision { notice, by_run });
    match (finding.state, told_at) {
        _ if runs.pending => None,
        _ if previous.is_some_and(|previous| is_too_soon(previous, now)) => None,
        (CheckState::Ok, Some(_)) => {
            decision(Notice::Recovered, began_by_run && runs.told_at.is_some())
        }
        (CheckState::Ok, None) | (CheckState::Skipped, _) => None,
        (CheckState::Failing, _) if is_silenced => None,
        (CheckState::Failing, None) => decision(Notice::Firing, runs.told_at.is_some()),
        (CheckState::Failing, Some(at)) => {
            let every = SignedDuration::try_from(reminder).unwrap_or(SignedDuration::MAX);
            let is_due = !every.is_zero() && now.duration_since(at) >= every;
            let by_run = runs.told_at.is_some_and(|told| told > at);
            is_due.then_some(Decision {
                notice: Notice::Reminder,
                by_run,
            })
        }
    }
}

/// Whether its last message has just been refused. A clock that went back holds nothing up.
fn is_too_soon(previous: &AlertState, now: Timestamp) -> bool {
    previous.unreached_at.is_some_and(|at| {
        let since = now.duration_since(at);
        !since.is_negative() && since < AGAIN
    })
}

/// What is remembered of a check where the notice about it reached nobody and is not queued: what was told before.
pub(super) fn remember_unreached(
    state: AlertState,
    previous: Option<&AlertState>,
    notice: Notice,
    now: Timestamp,
) -> AlertState {
    let since = match (notice, previous) {
        // A recovery says since when it was wrong.
        (Notice::Recovered, Some(previous)) => previous.since,
        _ => state.since,
    };
    AlertState {
        since,
        told_at: previous.and_then(|previous| previous.told_at),
        by_run: previous.is_some_and(|previous| previous.by_run),
        unreached_at: Some(now),
        ..state
    }
}

/// What is remembered of a check once `decision` is carried out.
pub(super) fn remember(
    job: &str,
    previous: Option<&AlertState>,
    finding: &Finding,
    decision: Option<Decision>,
    now: Timestamp,
) -> AlertState {
    let told_before = previous.and_then(|previous| previous.told_at);
    let began_by_run = previous.is_some_and(|previous| previous.by_run);
    let same = previous.filter(|previous| previous.state == finding.state);
    let (told_at, by_run) = match decision.map(|decision| (decision.notice, decision.by_run)) {
        Some((Notice::Firing, by_run)) => (Some(now), by_run),
        // The alert has a message of its own from now on, and so has its end.
        Some((Notice::Reminder, by_run)) => (Some(now), began_by_run && by_run),
        Some((Notice::Recovered, _)) => (None, false),
        None => (told_before, began_by_run),
    };
    AlertState {
        job: job.to_owned(),
        check: finding.check.clone(),
        state: finding.state,
        since: same.map_or(now, |previous| previous.since),
        told_at,
        by_run,
        unreached_at: match decision {
            None => previous.and_then(|previous| previous.unreached_at),
            Some(_) => None,
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
            let runs = OfRuns::default();
            let decision = decide(previous.as_ref(), &finding, now, every, runs);
            let remembered = remember("hub", previous.as_ref(), &finding, decision, now);
            previous = Some(remembered);
            assert!(!decision.is_some_and(|decision| decision.by_run));
            all.push(decision.map(|decision| decision.notice));
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

    /// What is told aloud of a look at `minute`, and what is remembered then.
    fn look(
        previous: Option<&AlertState>,
        minute: i64,
        state: u8,
        runs: OfRuns,
    ) -> (Option<Notice>, AlertState) {
        let finding = finding(state);
        let every = Duration::from_hours(1);
        let decision = decide(previous, &finding, at(minute), every, runs);
        let told = decision.filter(|decision| !decision.by_run);
        let state = remember("hub", previous, &finding, decision, at(minute));
        (told.map(|decision| decision.notice), state)
    }

    #[test]
    fn what_the_message_about_a_run_told_is_not_told_again_until_it_lasts_too_long() {
        let told_by_run = |minute| OfRuns {
            told_at: Some(at(minute)),
            ..OfRuns::default()
        };
        let (told, alert) = look(None, 5, 1, told_by_run(4));
        assert_eq!((told, alert.by_run), (None, true));
        // Another run fails of the same, and says so.
        let (told, alert) = look(Some(&alert), 66, 1, told_by_run(64));
        assert_eq!((told, alert.by_run), (None, true));
        let (told, ended) = look(Some(&alert), 70, 0, told_by_run(69));
        assert_eq!((told, ended.told_at), (None, None));
        // No run since: that is said, and its end, too.
        let (told, lasting) = look(Some(&alert), 140, 1, told_by_run(64));
        assert_eq!((told, lasting.by_run), (Some(Notice::Reminder), false));
        let (told, _) = look(Some(&lasting), 141, 0, told_by_run(140));
        assert_eq!(told, Some(Notice::Recovered));
        // Nobody was told of the run that ended it.
        let (told, _) = look(Some(&alert), 70, 0, OfRuns::default());
        assert_eq!(told, Some(Notice::Recovered));
    }

    #[test]
    fn what_reached_nobody_is_told_again_after_a_pause() {
        use Notice::{Firing, Recovered};
        let none = OfRuns::default();
        let (told, state) = look(None, 0, 1, none);
        assert_eq!(told, Some(Firing));
        let unreached = remember_unreached(state, None, Firing, at(0));
        assert_eq!(unreached.told_at, None);
        let (told, waits) = look(Some(&unreached), 14, 1, none);
        assert_eq!((told, waits.unreached_at), (None, Some(at(0))));
        let (told, state) = look(Some(&waits), 15, 1, none);
        assert_eq!((told, state.told_at), (Some(Firing), Some(at(15))));
        assert_eq!(state.unreached_at, None);
        // So is its end, which says since when it was wrong.
        let (told, ended) = look(Some(&state), 20, 0, none);
        assert_eq!(told, Some(Recovered));
        let ended = remember_unreached(ended, Some(&state), Recovered, at(20));
        assert_eq!((ended.since, ended.told_at), (at(0), Some(at(15))));
        let (told, ended) = look(Some(&ended), 21, 0, none);
        assert_eq!(told, None);
        let (told, ended) = look(Some(&ended), 35, 0, none);
        assert_eq!((told, ended.told_at), (Some(Recovered), None));
        // The clock went back.
        let (told, _) = look(Some(&unreached), -5, 1, none);
        assert_eq!(told, Some(Firing));
    }

    #[test]
    fn nobody_is_told_before_the_end_of_a_run() {
        let pending = OfRuns {
            pending: true,
            told_at: None,
        };
        let (told, alert) = look(None, 1, 1, pending);
        assert_eq!((told, alert.told_at), (None, None));
        let (told, alert) = look(Some(&alert), 2, 1, OfRuns::default());
        assert_eq!(told, Some(Notice::Firing));
        let (told, alert) = look(Some(&alert), 3, 0, pending);
        assert_eq!(told, None, "the run may fail once more");
        let (told, _) = look(Some(&alert), 4, 0, OfRuns::default());
        assert_eq!(told, Some(Notice::Recovered));
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
