//! What may be changed over HTTP: a setting may be stricter there than file and variables say, never weaker. A
//! stolen token so turns off no drill, shortens no retention and mails no archive to anybody else.

use super::keys;
use super::resolve::{Found, Value};
use hubvault_engine::schedule::Schedule;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// In which direction a setting may be changed.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Any value protects as well as another.
    Any,
    /// A whole number that may not be above this, as it costs too much, unless file and variables say more.
    AtMost(i64),
    /// A number that may only be raised.
    Raised,
    /// A number that may only be raised; none at all is the highest.
    RaisedOrNone,
    /// A number that may only be lowered.
    Lowered,
    /// A duration that may only be shorter; none at all is the shortest.
    Shorter,
    /// Words, the weakest first.
    Words(&'static [&'static str]),
    /// Judged as a whole with the other keys of the schedule.
    Schedule,
    /// Only where hubvault runs.
    Host(&'static str),
}

fn rule(key: &str) -> Rule {
    match key {
        "archive.codec" => Rule::Any,
        "archive.level" => Rule::AtMost(9),
        // Either direction: too high or too low, and every run fails.
        "archive.min_size_mb" | "archive.max_size_mb" => {
            Rule::Host("limits of the archive's size make runs fail")
        }
        "log.level" => Rule::Words(&["error", "warn", "info", "debug", "trace"]),
        "proof.when" => Rule::Words(&["off", "weekly", "daily", "always"]),
        "retention.max_total_mb" => Rule::RaisedOrNone,
        "retention.days"
        | "retention.keep_last"
        | "retention.daily"
        | "retention.weekly"
        | "retention.monthly"
        | "retention.yearly"
        | "schedule.tries" => Rule::Raised,
        "schedule.cron" | "schedule.timezone" => Rule::Schedule,
        "schedule.jitter" | "schedule.pause" => Rule::Shorter,
        "schedule.catch_up" => Rule::Words(&["none", "once"]),
        "monitor.max_age_hours" => Rule::Lowered,
        "email.to" => Rule::Host("whoever is in it is mailed the archive"),
        "email.attach" => Rule::Host("it decides where archives go"),
        "email.enabled" => Rule::Host("it decides who is notified and where archives go"),
        _ => Rule::Host("it is not for HTTP"),
    }
}

/// What may be done with a key over HTTP, for whoever wanted something else.
pub(super) fn allowed(key: &str) -> String {
    match rule(key) {
        Rule::Any => "may be changed over HTTP".to_owned(),
        Rule::AtMost(most) => format!("may be at most {most} over HTTP"),
        Rule::Raised => "may only be raised over HTTP".to_owned(),
        Rule::RaisedOrNone => "may only be raised or left out over HTTP".to_owned(),
        Rule::Lowered => "may only be lowered over HTTP".to_owned(),
        Rule::Shorter => "may only be shortened over HTTP".to_owned(),
        Rule::Words(words) => {
            let stronger: Vec<&str> = words.iter().rev().copied().collect();
            let order = stronger.join(", ");
            format!("may only be made stricter over HTTP ({order}, the strictest first)")
        }
        Rule::Schedule => {
            "may over HTTP neither leave longer gaps between runs nor ask for more than one run an \
                           hour"
                .to_owned()
        }
        Rule::Host(why) => format!("cannot be changed over HTTP, as {why}"),
    }
}

/// Whether `wish` protects less than `floor`. Of the schedule [`is_sparser`] knows more.
pub(super) fn is_weaker(floor: &Found, wish: &Found) -> bool {
    let number = |found: &Found| found.text().parse::<i64>().ok();
    let (least, new) = (number(floor), number(wish));
    match rule(floor.key.name) {
        Rule::Any | Rule::Schedule => false,
        Rule::AtMost(most) => new.is_some_and(|new| new > most.max(least.unwrap_or(most))),
        Rule::Raised => new < least,
        Rule::RaisedOrNone => match (least, new) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(least), Some(new)) => new < least,
        },
        Rule::Lowered => least.is_some() && (new.is_none() || new > least),
        Rule::Shorter => span(wish) > span(floor),
        Rule::Words(words) => {
            let rank = |found: &Found| words.iter().position(|word| *word == found.text());
            rank(wish) < rank(floor)
        }
        Rule::Host(_) => plain(floor) != plain(wish),
    }
}

fn span(found: &Found) -> Duration {
    keys::duration(found.text()).unwrap_or_default()
}

/// Whether a key is one of those that are judged as a whole.
pub(super) fn is_of_schedule(key: &str) -> bool {
    matches!(rule(key), Rule::Schedule)
}

/// The text of a value for people; a secret's is never asked for.
pub(super) fn plain(found: &Found) -> String {
    match &found.value {
        Value::Unset => "unset".to_owned(),
        Value::Secret(_) => "********".to_owned(),
        Value::Text(text) => text.clone(),
        Value::List(items) if items.is_empty() => "nobody".to_owned(),
        Value::List(items) => items.join(", "),
    }
}

/// Clocks that change make one day an hour longer.
const SLACK: SignedDuration = SignedDuration::from_hours(1);
/// Nobody needs more over HTTP.
const OFTEN: SignedDuration = SignedDuration::from_hours(1);
/// How far ahead and how many runs of a schedule are looked at.
const AHEAD_DAYS: i64 = 400;
const RUNS: usize = 3_000;
/// A gap longer than two of these is found wherever it is.
const STEP: SignedDuration = SignedDuration::from_hours(12);

/// Whether `wish` leaves longer gaps than `floor`, or asks for runs so often that they are a burden.
pub(super) fn is_sparser(floor: &Schedule, wish: &Schedule, now: Timestamp) -> bool {
    let (floor, wish) = (Gaps::of(floor, now), Gaps::of(wish, now));
    wish.longest > floor.longest + SLACK || wish.shortest < floor.shortest.min(OFTEN)
}

/// The longest gap between runs.
pub fn longest_gap(schedule: &Schedule, now: Timestamp) -> SignedDuration {
    Gaps::of(schedule, now).longest + SLACK
}

struct Gaps {
    longest: SignedDuration,
    shortest: SignedDuration,
}

impl Gaps {
    fn of(schedule: &Schedule, now: Timestamp) -> Self {
        let mut exact = schedule.clone();
        exact.jitter = Duration::ZERO;
        let next = |at: Timestamp| exact.next_after("", at);
        let mut gaps = Self {
            longest: SignedDuration::ZERO,
            shortest: SignedDuration::MAX,
        };
        let end = now + SignedDuration::from_hours(24 * AHEAD_DAYS);
        let Some(mut at) = next(now) else {
            gaps.longest = SignedDuration::MAX - SLACK;
            return gaps;
        };
        for _ in 0..RUNS {
            let Some(following) = next(at) else { break };
            let gap = following.duration_since(at);
            gaps.longest = gaps.longest.max(gap);
            gaps.shortest = gaps.shortest.min(gap);
            at = following;
            if at > end {
                return gaps;
            }
        }
        // There are too many to look at each; what is left are gaps of days.
        let mut sample = at;
        while sample < end {
            let Some(following) = next(sample) else { break };
            gaps.longest = gaps.longest.max(following.duration_since(sample));
            sample = following.max(sample + STEP);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::KEYS;
    use super::super::overlay::CHANGEABLE;
    use super::*;
    use jiff::tz::TimeZone;

    fn found(key: &str, text: &str) -> Found {
        let key = KEYS.iter().find(|known| known.name == key).unwrap();
        let value = match text {
            "" => Value::Unset,
            text => Value::Text(text.to_owned()),
        };
        Found {
            key,
            value,
            origin: String::new(),
            hidden: Vec::new(),
        }
    }

    #[test]
    fn what_weakens_is_known_in_every_direction() {
        for (key, floor, weaker, as_strict) in [
            ("proof.when", "daily", "off", "always"),
            ("proof.when", "always", "weekly", "always"),
            ("retention.days", "30", "29", "31"),
            ("retention.keep_last", "3", "0", "3"),
            ("retention.max_total_mb", "", "1", ""),
            ("retention.max_total_mb", "100", "99", ""),
            ("retention.max_total_mb", "100", "0", "101"),
            ("schedule.tries", "3", "1", "4"),
            ("schedule.jitter", "", "1 s", ""),
            ("schedule.pause", "5 min", "6 min", "60"),
            ("schedule.catch_up", "once", "none", "once"),
            ("monitor.max_age_hours", "25", "26", "24"),
            ("log.level", "info", "error", "debug"),
            ("archive.level", "", "19", "9"),
            ("archive.min_size_mb", "", "1", ""),
            ("archive.max_size_mb", "10", "11", "10"),
            ("email.attach", "always", "never", "always"),
            ("email.enabled", "false", "true", "false"),
        ] {
            let floor = found(key, floor);
            assert!(is_weaker(&floor, &found(key, weaker)), "{key} {weaker}");
            assert!(
                !is_weaker(&floor, &found(key, as_strict)),
                "{key} {as_strict}"
            );
        }
        assert!(!is_weaker(
            &found("archive.level", "15"),
            &found("archive.level", "15")
        ));
    }

    #[test]
    fn every_key_that_can_be_changed_says_what_is_allowed() {
        for key in CHANGEABLE {
            assert!(!allowed(key).contains("not for HTTP"), "{key}");
        }
    }

    fn cron(text: &str, zone: &str) -> Schedule {
        Schedule::new(text, TimeZone::get(zone).unwrap()).unwrap()
    }

    #[test]
    fn a_schedule_leaves_no_longer_gaps_and_is_no_burden() {
        let now = "2026-11-25T12:00:00Z".parse().unwrap();
        let utc = |text| cron(text, "UTC");
        let daily = utc("0 2 * * *");
        for fine in [
            "0 3 * * *",
            "30 14 * * *",
            "0 */6 * * *",
            "0 * * * *",
            "@daily",
        ] {
            assert!(!is_sparser(&daily, &utc(fine), now), "{fine}");
        }
        assert!(!is_sparser(
            &daily,
            &cron("0 2 * * *", "Europe/Berlin"),
            now
        ));
        assert!(!is_sparser(&utc("0 0 29 2 *"), &utc("0 4 28 2 *"), now));
        assert!(!is_sparser(&utc("*/5 * * * *"), &utc("*/5 * * * *"), now));
        for bad in [
            "0 2 * * 1",
            "0 2 29 2 *",
            "0 2 * 1-11 *",
            "0 2 1-30 * *",
            "0 2 */2 * *",
            "* * * * *",
            "*/30 * * * *",
            "* * 1-20 * *",
            "0,1 2 * * *",
        ] {
            assert!(is_sparser(&daily, &utc(bad), now), "{bad}");
        }
        assert!(is_sparser(&utc("*/5 * * * *"), &utc("*/5 * 1-27 * *"), now));
        assert!(is_sparser(&utc("0 * * * *"), &utc("0 */6 * * *"), now));
        assert!(is_sparser(&utc("0 4 28 2 *"), &utc("0 0 29 2 *"), now));
    }
}
