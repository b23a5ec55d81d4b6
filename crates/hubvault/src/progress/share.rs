//! How much of the whole is done, and how long the rest takes: by the stages' times in an earlier run.

use hubvault_engine::progress::Stage;
use std::time::{Duration, Instant};

/// A stage whose work is not known in bytes gets so near to its end by the time that it took before, and then slower.
const LINEAR: f64 = 0.8;
/// Earlier times say nothing of the rest before so much is done.
const ENOUGH: f64 = 0.05;

/// Where a run is.
pub(super) struct Share {
    /// The stages in their order, with the seconds of an earlier run; empty where only one stage is known of.
    expected: Vec<(Stage, f64)>,
    is_measured: bool,
    /// The number of the stage in `expected`.
    at: Option<usize>,
    stage: Option<Stage>,
    begun: Instant,
    stage_begun: Instant,
    bytes: u64,
    stage_bytes: Option<u64>,
    shown: f64,
}

impl Share {
    /// By seconds that were measured, or by shares of the whole, which say nothing of the time that is left.
    pub(super) fn new(mut expected: Vec<(Stage, f64)>, is_measured: bool, now: Instant) -> Self {
        for (_, seconds) in &mut expected {
            // A stage of no time at all is a stage, too.
            *seconds = seconds.max(0.001);
        }
        Self {
            expected,
            is_measured,
            at: None,
            stage: None,
            begun: now,
            stage_begun: now,
            bytes: 0,
            stage_bytes: None,
            shown: 0.0,
        }
    }

    /// A stage begins. One that comes before the present one begins another archive.
    pub(super) fn begin(&mut self, stage: Stage, bytes: Option<u64>, now: Instant) {
        let position = self.expected.iter().position(|(known, _)| *known == stage);
        let is_another = position.is_some() && position <= self.at;
        if is_another || self.expected.is_empty() {
            self.shown = 0.0;
            self.begun = now;
        }
        self.at = position.or(self.at);
        self.stage = Some(stage);
        self.stage_begun = now;
        self.bytes = 0;
        self.stage_bytes = bytes.filter(|bytes| *bytes > 0);
    }

    pub(super) fn advance(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// The stage, the bytes that went through it, and how many are expected.
    pub(super) fn stage(&self) -> (Option<Stage>, u64, Option<u64>) {
        // The expected size is an estimate, and never less than what came.
        let expected = self.stage_bytes.map(|expected| expected.max(self.bytes));
        (self.stage, self.bytes, expected)
    }

    /// Bytes a second in this stage.
    pub(super) fn speed(&self, now: Instant) -> u64 {
        let seconds = (now - self.stage_begun).as_secs_f64();
        if seconds > 0.0 {
            (self.bytes as f64 / seconds) as u64
        } else {
            0
        }
    }

    /// The part that is done, which never becomes less, and the time that is left, where it can be told.
    pub(super) fn whole(&mut self, now: Instant) -> (f64, Option<Duration>) {
        let of_stage = self.of_stage(now);
        let total: f64 = self.expected.iter().map(|(_, seconds)| seconds).sum();
        let done = match self.at {
            _ if self.expected.is_empty() => of_stage,
            Some(at) => {
                let before: f64 = self.expected[..at].iter().map(|(_, seconds)| seconds).sum();
                (before + of_stage * self.expected[at].1) / total
            }
            None => 0.0,
        };
        self.shown = self.shown.max(done.clamp(0.0, 1.0));
        (self.shown, self.left(total, now))
    }

    fn of_stage(&self, now: Instant) -> f64 {
        if let Some(expected) = self.stage_bytes {
            return (self.bytes as f64 / expected as f64).min(1.0);
        }
        if !self.is_measured && self.at.is_some() {
            return 0.0;
        }
        let Some((stage, seconds)) = self.at.and_then(|at| self.expected.get(at)) else {
            return 0.0;
        };
        if self.stage != Some(*stage) {
            // One that the earlier run did not have: the one before it is done.
            return 1.0;
        }
        let part = (now - self.stage_begun).as_secs_f64() / seconds;
        if part <= LINEAR {
            part
        } else {
            1.0 - (1.0 - LINEAR) * (-(part - LINEAR) / (1.0 - LINEAR)).exp()
        }
    }

    /// What an earlier run took for the rest, faster or slower as this one is.
    fn left(&self, total: f64, now: Instant) -> Option<Duration> {
        let passed = (now - self.begun).as_secs_f64();
        let seconds = if self.expected.is_empty() {
            self.stage_bytes.filter(|_| self.shown > 0.0)?;
            passed * (1.0 - self.shown) / self.shown
        } else if !self.is_measured {
            return None;
        } else {
            let pace = if self.shown > ENOUGH {
                (passed / (self.shown * total)).clamp(0.1, 10.0)
            } else {
                1.0
            };
            (1.0 - self.shown) * total * pace
        };
        Some(Duration::from_secs_f64(seconds.clamp(0.0, 1e7)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(share: &mut Share, now: Instant) -> u64 {
        (share.whole(now).0 * 100.0).round() as u64
    }

    #[test]
    fn the_share_is_that_of_the_whole_and_never_less() {
        let stages = [
            (Stage::Plan, 10.0),
            (Stage::Export, 60.0),
            (Stage::Drill, 30.0),
        ];
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut share = Share::new(stages.to_vec(), true, begun);
        assert_eq!(percent(&mut share, at(0)), 0);
        share.begin(Stage::Plan, None, at(0));
        assert_eq!(percent(&mut share, at(5)), 5);
        // It takes longer than before.
        assert!((8..=10).contains(&percent(&mut share, at(100))));
        share.begin(Stage::Export, Some(1_000), at(100));
        assert_eq!(percent(&mut share, at(100)), 10);
        share.advance(500);
        assert_eq!(percent(&mut share, at(130)), 40);
        // One that is not known, and more than was expected.
        share.begin(Stage::Integrity, Some(10), at(130));
        assert!(percent(&mut share, at(130)) >= 40);
        share.begin(Stage::Drill, None, at(131));
        assert_eq!(percent(&mut share, at(131)), 70);
        share.advance(10_000);
        assert!(percent(&mut share, at(1_000)) <= 100);
        // The next archive.
        share.begin(Stage::Plan, None, at(1_001));
        assert_eq!(percent(&mut share, at(1_001)), 0);
    }

    #[test]
    fn what_is_left_follows_the_earlier_run_and_the_pace_of_this_one() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut share = Share::new(
            vec![(Stage::Export, 50.0), (Stage::Drill, 50.0)],
            true,
            begun,
        );
        share.begin(Stage::Export, Some(100), at(0));
        assert_eq!(share.whole(at(0)).1, Some(Duration::from_secs(100)));
        share.advance(100);
        // Twice as slow.
        assert_eq!(share.whole(at(100)).1, Some(Duration::from_secs(100)));
        let mut alone = Share::new(Vec::new(), true, begun);
        alone.begin(Stage::Integrity, Some(100), at(0));
        assert_eq!(alone.whole(at(0)), (0.0, None));
        alone.advance(25);
        assert_eq!(alone.whole(at(10)), (0.25, Some(Duration::from_secs(30))));
        assert_eq!(alone.speed(at(10)), 2);
        let mut unknown = Share::new(Vec::new(), true, begun);
        unknown.begin(Stage::Drill, None, at(0));
        assert_eq!(unknown.whole(at(10)), (0.0, None));
    }
}
