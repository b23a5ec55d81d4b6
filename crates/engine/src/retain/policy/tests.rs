//! Promises of the retention policy, over histories made up by chance.

use super::*;

const DAY: i64 = 86_400;
const NOW: i64 = 1_800_000_000;

fn rules() -> RetentionRules {
    RetentionRules {
        days: 7,
        keep_last: 0,
        ..RetentionRules::default()
    }
}

fn at(days_ago: i64, proven: bool) -> Kept {
    Kept {
        id: BackupId::random(),
        at: Timestamp::from_second(NOW - days_ago * DAY).unwrap(),
        bytes: 10,
        proven,
        pinned: false,
    }
}

fn decided(history: &[Kept], rules: &RetentionRules) -> Vec<(bool, String)> {
    let now = Timestamp::from_second(NOW).unwrap();
    let decisions = decide(history, now, rules, &TimeZone::UTC);
    let of = |kept: &Kept| decisions.iter().find(|d| d.id == kept.id).unwrap();
    history
        .iter()
        .map(|kept| (of(kept).keep, of(kept).reason.clone()))
        .collect()
}

fn keeps(history: &[Kept], rules: &RetentionRules) -> Vec<bool> {
    decided(history, rules)
        .into_iter()
        .map(|(keep, _)| keep)
        .collect()
}

#[test]
fn a_backup_of_exactly_the_days_is_no_longer_younger() {
    let history = [at(1, true), at(7, true)];
    assert_eq!(keeps(&history, &rules()), [true, false]);
}

#[test]
fn days_and_last_and_the_newest_proven() {
    let history = [
        at(1, false),
        at(3, true),
        at(8, true),
        at(9, true),
        at(20, false),
    ];
    assert_eq!(keeps(&history, &rules()), [true, true, false, false, false]);
    let last = RetentionRules {
        keep_last: 2,
        ..rules()
    };
    assert_eq!(keeps(&history, &last), [true, true, true, false, false]);
    let old = [at(100, false), at(200, true), at(300, true)];
    assert_eq!(keeps(&old, &rules()), [true, true, false]);
    assert_eq!(decided(&old, &rules())[0].1, "the newest backup");
    assert_eq!(decided(&old, &rules())[1].1, "the newest proven backup");
    assert_eq!(keeps(&[at(500, false)], &rules()), [true], "the only one");
}

#[test]
fn one_stands_for_each_day_week_month_and_year() {
    let history: Vec<Kept> = (0..800).map(|days| at(days, true)).collect();
    let count =
        |rules: RetentionRules| keeps(&history, &rules).iter().filter(|keep| **keep).count();
    let none = RetentionRules {
        days: 0,
        keep_last: 0,
        ..RetentionRules::default()
    };
    assert_eq!(count(none), 1);
    assert_eq!(count(RetentionRules { daily: 14, ..none }), 14);
    assert_eq!(
        count(RetentionRules {
            monthly: 12,
            ..none
        }),
        12
    );
    assert_eq!(
        count(RetentionRules {
            weekly: 5,
            yearly: 2,
            ..none
        }),
        6
    );
}

#[test]
fn a_size_limit_removes_the_oldest_but_nothing_that_is_protected() {
    let mut history = vec![at(1, false), at(2, true), at(3, true), at(4, true)];
    history[3].pinned = true;
    let small = RetentionRules {
        max_total: Some(ByteSize(30)),
        ..rules()
    };
    assert_eq!(keeps(&history, &small), [true, true, false, true]);
    let tiny = RetentionRules {
        max_total: Some(ByteSize(1)),
        ..rules()
    };
    assert_eq!(keeps(&history, &tiny), [true, true, false, true]);
    // Exactly as much as there is.
    let enough = RetentionRules {
        max_total: Some(ByteSize(40)),
        ..rules()
    };
    assert_eq!(keeps(&history, &enough), [true; 4]);
}

#[test]
fn a_size_limit_removes_the_oldest_first_and_no_more_than_needed() {
    let history: Vec<Kept> = (0..5).map(|days| at(days, true)).collect();
    let small = RetentionRules {
        max_total: Some(ByteSize(30)),
        ..rules()
    };
    assert_eq!(keeps(&history, &small), [true, true, true, false, false]);
}

#[test]
fn an_unproven_one_counts_for_nothing_and_stands_for_no_period() {
    let none = RetentionRules { days: 0, ..rules() };
    let history = [at(1, true), at(2, false), at(3, false), at(4, true)];
    let last = RetentionRules {
        keep_last: 2,
        ..none
    };
    assert_eq!(keeps(&history, &last), [true, false, false, true]);
    // NOW is at 8 o'clock: both are of one day, and only the older one was proven.
    let hour = |ago: i64, proven| Kept {
        at: Timestamp::from_second(NOW - 2 * DAY - ago * 3600).unwrap(),
        ..at(2, proven)
    };
    let history = [at(1, true), hour(0, false), hour(1, true), hour(2, true)];
    let daily = RetentionRules { daily: 2, ..none };
    assert_eq!(keeps(&history, &daily), [true, false, true, false]);
}

#[test]
fn a_week_begins_on_monday() {
    // 2027-01-15, NOW, is a Friday: these are the days from Thursday back to the Saturday before.
    let history: Vec<Kept> = (1..7).map(|days| at(days, true)).collect();
    let weekly = RetentionRules {
        days: 0,
        weekly: 2,
        ..rules()
    };
    let kept = [true, false, false, false, true, false];
    assert_eq!(keeps(&history, &weekly), kept);
}

#[test]
fn a_clock_that_was_set_back_removes_nothing_from_the_future() {
    let history = [at(-400, false), at(-1, true), at(1, true)];
    assert_eq!(
        keeps(&history, &RetentionRules { days: 0, ..rules() }),
        [true, true, false]
    );
}

/// xorshift64 (Marsaglia, 2003): a million histories in a second or two.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

#[test]
fn over_a_million_histories_what_must_stay_stays() {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    for _ in 0..1_000_000 {
        let size = chance.next(9) as usize;
        // Around the changes of the clock in 2027, with some from the future.
        let now = Timestamp::from_second(NOW + chance.next(400 * 86_400) as i64).unwrap();
        let history: Vec<Kept> = (0..size)
            .map(|_| Kept {
                id: BackupId::from_u128(u128::from(chance.next(u64::MAX))),
                at: now - SignedDuration::from_secs(chance.next(500 * 86_400) as i64 - 5 * DAY),
                bytes: chance.next(100),
                proven: chance.next(3) > 0,
                pinned: chance.next(8) == 0,
            })
            .collect();
        let rules = RetentionRules {
            days: chance.next(40) as u32,
            keep_last: chance.next(4) as u32,
            daily: chance.next(3) as u32 * 4,
            weekly: chance.next(2) as u32 * 4,
            monthly: chance.next(2) as u32 * 3,
            yearly: chance.next(2) as u32,
            max_total: (chance.next(3) == 0).then(|| ByteSize(chance.next(300))),
        };
        let decisions = decide(&history, now, &rules, &zone);
        assert_eq!(decisions.len(), history.len());
        let kept = |id| decisions.iter().any(|d| d.id == id && d.keep);
        let newest_proven = history.iter().filter(|k| k.proven).max_by_key(|k| k.at);
        assert!(newest_proven.is_none_or(|k| kept(k.id)), "{history:?}");
        let newest = history.iter().map(|k| k.at).max();
        let mut newest = history.iter().filter(|k| Some(k.at) == newest);
        assert!(
            history.is_empty() || newest.any(|k| kept(k.id)),
            "{history:?}"
        );
        assert!(
            history
                .iter()
                .filter(|k| k.pinned || k.at > now)
                .all(|k| kept(k.id))
        );
        assert!(history.is_empty() || decisions.iter().any(|d| d.keep));
        if rules.max_total.is_none() {
            let young = SignedDuration::from_hours(24 * i64::from(rules.days));
            let mut young = history.iter().filter(|k| now.duration_since(k.at) < young);
            assert!(young.all(|k| kept(k.id)));
        }
        assert!(decisions.iter().all(|d| !d.reason.is_empty()));
    }
}
