//! What somebody was shown before a restore, held against what it finds.

use super::error::RestoreError;
use hubvault_model::{TableName, counted};
use hubvault_postgres::{Session, target, target_facts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What would be done with a table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PreviewTable {
    /// Its name in the target.
    pub table: String,
    /// Whether it would be made.
    pub is_made: bool,
    /// Rows that would be inserted.
    pub inserted: u64,
    /// Rows that would be overwritten.
    pub overwritten: u64,
    /// A checksum of them as they are.
    #[serde(default)]
    pub checksum: i64,
}

/// As much of a [`super::Preview`] as a restore is held against.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Previewed {
    tables: Vec<PreviewTable>,
    lost: BTreeMap<String, u64>,
}

impl Previewed {
    /// An error where other rows were put back or overwritten than somebody was shown.
    pub(super) fn compare(&self, done: &PreviewTable) -> Result<(), RestoreError> {
        let name = &done.table;
        let shown = self.tables.iter().find(|shown| shown.table == *name);
        let shown = shown.cloned().unwrap_or_default();
        let rows = |table: &PreviewTable| {
            let put_back = counted(table.inserted, "row");
            format!(
                "{put_back} to put back and {} to overwrite",
                table.overwritten
            )
        };
        let (then, now) = (rows(&shown), rows(done));
        if now != then {
            return Err(changed(format!("{name} had {then}, and has {now} now")));
        }
        if shown.checksum != done.checksum {
            let what = format!("rows of {name} that would be overwritten have other values now");
            return Err(changed(what));
        }
        Ok(())
    }

    /// An error where tables that are to be dropped, and are locked, have other numbers of rows than somebody was shown, or
    /// are others.
    pub(super) fn compare_dropped(
        &self,
        session: &mut Session,
        tables: &[TableName],
    ) -> Result<(), RestoreError> {
        let now = target_facts::row_counts(session, tables)?;
        let differs = |(name, rows): &(&String, &u64)| self.lost.get(*name) != Some(*rows);
        let Some((name, rows)) = now.iter().find(differs) else {
            return Ok(());
        };
        let then = self.lost.get(name);
        let then = then.map_or_else(
            || "was not there".to_owned(),
            |it| format!("had {}", counted(*it, "row")),
        );
        let now = counted(*rows, "row");
        Err(changed(format!("{name} {then}, and has {now} now")))
    }
}

/// Locks tables that are to be dropped: until the transaction ends nobody writes to them, and none gets a partition.
pub(super) fn lock_dropped(
    session: &mut Session,
    tables: &[TableName],
) -> Result<(), RestoreError> {
    for table in tables {
        if target::is_table(session, table)? {
            let lock = format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", table.sql());
            session.simple(&format!("locking {table}"), &lock)?;
        }
    }
    Ok(())
}

/// The error where partitions of relations that are dropped are none of these: DROP TABLE takes them with it, and says
/// nothing.
pub(super) fn other_partitions(
    session: &mut Session,
    dropped: &[TableName],
) -> Result<Option<RestoreError>, RestoreError> {
    let found = target_facts::other_partitions(session, dropped)?;
    let names = found.iter().map(ToString::to_string).collect();
    Ok((!found.is_empty()).then_some(RestoreError::OtherPartitions { names }))
}

fn changed(what: String) -> RestoreError {
    RestoreError::ChangedSince { what }
}
