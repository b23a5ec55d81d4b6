//! The calendar of proof: a year of days, each with the best that was proven on it. Colour, shape and word say the same.

use super::shown::Clock;
use hubvault_engine::catalog::State;
use hubvault_engine::overview::RunMark;
use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::{SignedDuration, ToSpan};
use minijinja::Value;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

const WEEKS: i32 = 53;
/// From one day to the next, in units of the picture.
const STEP: i32 = 14;
/// Left of the days, for their names, and above them, for the months.
const MARGIN: (i32, i32) = (30, 18);

/// The calendar, for a template.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Calendar {
    #[serde(skip)]
    svg: String,
    /// In a sentence.
    summary: String,
    months: Vec<Month>,
}

/// A line of the table that says the same.
#[derive(Clone, Debug, Default, Serialize)]
struct Month {
    name: String,
    from: String,
    until: String,
    proven: u32,
    unproven: u32,
    failed: u32,
    none: u32,
    /// Days with runs of which none was proven.
    bad_days: Vec<String>,
}

/// Runs of one day by state.
#[derive(Clone, Copy, Debug, Default)]
struct Day {
    proven: u32,
    unproven: u32,
    failed: u32,
}

impl Day {
    fn mark(self) -> &'static str {
        match self {
            Self { proven: 1.., .. } => "proven",
            Self { unproven: 1.., .. } => "unproven",
            Self { failed: 1.., .. } => "failed",
            _ => "none",
        }
    }

    /// `1 proven, 2 failed`.
    fn text(self) -> String {
        let counts = [
            (self.proven, "proven"),
            (self.unproven, "unproven"),
            (self.failed, "failed"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let words: Vec<String> = counts
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        words.join(", ")
    }
}

/// The first moment that it shows.
fn begins(clock: &Clock) -> Timestamp {
    let first = first_day(clock);
    let midnight = first.to_zoned(clock.zone.clone());
    midnight.map_or(clock.now - SignedDuration::from_hours(24 * 371), |at| {
        at.timestamp()
    })
}

fn today(clock: &Clock) -> Date {
    clock.now.to_zoned(clock.zone.clone()).date()
}

/// The Monday of the first week.
fn first_day(clock: &Clock) -> Date {
    let today = today(clock);
    let since_monday = i32::from(today.weekday().since(Weekday::Monday));
    today.saturating_sub((since_monday + 7 * (WEEKS - 1)).days())
}

/// From the runs of the year; `link` is the address of a day's backups, up to its date.
pub(super) fn calendar(marks: &[RunMark], clock: &Clock, link: &str) -> Calendar {
    let mut days: BTreeMap<Date, Day> = BTreeMap::new();
    let begins = begins(clock);
    for mark in marks.iter().filter(|mark| mark.started_at >= begins) {
        let date = mark.started_at.to_zoned(clock.zone.clone()).date();
        let day = days.entry(date).or_default();
        match mark.state {
            State::Proven => day.proven += 1,
            State::Unproven => day.unproven += 1,
            State::Failed => day.failed += 1,
            State::Running => {}
        }
    }
    let (first, today) = (first_day(clock), today(clock));
    let shown = first.series(1.day()).take_while(|date| *date <= today);
    let all: Vec<(Date, Day)> = shown
        .map(|date| (date, days.get(&date).copied().unwrap_or_default()))
        .collect();
    Calendar {
        svg: picture(&all, link),
        summary: summary(&all),
        months: months(&all),
    }
}

impl Calendar {
    /// The picture. It holds dates and numbers of ours alone, and is not escaped again.
    pub(super) fn picture(&self) -> Value {
        Value::from_safe_string(self.svg.clone())
    }
}

fn picture(all: &[(Date, Day)], link: &str) -> String {
    let (width, height) = (MARGIN.0 + WEEKS * STEP, MARGIN.1 + 7 * STEP);
    let mut svg = format!(
        "<svg class=\"calendar\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">"
    );
    for (row, name) in [(0, "Mon"), (2, "Wed"), (4, "Fri")] {
        let y = MARGIN.1 + row * STEP + 9;
        let _ = write!(svg, "<text x=\"0\" y=\"{y}\">{name}</text>");
    }
    let mut month = 0;
    for (at, (date, day)) in all.iter().enumerate() {
        let at = i32::try_from(at).unwrap_or(i32::MAX);
        let (x, y) = (MARGIN.0 + at / 7 * STEP, MARGIN.1 + at % 7 * STEP);
        if at % 7 == 0 && date.month() != month {
            // A name that the next one would touch is left out.
            if month != 0 || date.day() <= 14 {
                let _ = write!(
                    svg,
                    "<text x=\"{x}\" y=\"10\">{}</text>",
                    date.strftime("%b")
                );
            }
            month = date.month();
        }
        let mark = day.mark();
        if mark == "none" {
            let _ = write!(svg, "<use href=\"#day-none\" x=\"{x}\" y=\"{y}\"/>");
        } else {
            let text = day.text();
            let _ = write!(
                svg,
                "<a href=\"{link}{date}\" tabindex=\"-1\"><title>{date}: {text}</title>\
                 <use href=\"#day-{mark}\" class=\"{mark}\" x=\"{x}\" y=\"{y}\"/></a>"
            );
        }
    }
    svg + "</svg>"
}

fn summary(all: &[(Date, Day)]) -> String {
    let count = |mark: &str| all.iter().filter(|(_, day)| day.mark() == mark).count();
    format!(
        "The last {} days: {} with a proven backup, {} with an unproven one, {} on which every run failed, {} without a run.",
        all.len(),
        count("proven"),
        count("unproven"),
        count("failed"),
        count("none")
    )
}

fn months(all: &[(Date, Day)]) -> Vec<Month> {
    let mut months: Vec<Month> = Vec::new();
    for (date, day) in all.iter().rev() {
        let name = date.strftime("%B %Y").to_string();
        if months.last().is_none_or(|month| month.name != name) {
            months.push(Month {
                name,
                from: date.first_of_month().to_string(),
                until: date.last_of_month().to_string(),
                ..Month::default()
            });
        }
        let Some(month) = months.last_mut() else {
            continue;
        };
        match day.mark() {
            "proven" => month.proven += 1,
            "unproven" => month.unproven += 1,
            "failed" => month.failed += 1,
            _ => month.none += 1,
        }
        if ["unproven", "failed"].contains(&day.mark()) {
            month.bad_days.push(date.to_string());
        }
    }
    months
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    #[test]
    fn a_day_shows_the_best_of_its_runs_in_the_zone_of_the_job() {
        let clock = Clock {
            now: "2026-11-26T12:00:00Z".parse().unwrap(),
            zone: TimeZone::get("Europe/Berlin").unwrap(),
        };
        let mark = |at: &str, state| RunMark {
            started_at: at.parse().unwrap(),
            state,
        };
        let marks = [
            mark("2026-11-24T23:30:00Z", State::Failed),
            mark("2026-11-25T10:00:00Z", State::Proven),
            mark("2026-11-24T02:00:00Z", State::Unproven),
            mark("2026-11-01T02:00:00Z", State::Failed),
        ];
        let made = calendar(&marks, &clock, "./backups?day=");
        for part in [
            "<a href=\"./backups?day=2026-11-25\" tabindex=\"-1\"><title>2026-11-25: 1 proven, 1 failed</title>",
            "<title>2026-11-24: 1 unproven</title>",
            "class=\"failed\"",
        ] {
            assert!(made.svg.contains(part), "{part} in {}", made.svg);
        }
        assert_eq!(made.svg.matches("<a ").count(), 3);
        let november = &made.months[0];
        assert_eq!(
            (november.name.as_str(), november.until.as_str()),
            ("November 2026", "2026-11-30")
        );
        assert_eq!(
            (november.proven, november.unproven, november.failed),
            (1, 1, 1)
        );
        assert_eq!(november.bad_days, ["2026-11-24", "2026-11-01"]);
        assert!(
            made.summary.starts_with("The last 368 days: 1 with"),
            "{}",
            made.summary
        );
        assert_eq!(begins(&clock).to_string(), "2025-11-23T23:00:00Z");
    }
}
