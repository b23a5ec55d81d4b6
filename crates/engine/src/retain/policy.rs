//! Which backups stay: history, moment and rules in, a decision with its reason for each out.

use crate::job::RetentionRules;
use hubvault_model::{BackupId, ByteSize, counted};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// Why a pinned one stays.
pub(super) const PINNED: &str = "pinned";

/// A backup that has an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its id.
    pub id: BackupId,
    /// When it was begun.
    pub at: Timestamp,
    /// The archive's size in bytes.
    pub bytes: u64,
    /// Whether it was proven.
    pub proven: bool,
    /// Whether somebody said that it stays.
    pub pinned: bool,
}

/// What is to happen to a backup, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which backup.
    pub id: BackupId,
    /// Whether it stays.
    pub keep: bool,
    /// Why, in words.
    pub reason: String,
    /// Whether no rule at all may remove it.
    protected: bool,
}

impl Decision {
    /// Of a copy whose removal was begun and did not end.
    pub(super) fn unfinished(id: BackupId) -> Self {
        Self {
            id,
            keep: false,
            reason: "its removal was interrupted".to_owned(),
            protected: false,
        }
    }
}

/// Decides about every backup, newest first. `zone` says where days begin.
///
/// A rule can only keep; what no rule keeps is removed. Pinned backups, the newest one, the newest
/// proven one and the only one stay whatever the rules say, and so does everything from the future:
/// the clock was set back.
pub fn decide(
    history: &[Kept],
    now: Timestamp,
    rules: &RetentionRules,
    zone: &TimeZone,
) -> Vec<Decision> {
    let mut newest_first: Vec<&Kept> = history.iter().collect();
    newest_first.sort_by_key(|kept| (std::cmp::Reverse(kept.at), kept.id));
    let mut decisions: Vec<Decision> = protected(&newest_first, now);
    let mut periods = Periods::new(rules);
    let mut proven = 0;
    for (kept, decision) in newest_first.iter().zip(&mut decisions) {
        if kept.proven {
            proven += 1;
        }
        // Asked for every backup, so that a protected one stands for its day as well.
        let period = kept
            .proven
            .then(|| periods.first_of(kept.at, zone))
            .flatten();
        if decision.keep {
            continue;
        }
        let age = now.duration_since(kept.at);
        let reason = if age < SignedDuration::from_hours(24 * i64::from(rules.days)) {
            Some(format!(
                "younger than {}",
                counted(u64::from(rules.days), "day")
            ))
        } else if kept.proven && proven <= rules.keep_last {
            Some(format!("one of the last {} proven", rules.keep_last))
        } else {
            period
        };
        decision.keep = reason.is_some();
        decision.reason = reason.unwrap_or_else(|| "older than every rule keeps".to_owned());
    }
    if let Some(most) = rules.max_total {
        limit(&newest_first, &mut decisions, most);
    }
    decisions
}

fn protected(newest_first: &[&Kept], now: Timestamp) -> Vec<Decision> {
    let newest_proven = newest_first.iter().position(|kept| kept.proven);
    let reason = |at: usize, kept: &Kept| {
        if kept.pinned {
            Some(PINNED)
        } else if newest_proven == Some(at) {
            Some("the newest proven backup")
        } else if newest_first.len() == 1 {
            Some("the only backup")
        } else if at == 0 {
            Some("the newest backup")
        } else if kept.at > now {
            Some("from the future: the clock was set back")
        } else {
            None
        }
    };
    let decide = |(at, kept): (usize, &&Kept)| {
        let reason = reason(at, kept);
        Decision {
            id: kept.id,
            keep: reason.is_some(),
            protected: reason.is_some(),
            reason: reason.unwrap_or_default().to_owned(),
        }
    };
    newest_first.iter().enumerate().map(decide).collect()
}

/// Removes the oldest that may be removed until the rest fits.
fn limit(newest_first: &[&Kept], decisions: &mut [Decision], most: ByteSize) {
    let kept = |(kept, decision): (&&Kept, &Decision)| if decision.keep { kept.bytes } else { 0 };
    let mut total: u64 = newest_first.iter().zip(decisions.iter()).map(kept).sum();
    for (kept, decision) in newest_first.iter().zip(decisions).rev() {
        if total <= most.0 {
            return;
        }
        if decision.keep && !decision.protected {
            decision.keep = false;
            decision.reason = format!("all archives together would be larger than {most}");
            total -= kept.bytes;
        }
    }
}

/// The newest proven backup of each of the last so many days, weeks, months and years.
struct Periods {
    rules: [(&'static str, usize); 4],
    seen: [BTreeSet<Date>; 4],
}

impl Periods {
    fn new(rules: &RetentionRules) -> Self {
        let count = |number: u32| number as usize;
        Self {
            rules: [
                ("day", count(rules.daily)),
                ("week", count(rules.weekly)),
                ("month", count(rules.monthly)),
                ("year", count(rules.yearly)),
            ],
            seen: Default::default(),
        }
    }

    /// Why a backup stands for a period; asked from the newest to the oldest.
    fn first_of(&mut self, at: Timestamp, zone: &TimeZone) -> Option<String> {
        if self.rules.iter().all(|(_, most)| *most == 0) {
            return None;
        }
        let day = at.to_zoned(zone.clone()).date();
        let mut reason = None;
        for ((word, most), seen) in self.rules.iter().zip(&mut self.seen) {
            let begin = match *word {
                "day" => day,
                "week" => monday(day),
                "month" => day.first_of_month(),
                _ => day.first_of_year(),
            };
            if seen.len() < *most && seen.insert(begin) {
                reason.get_or_insert_with(|| format!("the newest of its {word}"));
            }
        }
        reason
    }
}

fn monday(day: Date) -> Date {
    let since = i32::from(day.weekday().to_monday_zero_offset());
    day.checked_sub(jiff::Span::new().days(since))
        .unwrap_or(day)
}

#[cfg(test)]
mod tests;
