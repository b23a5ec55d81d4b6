//! What can be recovered, along a line of time: each archive that is there, by what was proven of it, and the gaps between
//! them. Where a server's changes are kept, too, the band of every moment that can be recovered belongs into this picture;
//! nothing keeps them yet.

use super::shown::Clock;
use hubvault_engine::overview::{Recoverable, moment};
use hubvault_model::counted;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use minijinja::Value;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The picture goes no further back.
const LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);
/// And no less far.
const SHORTEST: SignedDuration = SignedDuration::from_hours(24);
/// Places for marks side by side, each as wide as one mark and the room around it.
const PLACES: i64 = 48;
const STEP: i64 = 16;
const HEIGHT: i64 = 44;
/// Where marks, and the words below them, are.
const TOP: i64 = 8;
const WORDS: i64 = 40;

/// The timeline, for a template.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Timeline {
    #[serde(skip)]
    svg: String,
    /// In a sentence.
    summary: String,
    /// Longer without an archive is a gap, in hours.
    gap_hours: u32,
    has_gap: bool,
    days: Vec<DayLine>,
}

/// A line of the table that says the same.
#[derive(Clone, Debug, Serialize)]
struct DayLine {
    date: String,
    proven: u32,
    unproven: u32,
    missing: u32,
    /// The longest time without an archive that ended on this day, where it is a gap.
    gap: Option<String>,
}

/// What is at one place of the picture, or on one day.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    proven: u32,
    unproven: u32,
    missing: u32,
}

impl Marks {
    fn add(&mut self, archive: &Recoverable) {
        let count = match (archive.is_there, archive.is_proven) {
            (false, _) => &mut self.missing,
            (true, true) => &mut self.proven,
            (true, false) => &mut self.unproven,
        };
        *count += 1;
    }

    fn mark(self) -> &'static str {
        match self {
            Self { proven: 1.., .. } => "proven",
            Self { unproven: 1.., .. } => "unproven",
            _ => "failed",
        }
    }

    fn text(self) -> String {
        let counts = [
            (self.proven, "proven"),
            (self.unproven, "not proven"),
            (self.missing, "missing"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let words: Vec<String> = counts
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        words.join(", ")
    }
}

/// A time without an archive.
type Gap = (Timestamp, Timestamp);

/// From the archives, the newest first. `root` is the address of the page, `job` the job for addresses.
pub(super) fn timeline(
    archives: &[Recoverable],
    gap_hours: u32,
    clock: &Clock,
    job: &str,
) -> Option<Timeline> {
    let is_past = |archive: &&Recoverable| archive.at <= clock.now;
    let oldest = archives.iter().rev().find(is_past)?.at;
    let length = clock.now.duration_since(oldest).clamp(SHORTEST, LONGEST);
    let begins = clock.now - length;
    let shown = archives.iter().filter(is_past);
    let (shown, older): (Vec<&Recoverable>, Vec<&Recoverable>) =
        shown.partition(|archive| archive.at >= begins);
    let gaps = gaps(
        &shown,
        older.first().copied(),
        begins.max(oldest),
        gap_hours,
        clock,
    );
    Some(Timeline {
        svg: picture(&shown, &gaps, begins, clock, job),
        summary: summary(&shown, &older, &gaps, clock),
        gap_hours,
        has_gap: !gaps.is_empty(),
        days: days(&shown, &gaps, clock),
    })
}

impl Timeline {
    /// The picture. It holds dates, numbers and ids of ours alone, and is not escaped again.
    pub(super) fn picture(&self) -> Value {
        Value::from_safe_string(self.svg.clone())
    }
}

/// The times longer than `hours` between two archives that are there, and since the newest one.
fn gaps(
    shown: &[&Recoverable],
    before: Option<&Recoverable>,
    begins: Timestamp,
    hours: u32,
    clock: &Clock,
) -> Vec<Gap> {
    let longest = SignedDuration::from_hours(i64::from(hours));
    let there = shown.iter().rev().filter(|archive| archive.is_there);
    let mut from = before.filter(|it| it.is_there).map_or(begins, |it| it.at);
    let mut gaps = Vec::new();
    for until in there.map(|archive| archive.at).chain([clock.now]) {
        if until.duration_since(from) > longest {
            gaps.push((from.max(begins), until));
        }
        from = until;
    }
    gaps
}

fn picture(
    shown: &[&Recoverable],
    gaps: &[Gap],
    begins: Timestamp,
    clock: &Clock,
    job: &str,
) -> String {
    let width = PLACES * STEP;
    let length = clock.now.duration_since(begins).as_secs().max(1);
    let at = |moment: Timestamp| moment.duration_since(begins).as_secs().clamp(0, length);
    let x = |moment: Timestamp| at(moment) * width / length;
    let mut svg = format!(
        "<svg class=\"timeline\" viewBox=\"0 0 {width} {HEIGHT}\" width=\"{width}\" height=\"{HEIGHT}\">"
    );
    for (from, until) in gaps {
        let (from_x, wide) = (x(*from), (x(*until) - x(*from)).max(2));
        let text = gap_text((*from, *until), clock);
        let _ = write!(
            svg,
            "<rect class=\"gap\" x=\"{from_x}\" y=\"2\" width=\"{wide}\" height=\"24\" fill=\"url(#gap)\">\
             <title>{text}</title></rect>"
        );
    }
    let _ = write!(svg, "<path class=\"axis\" d=\"M0 28H{width}\"/>");
    let mut places: BTreeMap<i64, (Marks, Vec<&Recoverable>)> = BTreeMap::new();
    for archive in shown {
        let place = (at(archive.at) * PLACES / length).min(PLACES - 1);
        let (marks, archives) = places.entry(place).or_default();
        marks.add(archive);
        archives.push(archive);
    }
    for (place, (marks, archives)) in places {
        let (x, mark, text) = (place * STEP + 3, marks.mark(), marks.text());
        let (Some(newest), Some(oldest)) = (archives.first(), archives.last()) else {
            continue;
        };
        let day = |archive: &Recoverable| date(archive.at, clock);
        let (link, when) = if archives.len() == 1 {
            (
                format!("./backups/{}", newest.id),
                moment(newest.at, &clock.zone),
            )
        } else {
            let (from, until) = (day(oldest), day(newest));
            let link = format!("./backups?job={job}&amp;from={from}&amp;until={until}");
            let when = format!(
                "{} to {}",
                moment(oldest.at, &clock.zone),
                moment(newest.at, &clock.zone)
            );
            (link, when)
        };
        let _ = write!(
            svg,
            "<a href=\"{link}\" tabindex=\"-1\"><title>{when}: {text}</title>\
             <use href=\"#day-{mark}\" class=\"{mark}\" x=\"{x}\" y=\"{TOP}\"/></a>"
        );
    }
    let (first, last) = (date(begins, clock), date(clock.now, clock));
    let _ = write!(
        svg,
        "<text x=\"0\" y=\"{WORDS}\">{first}</text><text x=\"{width}\" y=\"{WORDS}\" text-anchor=\"end\">{last}, now</text></svg>"
    );
    svg
}

fn date(at: Timestamp, clock: &Clock) -> Date {
    at.to_zoned(clock.zone.clone()).date()
}

fn gap_text((from, until): Gap, clock: &Clock) -> String {
    let hours = until.duration_since(from).as_hours().unsigned_abs();
    let (from, until) = (moment(from, &clock.zone), moment(until, &clock.zone));
    format!(
        "no archive for {}, {from} to {until}",
        counted(hours, "hour")
    )
}

fn summary(shown: &[&Recoverable], older: &[&Recoverable], gaps: &[Gap], clock: &Clock) -> String {
    let mut marks = Marks::default();
    for archive in shown {
        marks.add(archive);
    }
    let mut text = match (shown.first(), shown.last()) {
        (Some(newest), Some(oldest)) => format!(
            "{} from {} to {}: {}.",
            counted(shown.len() as u64, "archive"),
            moment(oldest.at, &clock.zone),
            moment(newest.at, &clock.zone),
            marks.text()
        ),
        _ => format!("No archive since {}.", date(clock.now - LONGEST, clock)),
    };
    if let Some(oldest) = older.last() {
        let count = counted(older.len() as u64, "older one");
        let _ = write!(text, " {count} back to {}.", date(oldest.at, clock));
    }
    for gap in gaps {
        let _ = write!(text, " A gap: {}.", gap_text(*gap, clock));
    }
    text
}

/// The days with an archive, or on which a gap ended, newest first.
fn days(shown: &[&Recoverable], gaps: &[Gap], clock: &Clock) -> Vec<DayLine> {
    let mut days: BTreeMap<Date, (Marks, Option<Gap>)> = BTreeMap::new();
    for archive in shown {
        let (marks, _) = days.entry(date(archive.at, clock)).or_default();
        marks.add(archive);
    }
    for gap in gaps {
        let (_, longest) = days.entry(date(gap.1, clock)).or_default();
        let length = |(from, until): Gap| until.duration_since(from);
        if longest.is_none_or(|known| length(known) < length(*gap)) {
            *longest = Some(*gap);
        }
    }
    let line = |(date, (marks, gap)): (Date, (Marks, Option<Gap>))| DayLine {
        date: date.to_string(),
        proven: marks.proven,
        unproven: marks.unproven,
        missing: marks.missing,
        gap: gap.map(|gap| gap_text(gap, clock)),
    };
    days.into_iter().rev().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_model::BackupId;
    use jiff::tz::TimeZone;

    fn clock() -> Clock {
        Clock {
            now: "2026-11-26T12:00:00Z".parse().unwrap(),
            zone: TimeZone::UTC,
        }
    }

    fn made(archives: &[(&str, bool, bool)]) -> Option<Timeline> {
        let archive = |(at, is_proven, is_there): &(&str, bool, bool)| Recoverable {
            id: BackupId::random(),
            at: at.parse().unwrap(),
            is_proven: *is_proven,
            is_there: *is_there,
        };
        let archives: Vec<Recoverable> = archives.iter().map(archive).collect();
        timeline(&archives, 26, &clock(), "hub")
    }

    #[test]
    fn archives_are_marks_and_long_times_without_one_are_gaps() {
        assert!(made(&[]).is_none());
        let made = made(&[
            ("2026-11-26T02:00:00Z", true, true),
            ("2026-11-25T02:00:00Z", false, true),
            ("2026-11-24T02:00:00Z", true, false),
            ("2026-11-20T02:00:00Z", true, true),
            ("2025-11-20T02:00:00Z", true, true),
        ])
        .unwrap();
        assert_eq!(made.svg.matches("<a ").count(), 4, "{}", made.svg);
        assert_eq!(made.svg.matches("class=\"gap\"").count(), 2, "{}", made.svg);
        assert_eq!(
            made.summary,
            "4 archives from 2026-11-20 02:00 UTC to 2026-11-26 02:00 UTC: 2 proven, 1 not proven, 1 missing. 1 older one \
             back to 2025-11-20. A gap: no archive for 566 hours, 2026-10-27 12:00 UTC to 2026-11-20 02:00 UTC. A gap: no \
             archive for 120 hours, 2026-11-20 02:00 UTC to 2026-11-25 02:00 UTC."
        );
        let lines: Vec<(&str, u32, u32, u32, bool)> = made
            .days
            .iter()
            .map(|day| {
                (
                    day.date.as_str(),
                    day.proven,
                    day.unproven,
                    day.missing,
                    day.gap.is_some(),
                )
            })
            .collect();
        assert_eq!(
            lines,
            [
                ("2026-11-26", 1, 0, 0, false),
                ("2026-11-25", 0, 1, 0, true),
                ("2026-11-24", 0, 0, 1, false),
                ("2026-11-20", 1, 0, 0, true),
            ]
        );
    }

    #[test]
    fn many_archives_of_a_short_time_are_one_mark() {
        let now = clock().now;
        let moments: Vec<String> = (0..2_000_i64)
            .map(|at| (now - SignedDuration::from_mins(at * 20)).to_string())
            .collect();
        let archives: Vec<(&str, bool, bool)> =
            moments.iter().map(|at| (at.as_str(), true, true)).collect();
        let made = made(&archives).unwrap();
        assert_eq!(made.svg.matches("<a ").count() as i64, PLACES);
        assert!(made.svg.len() < 20_000, "{}", made.svg.len());
        assert!(!made.has_gap);
    }
}
