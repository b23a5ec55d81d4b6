//! Compares an archive with a live database row by row, and restores only the rows that are missing or changed.

use super::error::RestoreError;
use super::order::parents_first;
use super::rows::load_entry;
use super::window::Conditions;
use crate::progress::{Progress, Stage};
use hubvault_archive::{Archive, Source, TableSummary};
use hubvault_model::{Cancel, TableName, TablePattern};
use hubvault_postgres::{ConnectSettings, Difference, DifferentRow, Session, StagedTable, target};
use std::io;

/// How one table differs.
#[derive(Debug)]
pub struct TableDiff {
    /// The table.
    pub name: TableName,
    /// Whether rows are told apart by a primary key; else by all of their values, and none counts
    /// as changed.
    pub has_key: bool,
    /// Whether rows that are only in the database can be known: not of a table of which the
    /// archive holds rows that others refer to.
    pub knows_extra: bool,
    /// Rows that are only in the archive.
    pub missing: u64,
    /// Rows that are in both, with other values.
    pub changed: u64,
    /// Rows that are only in the database.
    pub extra: u64,
}

impl TableDiff {
    /// Whether no row differs.
    pub fn is_equal(&self) -> bool {
        self.missing + self.changed + self.extra == 0
    }

    fn count(&mut self, difference: Difference) {
        match difference {
            Difference::Missing => self.missing += 1,
            Difference::Changed => self.changed += 1,
            Difference::Extra => self.extra += 1,
        }
    }
}

/// What was restored into one table.
#[derive(Debug)]
pub struct PutBack {
    /// The table.
    pub name: TableName,
    /// Rows that were missing.
    pub inserted: u64,
    /// Rows that had other values.
    pub updated: u64,
}

/// Which rows of the archive's tables differ from a live database. Nothing is changed there but
/// temporary tables of this session, and what is compared is read in READ ONLY transactions. Every row that differs is
/// passed to `each`, with the index of its table in the result.
pub fn diff<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    wanted: &[TablePattern],
    conditions: Conditions<'_>,
    each: &mut dyn FnMut(usize, DifferentRow) -> io::Result<()>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<TableDiff>, RestoreError> {
    let chosen = super::chosen(archive.manifest(), wanted)?;
    // A condition that may not be run is an error before anything is done.
    let living = chosen.iter().map(|table| conditions.living(table));
    let living = living.collect::<Result<Vec<_>, _>>()?;
    let mut session = Session::connect(to, cancel)?;
    target::only_tables(&mut session)?;
    progress.stage(
        Stage::Compare,
        Some(chosen.iter().map(|table| table.bytes).sum()),
    );
    let mut found = Vec::new();
    for (number, (table, within)) in chosen.into_iter().zip(living).enumerate() {
        let staged = stage(archive, &mut session, table, number, progress)?;
        let mut counted = TableDiff {
            name: table.name.clone(),
            has_key: staged.has_key(),
            knows_extra: within.is_some(),
            missing: 0,
            changed: 0,
            extra: 0,
        };
        staged.differences(&mut session, within.as_deref(), |row| {
            counted.count(row.difference);
            each(number, row).map_err(|source| RestoreError::Differences { source })
        })?;
        staged.finish(&mut session)?;
        found.push(counted);
    }
    Ok(found)
}

/// Inserts rows that are only in the archive, and with `update` also overwrites rows that have other
/// values. All in one transaction.
pub fn put_back<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    wanted: &[TablePattern],
    update: bool,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<PutBack>, RestoreError> {
    let mut session = Session::connect(to, cancel)?;
    target::only_tables(&mut session)?;
    let chosen = super::chosen(archive.manifest(), wanted)?;
    for table in &chosen {
        there(&mut session, table)?;
    }
    let chosen = parents_first(&mut session, chosen)?;
    progress.stage(
        Stage::Rows,
        Some(chosen.iter().map(|table| table.bytes).sum()),
    );
    let mut staged = Vec::new();
    for (number, table) in chosen.into_iter().enumerate() {
        staged.push((
            table,
            stage(archive, &mut session, table, number, progress)?,
        ));
    }
    session.simple("beginning", "BEGIN; SET CONSTRAINTS ALL DEFERRED")?;
    let mut done = Vec::new();
    for (table, staged) in &staged {
        let inserted = staged.insert_missing(&mut session)?;
        let updated = if update {
            staged.update_changed(&mut session)?
        } else {
            0
        };
        done.push(PutBack {
            name: table.name.clone(),
            inserted,
            updated,
        });
    }
    session.simple("making it lasting", "COMMIT")?;
    Ok(done)
}

fn stage<S: Source>(
    archive: &Archive<S>,
    session: &mut Session,
    table: &TableSummary,
    number: usize,
    progress: &dyn Progress,
) -> Result<StagedTable, RestoreError> {
    there(session, table)?;
    let staged = StagedTable::prepare(session, &table.name, &table.columns, number)?;
    for entry in archive.entries_of(table) {
        if let Some(rows) = &entry.rows {
            load_entry(archive, session, entry, rows, &staged.copy_sql(), progress)?;
        }
    }
    Ok(staged)
}

/// Checks that a name of the archive is a table in the database: reading a view runs its functions.
fn there(session: &mut Session, table: &TableSummary) -> Result<(), RestoreError> {
    if target::is_table(session, &table.name)? {
        return Ok(());
    }
    Err(RestoreError::NotThere {
        table: table.name.clone(),
    })
}
