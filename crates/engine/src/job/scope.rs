//! Which tables, and which of their rows.

use hubvault_model::{TableName, TablePattern};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// What is in: whole tables and windows of tables.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Tables that are taken whole.
    pub tables: Vec<TablePattern>,
    /// Tables that are left out of both lists.
    pub exclude: Vec<TablePattern>,
    /// What to do about a named table that does not exist.
    pub missing: MissingPolicy,
    /// Tables of which some rows are taken.
    pub windows: Vec<Window>,
    /// Whether its tables are the Bash system's, because nothing names any. Those that do not exist are one warning;
    /// where none of them exists, the whole database is taken.
    pub by_default: bool,
}

impl Scope {
    /// Whether it takes rows of a table of this name.
    pub fn takes(&self, table: &TableName) -> bool {
        let windows = self.windows.iter().flat_map(|window| &window.tables);
        let mut patterns = windows.chain(&self.tables);
        patterns.any(|pattern| pattern.matches(table))
            && !self.exclude.iter().any(|pattern| pattern.matches(table))
    }
}

/// What to do about something named that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingPolicy {
    /// A warning: exit code 3, in the INFO, the manifest and every report.
    #[default]
    Warn,
    /// An error before anything is exported.
    Fail,
}

/// Some rows of some tables.
#[derive(Clone, Debug)]
pub struct Window {
    /// The tables.
    pub tables: Vec<TablePattern>,
    /// Which of their rows.
    pub rows: WindowRows,
    /// What about the rows that these refer to.
    pub references: ReferencePolicy,
    /// Whether it is one of the Bash system's: it takes only tables that exist and that nothing else takes.
    pub by_default: bool,
}

impl Window {
    /// Whether the configuration gives its condition as SQL.
    pub(crate) fn has_own_condition(&self) -> bool {
        matches!(self.rows, WindowRows::Where(_))
    }
}

/// What to do about rows outside a window that its rows refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferencePolicy {
    /// They are taken, too, and what they refer to.
    #[default]
    Include,
    /// They stay out; the foreign keys come back `NOT VALID`, which is said.
    Warn,
}

/// Which rows a window takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowRows {
    /// Those whose `column` is not older than `length` at the moment of the snapshot.
    Recent {
        /// A date or timestamp column.
        column: String,
        /// A `PostgreSQL` interval such as `3 months`.
        length: String,
        /// Whether the first day is taken whole: from its midnight, in this zone.
        midnight: Option<TimeZone>,
    },
    /// Those for which an SQL expression is true.
    Where(String),
}

/// The midnight that begins the day `length` before the day of `at`; `None` where a calendar cannot say.
pub(crate) fn midnight_before(at: Timestamp, length: &str, zone: &TimeZone) -> Option<Timestamp> {
    let mut day = at.to_zoned(zone.clone()).start_of_day().ok()?;
    let words: Vec<&str> = length.split_whitespace().collect();
    for pair in words.chunks(2) {
        let [count, unit] = *pair else { return None };
        let (count, span) = (count.parse::<i64>().ok()?, Span::new());
        let span = match unit.strip_suffix('s').unwrap_or(unit) {
            "hour" => span.try_hours(count),
            "day" => span.try_days(count),
            "week" => span.try_weeks(count),
            "month" => span.try_months(count),
            "year" => span.try_years(count),
            _ => return None,
        };
        day = day.checked_sub(span.ok()?).ok()?;
    }
    Some(day.start_of_day().ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_at_midnight_of_its_zone_also_where_clocks_change() {
        for (at, length, zone, from) in [
            // Berlin: summer time in May, winter time in February.
            (
                "2026-05-31T01:30:00Z",
                "3 months",
                "Europe/Berlin",
                "2026-02-27T23:00:00Z",
            ),
            (
                "2026-05-30T22:30:00Z",
                "3 months",
                "Europe/Berlin",
                "2026-02-27T23:00:00Z",
            ),
            (
                "2026-05-30T21:30:00Z",
                "3 months",
                "Europe/Berlin",
                "2026-02-27T23:00:00Z",
            ),
            (
                "2026-03-30T10:00:00Z",
                "1 day",
                "Europe/Berlin",
                "2026-03-28T23:00:00Z",
            ),
            (
                "2026-03-29T10:00:00Z",
                "36 hours",
                "UTC",
                "2026-03-27T00:00:00Z",
            ),
            // On this day clocks go from 00:00 to 01:00.
            (
                "2026-03-09T12:00:00Z",
                "1 day",
                "America/Havana",
                "2026-03-08T05:00:00Z",
            ),
            (
                "2026-05-31T01:30:00Z",
                "1 year 1 week",
                "UTC",
                "2025-05-24T00:00:00Z",
            ),
        ] {
            let zone = TimeZone::get(zone).unwrap();
            let found = midnight_before(at.parse().unwrap(), length, &zone);
            assert_eq!(found, Some(from.parse().unwrap()), "{at} {length}");
        }
        assert_eq!(
            midnight_before(Timestamp::UNIX_EPOCH, "3 moons", &TimeZone::UTC),
            None
        );
        assert_eq!(
            midnight_before(Timestamp::UNIX_EPOCH, "99999999 years", &TimeZone::UTC),
            None
        );
    }
}
