//! In which direction a setting may be changed over HTTP: it may be made stricter than file and variables set it, never
//! weaker. So a stolen token can turn off no drill, shorten no retention and mail no archive to anybody else.

use super::kind;
use super::setting::{Setting, Value};
use hubvault_engine::schedule::Schedule;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// In which direction a setting may be changed.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Any value: all protect equally well.
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
    /// Compared together with the other keys of the schedule.
    Schedule,
    /// Only on the host; the reason.
    Host(&'static str),
}

/// Every key that may be changed over HTTP: nothing that decides where data goes, except the recipients of mail; nothing
/// that is run; nothing secret.
const RULES: &[(&str, Rule)] = &[
    ("archive.codec", Rule::Any),
    ("archive.level", Rule::AtMost(9)),
    ("archive.min_size_mb", Rule::Host(SIZE_LIMITS)),
    ("archive.max_size_mb", Rule::Host(SIZE_LIMITS)),
    (
        "log.level",
        Rule::Words(&["error", "warn", "info", "debug", "trace"]),
    ),
    (
        "proof.when",
        Rule::Words(&["off", "weekly", "daily", "always"]),
    ),
    ("proof.script", Rule::Words(&["off", "weekly", "always"])),
    ("retention.days", Rule::Raised),
    ("retention.keep_last", Rule::Raised),
    ("retention.daily", Rule::Raised),
    ("retention.weekly", Rule::Raised),
    ("retention.monthly", Rule::Raised),
    ("retention.yearly", Rule::Raised),
    ("retention.max_total_mb", Rule::RaisedOrNone),
    ("schedule.cron", Rule::Schedule),
    ("schedule.timezone", Rule::Schedule),
    ("schedule.jitter", Rule::Shorter),
    ("schedule.catch_up", Rule::Words(&["none", "once"])),
    ("schedule.tries", Rule::Raised),
    ("schedule.pause", Rule::Shorter),
    (
        "email.enabled",
        Rule::Host("it decides who is notified and where archives go"),
    ),
    (
        "email.to",
        Rule::Host("whoever is in it is mailed the archive"),
    ),
    ("email.attach", Rule::Host("it decides where archives go")),
    (
        "email.max_message_mb",
        Rule::Host("it decides where archives go"),
    ),
    ("monitor.max_age_hours", Rule::Lowered),
];
/// In either direction: too high or too low, and every run fails.
const SIZE_LIMITS: &str = "limits of the archive's size make runs fail";

/// The keys that may be changed over HTTP.
pub(crate) fn changeable() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(key, _)| *key)
}

/// Whether a key may be changed over HTTP.
pub fn is_changeable(key: &str) -> bool {
    changeable().any(|changeable| changeable == key)
}

/// What may be done with a key over HTTP; `None` where it can be changed on the host alone.
pub fn change_rule(key: &str) -> Option<String> {
    let is_of_host = matches!(rule(key), Rule::Host(_));
    (is_changeable(key) && !is_of_host).then(|| allowed(key))
}

/// A key without a rule is never in a change.
fn rule(key: &str) -> Rule {
    let rule = RULES.iter().find(|(known, _)| *known == key);
    rule.map_or(Rule::Any, |(_, rule)| *rule)
}

/// What may be done with a key over HTTP, for a refusal.
pub(crate) fn allowed(key: &str) -> String {
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
            "over HTTP may neither leave longer gaps between runs nor ask for more than one run an \
             hour"
                .to_owned()
        }
        Rule::Host(why) => format!("cannot be changed over HTTP, as {why}"),
    }
}

/// Whether `new` protects less than `baseline`. Schedules are compared by [`is_sparser`].
pub(crate) fn is_weaker(baseline: &Setting, new: &Setting) -> bool {
    let number = |setting: &Setting| setting.text().parse::<i64>().ok();
    let (old_number, new_number) = (number(baseline), number(new));
    match rule(baseline.key.name) {
        Rule::Any | Rule::Schedule => false,
        Rule::AtMost(most) => {
            new_number.is_some_and(|new| new > most.max(old_number.unwrap_or(most)))
        }
        Rule::Raised => new_number < old_number,
        Rule::RaisedOrNone => match (old_number, new_number) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(old), Some(new)) => new < old,
        },
        Rule::Lowered => {
            old_number.is_some() && new_number.is_none_or(|new| Some(new) > old_number)
        }
        Rule::Shorter => span(new) > span(baseline),
        Rule::Words(words) => {
            let rank = |setting: &Setting| words.iter().position(|word| *word == setting.text());
            rank(new) < rank(baseline)
        }
        Rule::Host(_) => plain(baseline) != plain(new),
    }
}

fn span(setting: &Setting) -> Duration {
    kind::duration(setting.text()).unwrap_or_default()
}

/// Whether a key is one of those that are judged together, as one schedule.
pub(crate) fn is_of_schedule(key: &str) -> bool {
    matches!(rule(key), Rule::Schedule)
}

/// The value for people.
pub(crate) fn plain(setting: &Setting) -> String {
    let is_list = matches!(setting.value, Value::List(_));
    setting.shown(if is_list { "nobody" } else { "unset" })
}

/// Clocks that change make one day an hour longer.
const SLACK: SignedDuration = SignedDuration::from_hours(1);
/// More runs than one in this time are refused over HTTP.
const OFTEN: SignedDuration = SignedDuration::from_hours(1);
/// How far ahead, and how many runs of a schedule, are examined.
const AHEAD_DAYS: i64 = 400;
const RUNS: usize = 3_000;
/// A gap longer than two of these is found wherever it is.
const STEP: SignedDuration = SignedDuration::from_hours(12);

/// Whether `new` leaves longer gaps than `baseline`, or asks for runs so often that they are a burden.
pub(crate) fn is_sparser(baseline: &Schedule, new: &Schedule, now: Timestamp) -> bool {
    let (baseline, new) = (Gaps::of(baseline, now), Gaps::of(new, now));
    new.longest > baseline.longest + SLACK || new.shortest < baseline.shortest.min(OFTEN)
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
        // There are too many to examine each; only gaps of days remain to be found.
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
    use super::super::keys::Key;
    use super::*;
    use jiff::tz::TimeZone;

    fn setting(key: &str, text: &str) -> Setting {
        let key = Key::named(key).unwrap();
        let value = match text {
            "" => Value::Unset,
            text => Value::Text(text.to_owned()),
        };
        Setting {
            key,
            value,
            origin: String::new(),
            hidden: Vec::new(),
            item_lines: Vec::new(),
        }
    }

    #[test]
    fn a_weaker_value_is_recognised_in_every_direction() {
        for (key, baseline, weaker, as_strict) in [
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
            let baseline = setting(key, baseline);
            assert!(
                is_weaker(&baseline, &setting(key, weaker)),
                "{key} {weaker}"
            );
            assert!(
                !is_weaker(&baseline, &setting(key, as_strict)),
                "{key} {as_strict}"
            );
        }
        assert!(!is_weaker(
            &setting("archive.level", "15"),
            &setting("archive.level", "15")
        ));
    }

    #[test]
    fn every_changeable_key_exists_and_is_no_secret() {
        for name in changeable() {
            let key = Key::named(name).unwrap();
            assert!(!key.is_secret() && name.contains('.'), "{name}");
        }
    }

    fn cron(text: &str, zone: &str) -> Schedule {
        Schedule::new(text, TimeZone::get(zone).unwrap()).unwrap()
    }

    #[test]
    fn a_schedule_may_not_leave_longer_gaps_or_run_too_often() {
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
