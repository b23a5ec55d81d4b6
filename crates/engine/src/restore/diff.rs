//! What is in an archive and not in a living database, and the other way round; and putting just
//! those rows back.

use super::error::RestoreError;
use super::order::parents_first;
use super::rows::load_entry;
use crate::progress::{Progress, Stage};
use hubvault_archive::{Archive, Coverage, Source, TableSummary};
use hubvault_model::{Cancel, TableName, TablePattern};
use hubvault_postgres::{Beside, ConnectSettings, DifferentRow, Session, target};

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
    /// Every row that differs.
    pub rows: Vec<DifferentRow>,
}

/// What was put back into one table.
#[derive(Debug)]
pub struct PutBack {
    /// The table.
    pub name: TableName,
    /// Rows that were missing.
    pub inserted: u64,
    /// Rows that had other values.
    pub updated: u64,
}

/// Which rows of the archive's tables differ from a living database. Nothing is changed there but
/// temporary tables of this session.
pub fn diff<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    wanted: &[TablePattern],
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<TableDiff>, RestoreError> {
    let mut session = Session::connect(to, cancel)?;
    let chosen = super::chosen(archive.manifest(), wanted)?;
    progress.stage(
        Stage::Compare,
        Some(chosen.iter().map(|table| table.bytes).sum()),
    );
    let mut found = Vec::new();
    for (number, table) in chosen.into_iter().enumerate() {
        let beside = stage(archive, &mut session, table, number, progress)?;
        let within = extra_within(table);
        found.push(TableDiff {
            name: table.name.clone(),
            has_key: beside.has_key(),
            knows_extra: within.is_some(),
            rows: beside.differences(&mut session, within)?,
        });
    }
    Ok(found)
}

/// Puts rows back that are only in the archive, and with `update` also the archive's values into
/// rows that have others. All in one transaction: it happens, or nothing does.
pub fn put_back<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    wanted: &[TablePattern],
    update: bool,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<PutBack>, RestoreError> {
    let mut session = Session::connect(to, cancel)?;
    let chosen = super::chosen(archive.manifest(), wanted)?;
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
    for (table, beside) in &staged {
        let inserted = beside.insert_missing(&mut session)?;
        let updated = if update {
            beside.update_changed(&mut session)?
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
) -> Result<Beside, RestoreError> {
    if target::present(session, std::iter::once(&table.name))?.is_empty() {
        return Err(RestoreError::NotThere {
            table: table.name.clone(),
        });
    }
    let beside = Beside::prepare(session, &table.name, &table.columns, number)?;
    let entries = archive.manifest().entries.iter();
    for entry in entries.filter(|entry| table.entries.contains(&entry.name)) {
        if let Some(rows) = &entry.rows {
            load_entry(archive, session, entry, rows, &beside.copy_sql(), progress)?;
        }
    }
    Ok(beside)
}

/// The living rows that should be in the archive, as SQL: of a window, those of the window.
fn extra_within(table: &TableSummary) -> Option<&str> {
    match (table.coverage, &table.filter) {
        (Coverage::Whole, _) => Some("true"),
        (Coverage::Window, Some(filter)) => Some(filter),
        _ => None,
    }
}
