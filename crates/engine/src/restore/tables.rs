//! Restores the rows of some tables into a live database: into the same tables, or into copies in another schema.

use super::compare::{Compared, Comparison, Found, digest_inside};
use super::entry_rows::load_entry;
use super::error::RestoreError;
use super::locks::{UNDO_TABLE, in_order, in_turns_undone_by};
use super::rows::NotLoaded;
use super::staging::{changing_columns, there};
use super::units::{Unit, chosen_units};
use super::{Restored, chosen};
use crate::progress::{Progress, Stage};
use hubvault_archive::{Archive, Source, TableSummary};
use hubvault_model::{Cancel, TableName, TablePattern};
use hubvault_postgres::{
    Access, ConnectSettings, PgError, Session, TableLogins, ToolMessages, target, unplanned,
};

/// Restores the rows of the selected tables, all in one transaction: into the same tables, which
/// must be there and empty, or into new tables of the schema `into_schema`, which have the live
/// tables' columns and nothing else. With `keep_going` a table that cannot be restored is rolled back
/// and named, and the others go on. Foreign keys are checked; the tables' own triggers do not
/// fire. Every table is compared before anything lasts: one that changed the rows is rolled back.
pub fn tables<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    wanted: &[TablePattern],
    into_schema: Option<&str>,
    keep_going: bool,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Restored, RestoreError> {
    let mut session = Session::connect(to, cancel)?;
    target::limit_to_tables(&mut session)?;
    let chosen = chosen(archive.manifest(), wanted)?;
    let units = chosen_units(&mut session, (archive.manifest(), into_schema), &chosen)?;
    let chosen = there_in_order(&mut session, &units, (progress, cancel))?;
    let bytes = chosen.iter().map(|unit| unit.table.bytes).sum();
    progress.stage(Stage::Rows, Some(bytes));
    session.simple("beginning", "BEGIN; SET CONSTRAINTS ALL DEFERRED")?;
    let (mut tables, mut passed_over) = (Vec::new(), Vec::new());
    for unit in chosen {
        session.simple("beginning a table", "SAVEPOINT one_table")?;
        let names: Vec<TableName> = unit.relations().cloned().collect();
        let names = names.as_slice();
        let (watched, mut is_tried) = ((progress, cancel), false);
        let loaded = in_turns_undone_by(UNDO_TABLE, &mut session, names, watched, |session| {
            if std::mem::replace(&mut is_tried, true) {
                progress.stage(Stage::Rows, Some(bytes));
            }
            load_or_undo(archive, (session, to, cancel), unit, into_schema, progress)
        });
        match loaded.map_err(RestoreError::with_role) {
            Ok(name) => tables.push(as_compared(unit, name)),
            Err(error) if keep_going && !cancel.is_requested() => {
                passed_over.push(NotLoaded {
                    entries: Vec::new(),
                    table: unit.table.name.clone(),
                    error,
                });
            }
            Err(error) => return Err(error),
        }
    }
    session.simple("making it lasting", "COMMIT")?;
    let mut said = ToolMessages::default();
    (said.warnings).extend(tables.iter().filter_map(Compared::only_counted));
    Ok(Restored {
        tables,
        passed_over,
        other_computed: Vec::new(),
        said,
        compared: Comparison::Rows,
        access: Access::single(to.clone()),
        logins: TableLogins::single(to.clone()),
    })
}

/// The units, parents first, all of which must be tables of the database.
fn there_in_order<'a>(
    session: &mut Session,
    units: &'a [Unit<'a>],
    watched: (&dyn Progress, &Cancel),
) -> Result<Vec<&'a Unit<'a>>, RestoreError> {
    let mut relations = units.iter().flat_map(Unit::relations);
    relations.try_for_each(|table| there(session, table))?;
    let works: Vec<_> = units
        .iter()
        .map(|unit| unit.relations().collect())
        .collect();
    let order = in_order(session, &works, watched)?;
    Ok(order.into_iter().map(|at| &units[at]).collect())
}

/// What was compared of a unit in the place to which it was restored.
fn as_compared(unit: &Unit<'_>, name: TableName) -> Compared {
    let digest = unit.table.digest;
    Compared {
        name,
        tables: unit.tables,
        expected: digest,
        found: Ok(match unit.problem {
            None => Found::Rows(digest),
            Some(_) => Found::Count(digest.rows),
        }),
        incomparable: unit.problem,
    }
}

/// Loads one table, and compares it. Into a new one with texts where the live table's types do not take a value, or change
/// it.
fn load_or_undo<S: Source>(
    archive: &Archive<S>,
    (session, to, cancel): (&mut Session, &ConnectSettings, &Cancel),
    unit: &Unit<'_>,
    into_schema: Option<&str>,
    progress: &dyn Progress,
) -> Result<TableName, RestoreError> {
    let table = unit.table.as_ref();
    let mut as_text: Vec<String> = Vec::new();
    loop {
        let mut load = || {
            let place = match into_schema {
                Some(schema) => beside(session, table, schema, &as_text)?,
                None => itself(session, to, unit, cancel)?,
            };
            load_table(archive, session, unit, &place, progress)?;
            // Now, and not at the end, so that the error names the table.
            session.simple("checking the constraints", "SET CONSTRAINTS ALL IMMEDIATE")?;
            session.simple("deferring again", "SET CONSTRAINTS ALL DEFERRED")?;
            let is_equal = is_restored(session, unit, &place)?;
            Ok::<_, RestoreError>((place, is_equal))
        };
        let refusing = match load() {
            Ok((place, true)) => return Ok(place),
            Ok((place, false)) if into_schema.is_some() => {
                changing_columns(archive, session, table, &place, &as_text, progress)?
            }
            Ok((_, false)) => {
                return Err(RestoreError::Drifted {
                    table: table.name.clone(),
                    why: format!(
                        "{} changes the archive's values as it takes them: a column has another type now; nothing was \
                         put into it",
                        table.name
                    ),
                });
            }
            Err(error) if into_schema.is_some() => {
                let refusing = error.refusing_columns(&table.columns, &as_text);
                if refusing.is_empty() {
                    return Err(if_there(error));
                }
                refusing
            }
            Err(error) => {
                let place = archive.manifest().load_order.place_of(&table.name);
                return Err(error.with_remedy_in(&table.name, place));
            }
        };
        as_text.extend(refusing);
        session.simple("rolling a table back", UNDO_TABLE)?;
    }
}

/// A table of that name that is in the schema already, with what can be done.
fn if_there(error: RestoreError) -> RestoreError {
    match error {
        RestoreError::Postgres(PgError::Query { doing, why })
            if why.contains("(SQLSTATE 42P07)") =>
        {
            let why = format!("{why}; drop it, or name another schema");
            PgError::Query { doing, why }.into()
        }
        error => error,
    }
}

fn itself(
    session: &mut Session,
    to: &ConnectSettings,
    unit: &Unit<'_>,
    cancel: &Cancel,
) -> Result<TableName, RestoreError> {
    match with_rows(session, to, unit, cancel)? {
        Some(table) => Err(RestoreError::HasRows { table }),
        None => Ok(unit.table.name.clone()),
    }
}

/// The table of a unit that is not empty.
pub(super) fn with_rows(
    session: &mut Session,
    to: &ConnectSettings,
    unit: &Unit<'_>,
    cancel: &Cancel,
) -> Result<Option<TableName>, PgError> {
    for table in unit.relations() {
        if !unplanned::is_empty(session, to, table, cancel)? {
            return Ok(Some(table.clone()));
        }
    }
    Ok(None)
}

/// Whether what was loaded is what the archive has.
fn is_restored(session: &mut Session, unit: &Unit<'_>, place: &TableName) -> Result<bool, PgError> {
    let expected = unit.table.digest;
    let table = TableSummary {
        name: place.clone(),
        ..unit.table.as_ref().clone()
    };
    let found = digest_inside(session, &table, unit.only())?;
    Ok(match unit.problem {
        None => found == expected,
        Some(_) => found.rows == expected.rows,
    })
}

fn beside(
    session: &mut Session,
    table: &TableSummary,
    schema: &str,
    as_text: &[String],
) -> Result<TableName, RestoreError> {
    let name = TableName::new(schema, &table.name.name);
    target::create_like(session, &table.name, &name, &table.columns, as_text)?;
    Ok(name)
}

fn load_table<S: Source>(
    archive: &Archive<S>,
    session: &mut Session,
    unit: &Unit<'_>,
    place: &TableName,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    let mut silenced = Vec::new();
    for table in std::iter::once(place).chain(unit.partitions.iter().copied()) {
        silenced.push((table, target::disable_triggers(session, table)?));
    }
    for entry in archive.entries_of(&unit.table) {
        if let Some(rows) = &entry.rows {
            target::check_columns(session, place, &rows.columns)?;
            let sql = target::copy_into(place, &rows.columns);
            load_entry(archive, session, entry, rows, &sql, progress)?;
        }
    }
    for (table, enable) in silenced {
        target::enable_triggers(session, table, &enable)?;
    }
    Ok(())
}
