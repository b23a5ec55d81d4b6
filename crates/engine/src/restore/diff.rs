//! Compares an archive with a live database row by row, and restores only the rows that are missing or changed. Of a
//! table whose columns are others than in the archive, those that both have. What is wrong with one table keeps none of the
//! others from being tried.

use super::error::RestoreError;
use super::order::parents_first;
use super::staging::{archived_keys, stage};
use super::window::Conditions;
use crate::progress::{Progress, Stage};
use hubvault_archive::{Archive, Source, TableSummary};
use hubvault_model::{Cancel, TableName, TablePattern};
use hubvault_postgres::{
    ConnectSettings, Difference, DifferentRow, Drift, Session, StagedTable, target,
};
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
    /// How its columns differ.
    pub drift: Drift,
    /// Why it could not be compared.
    pub problem: Option<String>,
}

impl TableDiff {
    /// One that was not compared yet.
    pub fn of(name: TableName, has_key: bool, knows_extra: bool) -> Self {
        Self {
            name,
            has_key,
            knows_extra,
            missing: 0,
            changed: 0,
            extra: 0,
            drift: Drift::default(),
            problem: None,
        }
    }

    /// Whether no row differs, and every column was compared.
    pub fn is_equal(&self) -> bool {
        self.missing + self.changed + self.extra == 0
            && self.problem.is_none()
            && self.drift.is_none()
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
    /// How its columns differ.
    pub drift: Drift,
    /// Why nothing was put back.
    pub problem: Option<String>,
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
    let chosen = chosen.into_iter().zip(living).collect();
    compare(archive, to, chosen, each, progress, cancel)
}

/// What [`put_back`] would do, without writing.
pub(super) fn would_put_back<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    wanted: &[TablePattern],
    update: bool,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<PutBack>, RestoreError> {
    let chosen = super::chosen(archive.manifest(), wanted)?;
    let chosen = chosen.into_iter().map(|table| (table, None)).collect();
    let found = compare(archive, to, chosen, &mut |_, _| Ok(()), progress, cancel)?;
    let would = |table: TableDiff| {
        let obstacle = table.drift.obstacle().map(|why| {
            let table = table.name.clone();
            RestoreError::Drifted { table, why }.to_string()
        });
        let problem = table.problem.or(obstacle);
        let rows = |rows| if problem.is_none() { rows } else { 0 };
        PutBack {
            name: table.name,
            inserted: rows(table.missing),
            updated: rows(if update { table.changed } else { 0 }),
            drift: table.drift,
            problem,
        }
    };
    Ok(found.into_iter().map(would).collect())
}

/// Compares tables, each with the condition of the live rows that could be extra.
fn compare<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    chosen: Vec<(&TableSummary, Option<String>)>,
    each: &mut dyn FnMut(usize, DifferentRow) -> io::Result<()>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<TableDiff>, RestoreError> {
    let keys = archived_keys(archive)?;
    let connect = || {
        let mut session = Session::connect(to, cancel)?;
        target::only_tables(&mut session)?;
        Ok::<_, RestoreError>(session)
    };
    let mut session = connect()?;
    progress.stage(
        Stage::Compare,
        Some(chosen.iter().map(|(table, _)| table.bytes).sum()),
    );
    let mut found = Vec::new();
    for (number, (table, within)) in chosen.into_iter().enumerate() {
        let mut counted = TableDiff::of(table.name.clone(), true, within.is_some());
        let mut compare = || {
            let staged = stage(archive, &mut session, table, number, &keys, progress)?;
            counted.has_key = staged.has_key();
            counted.drift = staged.drift().clone();
            staged.differences(&mut session, within.as_deref(), |row| {
                counted.count(row.difference);
                each(number, row).map_err(|source| RestoreError::Differences { source })
            })?;
            Ok(staged.finish(&mut session)?)
        };
        if let Err(error) = compare() {
            counted.problem = Some(of_table(error)?);
            // It may be in a transaction that failed.
            session = connect()?;
        }
        found.push(counted);
    }
    Ok(found)
}

/// What is wrong with one table only; else the error.
fn of_table(error: RestoreError) -> Result<String, RestoreError> {
    let is_of_table = error.is_refused_by_server()
        || matches!(
            error,
            RestoreError::NotThere { .. }
                | RestoreError::Different { .. }
                | RestoreError::NotAsArchived { .. }
                | RestoreError::Drifted { .. }
                | RestoreError::Archive(_)
        );
    if is_of_table {
        Ok(error.to_string())
    } else {
        Err(error)
    }
}

/// Inserts rows that are only in the archive, and with `update` also overwrites rows that have other
/// values. All in one transaction; into a table that refuses them none.
pub fn put_back<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    wanted: &[TablePattern],
    update: bool,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<PutBack>, RestoreError> {
    let keys = archived_keys(archive)?;
    let mut session = Session::connect(to, cancel)?;
    target::only_tables(&mut session)?;
    let chosen = super::chosen(archive.manifest(), wanted)?;
    let chosen = parents_first(&mut session, chosen)?;
    progress.stage(
        Stage::Rows,
        Some(chosen.iter().map(|table| table.bytes).sum()),
    );
    let mut staged = Vec::new();
    for (number, table) in chosen.into_iter().enumerate() {
        let one = stage(archive, &mut session, table, number, &keys, progress);
        let one = one.and_then(|staged| match staged.drift().obstacle() {
            None => Ok(staged),
            Some(why) => Err(RestoreError::Drifted {
                table: table.name.clone(),
                why,
            }),
        });
        staged.push((table, one));
    }
    session.simple("beginning", "BEGIN; SET CONSTRAINTS ALL DEFERRED")?;
    let mut done = Vec::new();
    for (table, staged) in staged {
        session.simple("beginning a table", "SAVEPOINT one_table")?;
        let drift = staged.as_ref().map(|it| it.drift().clone()).ok();
        let result = staged.and_then(|staged| put_back_table(&mut session, &staged, update));
        let ((inserted, updated), problem) = match result {
            Ok(rows) => (rows, None),
            Err(error) => {
                let problem = of_table(error.with_remedy(&table.name))?;
                session.simple("rolling a table back", "ROLLBACK TO SAVEPOINT one_table")?;
                ((0, 0), Some(problem))
            }
        };
        done.push(PutBack {
            name: table.name.clone(),
            inserted,
            updated,
            drift: drift.unwrap_or_default(),
            problem,
        });
    }
    session.simple("making it lasting", "COMMIT")?;
    Ok(done)
}

fn put_back_table(
    session: &mut Session,
    staged: &StagedTable,
    update: bool,
) -> Result<(u64, u64), RestoreError> {
    let inserted = staged.insert_missing(session)?;
    let updated = if update {
        staged.update_changed(session)?
    } else {
        0
    };
    Ok((inserted, updated))
}
