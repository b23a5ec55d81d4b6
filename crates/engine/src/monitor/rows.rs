//! Tables whose rows changed so much between two archives that somebody should know.

use crate::catalog::{BackupRecord, Catalog, CatalogError, RunSummary, State};
use crate::job::RowLimits;
use crate::overview::{Presence, presence};
use hubvault_model::{counted, grouped};
use std::fmt;
use std::ops::ControlFlow;

/// Tables that had fewer rows say nothing by doubling or halving.
const FEW: u64 = 20;

/// What happened to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It lost many of its rows.
    Fell,
    /// It is not in the newer archive.
    Vanished,
    /// It has many more.
    Grew,
}

/// A table that changed too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// Its name for people.
    pub table: String,
    /// Rows in the earlier archive.
    pub before: u64,
    /// Rows in the newer one.
    pub after: u64,
    /// What happened.
    pub change: Change,
}

impl RowChange {
    /// Whether the earlier archive holds rows that the newer one seems to lack.
    pub fn is_loss(&self) -> bool {
        self.change != Change::Grew
    }
}

impl fmt::Display for RowChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, after) = (&self.table, grouped(self.after));
        let before = counted(self.before, "row");
        match self.change {
            Change::Fell => write!(f, "{table} fell from {before} to {after}"),
            Change::Vanished => {
                write!(f, "{table}, which had {before}, is not there any more")
            }
            Change::Grew => write!(f, "{table} grew from {before} to {after}"),
        }
    }
}

/// The archive of the same job that `record` is held against: the newest proven one that began before it and
/// still lies there; where none is proven, the newest of any kind.
pub fn proven_before(
    catalog: &Catalog,
    record: &BackupRecord,
) -> Result<Option<BackupRecord>, CatalogError> {
    let mut found = None;
    catalog.each_summary(Some(&record.job), |RunSummary { run, .. }| {
        let is_earlier = run.id != record.id && run.started_at <= record.started_at;
        if !is_earlier || !is_better(&run, found.as_ref()) || presence(&run) != Presence::Present {
            return Ok(ControlFlow::Continue(()));
        }
        let is_proven = run.state == State::Proven;
        found = Some(catalog.whole(&run)?);
        Ok(if is_proven {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    Ok(found)
}

/// Whether a newer archive is held against `run` rather than against `found`, which began later.
pub(super) fn is_better(run: &BackupRecord, found: Option<&BackupRecord>) -> bool {
    found.is_none_or(|found| found.state != State::Proven && run.state == State::Proven)
}

/// Holds the tables of `newer` against those of `last_proven`, in the order of the latter. A table of which
/// another part is taken now cannot be compared and is left out.
pub fn compare_rows(
    last_proven: &BackupRecord,
    newer: &BackupRecord,
    limits: RowLimits,
) -> Vec<RowChange> {
    let mut changes = Vec::new();
    for old in last_proven.tables.iter().filter(|table| table.rows >= FEW) {
        let new = newer.tables.iter().find(|table| table.name == old.name);
        let after = new.map_or(0, |table| table.rows);
        let change = match new {
            None => Change::Vanished,
            Some(new) if new.coverage != old.coverage => continue,
            Some(_) => match direction(old.rows, after, limits) {
                Some(change) => change,
                None => continue,
            },
        };
        changes.push(RowChange {
            table: old.name.clone(),
            before: old.rows,
            after,
            change,
        });
    }
    changes
}

/// In 128 bits, where no product of rows and percent overflows.
fn direction(before: u64, after: u64, limits: RowLimits) -> Option<Change> {
    let part = |rows: u64| u128::from(rows) * 100;
    let of_before = |percent: u32| u128::from(before) * u128::from(percent);
    if after < before {
        let all = limits.fell_percent >= 100 && after == 0;
        let fell = part(before - after) > of_before(limits.fell_percent);
        return (fell || all).then_some(Change::Fell);
    }
    let grew = part(after - before) >= of_before(limits.grew_percent);
    (grew && limits.grew_percent > 0).then_some(Change::Grew)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::TableRecord;
    use hubvault_archive::Coverage;
    use hubvault_model::BackupId;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn record(tables: &[(&str, u64)]) -> BackupRecord {
        let table = |(name, rows): &(&str, u64)| TableRecord {
            name: (*name).to_owned(),
            rows: *rows,
            bytes: 0,
            digest: String::new(),
            coverage: Coverage::Whole,
        };
        BackupRecord {
            tables: tables.iter().map(table).collect(),
            ..BackupRecord::begun(BackupId::random(), "hub", Timestamp::UNIX_EPOCH)
        }
    }

    fn said(before: &[(&str, u64)], after: &[(&str, u64)]) -> Vec<String> {
        compare_rows(&record(before), &record(after), RowLimits::default())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn more_than_half_gone_a_table_gone_and_twice_as_many_are_told() {
        let before = [
            ("half", 1_000),
            ("more", 1_000),
            ("gone", 20),
            ("twice", 50),
            ("few", 19),
        ];
        let after = [
            ("half", 500),
            ("more", 499),
            ("twice", 100),
            ("few", 0),
            ("new", 9_000),
        ];
        assert_eq!(
            said(&before, &after),
            [
                "more fell from 1,000 rows to 499",
                "gone, which had 20 rows, is not there any more",
                "twice grew from 50 rows to 100",
            ]
        );
    }

    #[test]
    fn another_part_of_a_table_is_not_compared() {
        let (before, mut after) = (record(&[("a", 1_000)]), record(&[("a", 10)]));
        after.tables[0].coverage = Coverage::Window;
        assert_eq!(compare_rows(&before, &after, RowLimits::default()), []);
    }

    proptest! {
        #[test]
        fn what_is_equal_is_silent_and_an_emptied_table_is_not(
            rows in FEW..u64::MAX, fell in 1..=100_u32, grew in 0..1_000_u32,
        ) {
            let limits = RowLimits { fell_percent: fell, grew_percent: grew };
            let of = |rows| record(&[("a", rows)]);
            prop_assert_eq!(compare_rows(&of(rows), &of(rows), limits), vec![]);
            let emptied = compare_rows(&of(rows), &of(0), limits);
            prop_assert_eq!(emptied.len(), 1);
            prop_assert!(emptied[0].is_loss());
        }
    }
}
