//! Rows of an archive beside the same rows of the living database.

use super::browse::BrowsedRow;
use super::error::RestoreError;
use super::values::Value;
use hubvault_archive::TableSummary;
use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, LiveRows, Session, live_rows};

/// What became of a row since the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Every value that both have is the same.
    Same,
    /// Columns with another value, by their numbers in the archive, with the beginning of the value that they have now.
    Changed(Vec<(usize, Value)>),
    /// It is not in the database.
    Missing,
    /// What was compared is the same, but these columns begin alike and are too long to compare here.
    TooLong(Vec<usize>),
}

/// Rows beside those of the living database.
#[derive(Debug)]
pub struct LiveComparison {
    /// One for each row that was given.
    pub rows: Vec<Beside>,
    /// The columns of the primary key.
    pub key: Vec<String>,
    /// Columns that the live table does not have, or computes: they were not compared.
    pub not_compared: Vec<String>,
}

/// Looks up rows of an archive in the living database. Nothing is changed there. Values are compared in what is `keep`
/// characters long at most.
pub fn compare_live(
    to: &ConnectSettings,
    table: &TableSummary,
    rows: &[BrowsedRow],
    keep: usize,
    cancel: &Cancel,
) -> Result<LiveComparison, RestoreError> {
    // Somebody waits for the answer.
    let to = ConnectSettings {
        attempts: 1,
        ..to.clone()
    };
    let mut session = Session::at_source(&to, cancel)?;
    let keys = |key: &[String]| {
        rows.iter()
            .filter_map(|row| key_of(table, row, key))
            .collect()
    };
    let found = live_rows(&mut session, &table.name, &table.columns, keys, keep + 1)?;
    let Some(found) = found else {
        let table = table.name.clone();
        return Err(RestoreError::NotThere { table });
    };
    if found.key.is_empty() {
        let table = table.name.clone();
        return Err(RestoreError::NoKey { table });
    }
    let not_compared = table
        .columns
        .iter()
        .filter(|name| !found.columns.contains(name));
    Ok(LiveComparison {
        rows: rows.iter().map(|row| beside(table, row, &found)).collect(),
        not_compared: not_compared.cloned().collect(),
        key: found.key,
    })
}

/// The key of a row; `None` where it is not whole.
fn key_of(table: &TableSummary, row: &BrowsedRow, key: &[String]) -> Option<Vec<String>> {
    let value = |name: &String| {
        let at = table.columns.iter().position(|column| column == name)?;
        let value = row.values.get(at)?;
        value.text.clone().filter(|_| !value.is_cut)
    };
    key.iter().map(value).collect()
}

fn beside(table: &TableSummary, row: &BrowsedRow, found: &LiveRows) -> Beside {
    let key = key_of(table, row, &found.key);
    let Some(live) = key.and_then(|key| found.rows.get(&key)) else {
        return Beside::Missing;
    };
    let (mut changed, mut too_long) = (Vec::new(), Vec::new());
    for (name, now) in found.columns.iter().zip(live) {
        let at = table.columns.iter().position(|column| column == name);
        let Some((at, then)) = at.and_then(|at| Some((at, row.values.get(at)?))) else {
            continue;
        };
        let is_alike = match (&then.text, now) {
            (Some(then), Some(now)) => now.starts_with(then.as_str()),
            _ => false,
        };
        if then.is_cut && is_alike {
            too_long.push(at);
        } else if then.is_cut || then.text != *now {
            let text = now.clone();
            changed.push((
                at,
                Value {
                    text,
                    is_cut: false,
                },
            ));
        }
    }
    match (changed.is_empty(), too_long.is_empty()) {
        (false, _) => Beside::Changed(changed),
        (true, false) => Beside::TooLong(too_long),
        (true, true) => Beside::Same,
    }
}
