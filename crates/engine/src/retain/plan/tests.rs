//! Promises of the policy over several destinations, whatever fails in whatever order.

use super::*;
use crate::catalog::RunSummary;
use crate::job::CopyRules;
use hubvault_store::Location;
use jiff::SignedDuration;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

fn at(days: i64) -> Timestamp {
    Timestamp::from_second(NOW + days * DAY).unwrap()
}

fn days(days: u32) -> RetentionRules {
    RetentionRules {
        days,
        ..RetentionRules::default()
    }
}

/// A copy of which only the record says where it is.
fn copy(destination: &str, state: CopyState) -> BackupCopy {
    let mut copy = BackupCopy::pending(destination, "archive", Some(1), at(0));
    copy.state = state;
    copy
}

fn backup(day: i64, copies: &[(&str, CopyState)]) -> BackupRecord {
    let mut record = BackupRecord::begun(BackupId::random(), "hub", at(day));
    record.state = State::Proven;
    record.copies = copies
        .iter()
        .map(|(name, state)| copy(name, *state))
        .collect();
    record
}

fn elsewhere(name: &str, keep: Option<RetentionRules>) -> Destination {
    let location = Location::parse(&format!("s3://{name}")).unwrap();
    let mut destination = Destination::new(name, location);
    destination.rules = CopyRules {
        keep,
        ..CopyRules::default()
    };
    destination
}

fn decided(records: Vec<BackupRecord>, destinations: &Destinations, now: i64) -> Vec<String> {
    let records: Vec<Rc<BackupRecord>> = records.into_iter().map(Rc::new).collect();
    let place = |id| records.iter().position(|record| record.id == id).unwrap();
    decide_all(&records, destinations, &days(7), at(now), &TimeZone::UTC)
        .iter()
        .map(|it| {
            let word = if it.decision.keep { "keep" } else { "remove" };
            let number = place(it.record.id);
            format!("{} {number} {word}: {}", it.destination, it.decision.reason)
        })
        .collect()
}

#[test]
fn each_destination_has_its_rules() {
    use CopyState::{Damaged, Pending, Present, Removed};
    let destinations =
        Destinations::local("/b").with([elsewhere("s3", Some(days(30))), elsewhere("az", None)]);
    let mut locked = backup(-45, &[(LOCAL, Removed), ("s3", Present)]);
    locked.copies[1].locked_until = Some(at(3));
    let mut interrupted = backup(-50, &[("s3", Removed)]);
    interrupted.copies[0].removed_at = Some(at(-1));
    interrupted.copies[0].next_try_at = Some(at(-1));
    let records = vec![
        backup(-1, &[(LOCAL, Present), ("s3", Pending), ("az", Pending)]),
        backup(-9, &[(LOCAL, Present), ("s3", Present), ("az", Present)]),
        backup(-10, &[(LOCAL, Present), ("s3", Pending), ("az", Pending)]),
        backup(
            -31,
            &[(LOCAL, Present), ("s3", Present), ("elsewhere", Present)],
        ),
        locked,
        backup(-46, &[("s3", Damaged)]),
        interrupted,
    ];
    assert_eq!(
        decided(records, &destinations, 0),
        [
            "local 0 keep: the newest proven backup",
            "local 1 remove: older than every rule keeps",
            "local 2 keep: to be copied to s3",
            "local 3 remove: older than every rule keeps",
            "s3 0 keep: not stored yet; the newest proven backup",
            "s3 1 keep: the newest proven backup",
            "s3 2 keep: not stored yet; younger than 30 days",
            "s3 3 remove: older than every rule keeps",
            "s3 4 keep: locked until 2027-01-18 08:00 UTC",
            "s3 5 remove: older than every rule keeps",
            "s3 6 remove: its removal was interrupted",
            "az 0 keep: not stored yet; the newest proven backup",
            "az 1 keep: the newest proven backup",
            "az 2 remove: not stored yet; older than every rule keeps",
        ]
    );
}

#[test]
fn a_spool_is_not_pruned_and_is_a_source() {
    use CopyState::{Pending, Present};
    let destinations = Destinations::local("/b")
        .with([elsewhere("s3", None), elsewhere("az", Some(days(30)))])
        .spool_only();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("archive");
    std::fs::write(&file, "archive").unwrap();
    let mut spooled = backup(-9, &[("s3", Present), ("az", Pending)]);
    spooled.copies.push(BackupCopy::local(&file, Some(7)));
    spooled.copies[2].until_copied = true;
    // The directory was a destination once.
    let mut earlier = backup(-10, &[("az", Present)]);
    earlier.copies.push(BackupCopy::local(&file, Some(7)));
    let newest = backup(-1, &[("s3", Present), ("az", Present)]);
    let at_home = backup(-1, &[]).found(&file, 7);
    assert_eq!(
        decided(vec![newest, at_home, spooled, earlier], &destinations, 0),
        [
            "local 1 keep: the newest proven backup",
            "local 3 remove: older than every rule keeps",
            "s3 0 keep: the newest proven backup",
            "s3 2 remove: older than every rule keeps",
            "az 0 keep: the newest proven backup",
            "az 2 keep: not stored yet; younger than 30 days",
            "az 3 keep: younger than 30 days",
        ]
    );
}

#[test]
fn what_is_due_nowhere_does_not_fill_a_spool() {
    use CopyState::{Present, Removed};
    let destinations = Destinations::local("/b")
        .with([elsewhere("s3", Some(days(30)))])
        .spool_only();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("archive");
    std::fs::write(&file, "archive").unwrap();
    let spooled = |day: i64, copies: &[(&str, CopyState)]| {
        let mut record = backup(day, copies);
        record.copies.insert(0, BackupCopy::local(&file, Some(7)));
        record.copies[0].until_copied = true;
        record
    };
    let records = vec![
        spooled(-1, &[("s3", Present)]),
        spooled(-8, &[]),
        spooled(-9, &[]),
        spooled(-10, &[("s3", Removed)]),
        spooled(-11, &[("gone", Present)]),
        spooled(-12, &[("s3", CopyState::Pending)]),
    ];
    assert_eq!(
        decided(records, &destinations, 0),
        [
            "local 1 keep: the newest proven backup",
            "local 2 remove: older than every rule keeps",
            "local 3 remove: older than every rule keeps",
            "local 4 remove: older than every rule keeps",
            "s3 0 keep: the newest proven backup",
            "s3 5 keep: not stored yet; younger than 30 days",
        ]
    );
}

/// xorshift64 (Marsaglia, 2003).
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn rules(&mut self) -> RetentionRules {
        RetentionRules {
            days: self.next(4) as u32,
            keep_last: self.next(3) as u32,
            daily: self.next(3) as u32,
            max_total: (self.next(4) == 0).then(|| hubvault_model::ByteSize(self.next(5))),
            ..RetentionRules::default()
        }
    }
}

const NAMES: [&str; 3] = [LOCAL, "s3", "az"];

/// A day: perhaps a run, copies that are stored, found missing or damaged.
fn live(chance: &mut Chance, records: &mut Vec<Rc<BackupRecord>>, day: i64) {
    if chance.next(4) > 0 {
        let mut record = backup(day, &[(LOCAL, CopyState::Present)]);
        record.bytes = Some(1);
        record.pinned = chance.next(10) == 0;
        record.state = [State::Proven, State::Proven, State::Unproven][chance.next(3) as usize];
        for name in &NAMES[1..] {
            record.copies.push(copy(name, CopyState::Pending));
        }
        records.insert(0, Rc::new(record));
    }
    for record in records {
        let record = Rc::make_mut(record);
        let has_source = record.copies.iter().any(BackupCopy::is_present);
        for copy in &mut record.copies {
            match (copy.state, chance.next(20)) {
                (CopyState::Pending, 0..8) if has_source => {
                    copy.state = CopyState::Present;
                    copy.locked_until = (chance.next(4) == 0).then(|| at(day + 5));
                }
                (CopyState::Present, 0) => copy.state = CopyState::Missing,
                (CopyState::Present, 1) => copy.state = CopyState::Damaged,
                _ => {}
            }
        }
    }
}

/// As the catalog has it in a summary.
fn summarized(record: &Rc<BackupRecord>) -> Rc<BackupRecord> {
    let stored = serde_json::to_string(&RunSummary::of(record)).unwrap();
    Rc::new(serde_json::from_str::<RunSummary>(&stored).unwrap().run)
}

fn newest_proven(records: &[Rc<BackupRecord>]) -> Option<BackupId> {
    let counts = |record: &&Rc<BackupRecord>| {
        record.state == State::Proven && record.copies.iter().any(BackupCopy::is_present)
    };
    records.iter().find(counts).map(|record| record.id)
}

#[test]
fn the_newest_proven_backup_is_never_lost_and_no_copy_loses_its_source() {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut removed = 0;
    for _ in 0..3_000 {
        let rules = chance.rules();
        let destinations = Destinations::local("/b").with(NAMES[1..].iter().map(|name| {
            let keep = (chance.next(2) == 0).then(|| chance.rules());
            elsewhere(name, keep)
        }));
        let mut records: Vec<Rc<BackupRecord>> = Vec::new();
        for day in 0..15 {
            live(&mut chance, &mut records, day);
            let (newest, before) = (newest_proven(&records), records.clone());
            // The clock may be set back, and forward.
            let now = at(day + chance.next(4) as i64 - 1) + SignedDuration::from_hours(1);
            let decide = |of: &[Rc<BackupRecord>]| {
                decide_all(of, &destinations, &rules, now, &TimeZone::UTC)
            };
            let decided = decide(&records);
            if day == 14 {
                // The catalog gives it summaries.
                let of_summaries = decide(&records.iter().map(summarized).collect::<Vec<_>>());
                let decision = |it: &Pruned| format!("{:?} at {}", it.decision, it.destination);
                assert!(
                    decided
                        .iter()
                        .map(decision)
                        .eq(of_summaries.iter().map(decision))
                );
            }
            for pruned in decided {
                let copy = pruned.copy().unwrap();
                let fails = copy.state != CopyState::Pending && chance.next(5) == 0;
                if pruned.decision.keep || fails {
                    continue;
                }
                assert!(!pruned.record.pinned);
                assert!(copy.locked_until.is_none_or(|until| until <= now));
                let mut all = records.iter_mut();
                let record = all.find(|it| it.id == pruned.record.id).unwrap();
                let copy = Rc::make_mut(record).copy_at_mut(&pruned.destination);
                let copy = copy.unwrap();
                copy.state = CopyState::Removed;
                copy.removed_at = Some(now);
                removed += 1;
            }
            assert_eq!(newest_proven(&records), newest);
            for (before, after) in before.iter().zip(&records) {
                let has_source = |it: &BackupRecord| it.copies.iter().any(BackupCopy::is_present);
                let mut copies = after.copies.iter();
                let waits = copies.any(|copy| copy.state == CopyState::Pending);
                assert!(!waits || !has_source(before) || has_source(after));
            }
        }
    }
    assert!(removed > 10_000, "{removed}");
}
