//! How many rows each table had in the backups before: a line as small as a word.

use hubvault_engine::catalog::{
    BackupRecord, Catalog, CatalogError, Order, Selection, State, TableRecord,
};
use hubvault_model::{counted, grouped};
use jiff::SignedDuration;
use minijinja::{Value, context};
use std::collections::HashMap;
use std::fmt::Write;

/// So many backups are looked at, this one included.
pub(super) const BACKUPS: u32 = 30;
/// So many runs are read for that: those that failed have no rows.
const RUNS: u64 = 60;
/// Width and height of the picture, and the room around its line.
const WIDTH: f64 = 100.0;
const HEIGHT: f64 = 20.0;
const MARGIN: f64 = 2.0;

/// The rows of tables in a backup and those before it, oldest first.
pub(super) struct Growth {
    rows: HashMap<String, Vec<u64>>,
}

impl Growth {
    /// Of these tables of a backup.
    pub(super) fn of(
        catalog: &Catalog,
        record: &BackupRecord,
        tables: &[&TableRecord],
    ) -> Result<Self, CatalogError> {
        // Days begin with a whole second, and so does what is asked for; several runs may begin in one.
        let until = record.started_at.checked_add(SignedDuration::from_secs(1));
        let before = Selection {
            until: until.ok(),
            order: Order::Began,
            limit: RUNS,
            ..Selection::default()
        };
        let (_, mut before) = catalog.select(&before)?;
        before.retain(|it| {
            let one = &it.run;
            let is_whole = matches!(one.state, State::Proven | State::Unproven);
            is_whole && one.job == record.job && one.started_at < record.started_at
        });
        before.truncate(BACKUPS as usize - 1);
        let before: Vec<BackupRecord> = before
            .iter()
            .map(|it| catalog.whole(&it.run))
            .collect::<Result<_, _>>()?;
        Ok(Self::between(before.iter().rev(), tables))
    }

    fn between<'a>(
        before: impl Iterator<Item = &'a BackupRecord>,
        tables: &[&TableRecord],
    ) -> Self {
        let mut rows: HashMap<String, Vec<u64>> = HashMap::new();
        let now: HashMap<&str, &TableRecord> = tables
            .iter()
            .map(|table| (table.name.as_str(), *table))
            .collect();
        // Rows of a window and all rows are not the same number.
        let is_same = |table: &&TableRecord| {
            (now.get(table.name.as_str())).is_some_and(|now| now.coverage == table.coverage)
        };
        for table in before.flat_map(|one| one.tables.iter().filter(is_same)) {
            rows.entry(table.name.clone()).or_default().push(table.rows);
        }
        for table in tables {
            rows.entry(table.name.clone()).or_default().push(table.rows);
        }
        Self { rows }
    }

    /// The line of a table and what it shows; nothing where no backup before had it.
    pub(super) fn shown(&self, table: &str) -> Option<Value> {
        trend(self.rows.get(table)?, " rows", grouped)
    }
}

/// The line of a number in the last backups, oldest first, and what it shows; nothing where there was one.
pub(super) fn trend(numbers: &[u64], unit: &str, say: impl Fn(u64) -> String) -> Option<Value> {
    let (first, last) = (
        numbers.first()?,
        numbers.last().filter(|_| numbers.len() > 1)?,
    );
    let (lowest, most) = (numbers.iter().min()?, numbers.iter().max()?);
    let backups = counted(numbers.len() as u64, "backup");
    let mut text = format!("{} to {}{unit} in {backups}", say(*first), say(*last));
    if lowest < first.min(last) {
        let _ = write!(text, ", at least {}", say(*lowest));
    }
    if most > first.max(last) {
        let _ = write!(text, ", at most {}", say(*most));
    }
    Some(context! { line => line(numbers, *lowest, *most), text })
}

/// The points of a picture of `WIDTH` by `HEIGHT`. What never changed is a line in the middle.
fn line(rows: &[u64], least: u64, most: u64) -> String {
    let (right, range) = ((rows.len() - 1).max(1) as f64, (most - least) as f64);
    let mut points = String::new();
    for (at, rows) in rows.iter().enumerate() {
        let x = MARGIN + at as f64 / right * (WIDTH - 2.0 * MARGIN);
        let share = if range > 0.0 {
            (rows - least) as f64 / range
        } else {
            0.5
        };
        let y = HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN);
        let gap = if at == 0 { "" } else { " " };
        let _ = write!(points, "{gap}{x:.1},{y:.1}");
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rows: &[u64]) -> Option<(String, String)> {
        let growth = Growth {
            rows: HashMap::from([("t".to_owned(), rows.to_vec())]),
        };
        let shown = growth.shown("t")?;
        let part = |name: &str| shown.get_attr(name).map(|part| part.to_string());
        Some((part("line").ok()?, part("text").ok()?))
    }

    #[test]
    fn a_line_says_where_it_began_and_ends_and_what_was_beyond() {
        assert_eq!(shown(&[7]), None);
        let (line, text) = shown(&[0, 0]).unwrap();
        assert_eq!(
            (line.as_str(), text.as_str()),
            ("2.0,10.0 98.0,10.0", "0 to 0 rows in 2 backups")
        );
        let (line, text) = shown(&[1000, u64::MAX, 10, 2000]).unwrap();
        assert_eq!(line, "2.0,18.0 34.0,2.0 66.0,18.0 98.0,18.0");
        assert_eq!(
            text,
            "1,000 to 2,000 rows in 4 backups, at least 10, at most 18,446,744,073,709,551,615"
        );
    }
}
