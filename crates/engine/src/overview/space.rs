//! When the disk is full, if archives go on as they did.

use crate::catalog::{BackupCopy, BackupRecord};
use jiff::{SignedDuration, Timestamp};

/// So much of the past says how it goes on.
const SPAN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Less says nothing.
const LEAST: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Nobody plans further ahead, in days.
const FAR: f64 = 3650.0;

/// Since when, and until when, archives take space on this machine.
#[derive(Clone, Debug, Default)]
pub struct Space {
    stays: Vec<(Timestamp, Option<Timestamp>, u64)>,
}

impl Space {
    pub(super) fn add(&mut self, record: &BackupRecord) {
        let copy = record.local_copy();
        if let (Some(copy), Some(bytes)) = (copy, record.bytes) {
            let until = |copy: &BackupCopy| copy.removed_at;
            self.stays.push((record.started_at, until(copy), bytes));
        }
    }

    fn bytes(&self, at: Timestamp) -> f64 {
        let is_there = |(from, until, _): &&(Timestamp, Option<Timestamp>, u64)| {
            *from <= at && until.is_none_or(|until| until > at)
        };
        self.stays
            .iter()
            .filter(is_there)
            .map(|stay| stay.2 as f64)
            .sum()
    }

    /// In how many days `free` bytes are taken; `None` where archives take no more space than before, or nobody can know.
    pub fn full_in_days(&self, free: u64, now: Timestamp) -> Option<u64> {
        let first = self.stays.iter().map(|stay| stay.0).min()?;
        let span = now.duration_since(first).min(SPAN);
        if span < LEAST {
            return None;
        }
        let grown = self.bytes(now) - self.bytes(now - span);
        let days = free as f64 / (grown / (span.as_secs_f64() / 86_400.0));
        (grown > 0.0 && days < FAR).then_some(days as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_fills_as_it_did_before() {
        let now: Timestamp = "2026-11-26T00:00:00Z".parse().unwrap();
        let ago = |days: i64| now - SignedDuration::from_hours(24 * days);
        let daily = |kept: Option<i64>, days: i64| Space {
            stays: (0..days)
                .map(|day| {
                    let until = kept
                        .map(|kept| ago(day - kept))
                        .filter(|until| *until <= now);
                    (ago(day), until, 100)
                })
                .collect(),
        };
        assert_eq!(daily(None, 60).full_in_days(4_100, now), Some(41));
        // Those that retention removes make room for new ones.
        assert_eq!(daily(Some(10), 60).full_in_days(4_100, now), None);
        assert_eq!(daily(None, 5).full_in_days(4_100, now), None, "too young");
        assert_eq!(Space::default().full_in_days(4_100, now), None);
        assert_eq!(
            daily(None, 60).full_in_days(1 << 40, now),
            None,
            "nobody plans so far"
        );
    }
}
