//! Restores the rows of some tables into a live database: into the same tables, or into copies in another schema.

use super::compare::{Compared, Comparison, Found};
use super::entry_rows::load_entry;
use super::error::RestoreError;
use super::locks::{UNDO_TABLE, in_order, in_turns_undone_by};
use super::rows::NotLoaded;
use super::staging::{changing_columns, is_as_archived};
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
    for table in &chosen {
        if !target::is_table(&mut session, &table.name)? {
            return Err(RestoreError::NotThere {
                table: table.name.clone(),
            });
        }
    }
    let chosen = in_order(&mut session, &chosen, (progress, cancel))?;
    let bytes = chosen.iter().map(|table| table.bytes).sum();
    progress.stage(Stage::Rows, Some(bytes));
    session.simple("beginning", "BEGIN; SET CONSTRAINTS ALL DEFERRED")?;
    let (mut tables, mut passed_over) = (Vec::new(), Vec::new());
    for table in chosen {
        session.simple("beginning a table", "SAVEPOINT one_table")?;
        let names = std::slice::from_ref(&table.name);
        let (watched, mut is_tried) = ((progress, cancel), false);
        let loaded = in_turns_undone_by(UNDO_TABLE, &mut session, names, watched, |session| {
            if std::mem::replace(&mut is_tried, true) {
                progress.stage(Stage::Rows, Some(bytes));
            }
            load_or_undo(archive, (session, to, cancel), table, into_schema, progress)
        });
        match loaded.map_err(RestoreError::with_role) {
            Ok(name) => tables.push(Compared {
                name,
                tables: 1,
                expected: table.digest,
                found: Ok(Found::Rows(table.digest)),
                incomparable: None,
            }),
            Err(error) if keep_going && !cancel.is_requested() => {
                passed_over.push(NotLoaded {
                    entries: Vec::new(),
                    table: table.name.clone(),
                    error,
                });
            }
            Err(error) => return Err(error),
        }
    }
    session.simple("making it lasting", "COMMIT")?;
    Ok(Restored {
        tables,
        passed_over,
        other_computed: Vec::new(),
        said: ToolMessages::default(),
        compared: Comparison::Rows,
        access: Access::single(to.clone()),
        logins: TableLogins::single(to.clone()),
    })
}

/// Loads one table, and compares it. Into a new one with texts where the live table's types do not take a value, or change
/// it.
fn load_or_undo<S: Source>(
    archive: &Archive<S>,
    (session, to, cancel): (&mut Session, &ConnectSettings, &Cancel),
    table: &TableSummary,
    into_schema: Option<&str>,
    progress: &dyn Progress,
) -> Result<TableName, RestoreError> {
    let mut as_text: Vec<String> = Vec::new();
    loop {
        let mut load = || {
            let place = match into_schema {
                Some(schema) => beside(session, table, schema, &as_text)?,
                None => itself(session, to, table, cancel)?,
            };
            load_table(archive, session, table, &place, progress)?;
            // Now, and not at the end, so that the error names the table.
            session.simple("checking the constraints", "SET CONSTRAINTS ALL IMMEDIATE")?;
            session.simple("deferring again", "SET CONSTRAINTS ALL DEFERRED")?;
            let is_equal = is_as_archived(session, table, &place)?;
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
            Err(error) => return Err(error.with_remedy(&table.name)),
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
    table: &TableSummary,
    cancel: &Cancel,
) -> Result<TableName, RestoreError> {
    if !unplanned::is_empty(session, to, &table.name, cancel)? {
        return Err(RestoreError::HasRows {
            table: table.name.clone(),
        });
    }
    Ok(table.name.clone())
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
    table: &TableSummary,
    place: &TableName,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    let silenced = target::disable_triggers(session, place)?;
    for entry in archive.entries_of(table) {
        if let Some(rows) = &entry.rows {
            target::check_columns(session, place, &rows.columns)?;
            let sql = target::copy_into(place, &rows.columns);
            load_entry(archive, session, entry, rows, &sql, progress)?;
        }
    }
    target::enable_triggers(session, place, &silenced)?;
    Ok(())
}
