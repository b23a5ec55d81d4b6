//! Rows of users in tables of extensions: CREATE EXTENSION makes the tables and fills them, and these rows are loaded
//! besides, before all others, as functions of the extension may read them.

use super::RestoreOptions;
use super::entry_rows::load_entry;
use super::error::RestoreError;
use super::order::parents_first;
use super::rows::NotLoaded;
use crate::progress::Progress;
use hubvault_archive::{Archive, EntryRecord, Manifest, Source, TableSummary};
use hubvault_model::{Cancel, TableName};
use hubvault_postgres::target::ConfigTable;
use hubvault_postgres::{Access, PgError, Session, target};
use std::collections::BTreeMap;

/// Of a table of an extension, which rows of a database the archive's are to be compared with, as SQL. `None` for all:
/// also of a table of the user's, of which a restored database has no other rows.
pub(super) fn users_rows(table: &TableSummary) -> Option<&str> {
    table.extension.as_ref().and(table.filter.as_deref())
}

/// Deletes the rows that the archive's replace. The condition is the archive's.
pub(crate) fn delete_users_rows(table: &TableSummary) -> String {
    let condition = users_rows(table).unwrap_or("true");
    format!("DELETE FROM ONLY {} WHERE ({condition})", table.name.sql())
}

fn tables(manifest: &Manifest) -> impl Iterator<Item = &TableSummary> {
    manifest.tables.iter().filter(|it| it.extension.is_some())
}

/// Whether an entry holds rows of an extension's table.
pub(super) fn holds<S: Source>(archive: &Archive<S>, entry: &EntryRecord) -> bool {
    let of = |table: &TableSummary| (entry.rows.as_ref()).is_some_and(|it| it.table == table.name);
    tables(archive.manifest()).any(of)
}

/// The archive's tables that a database has. A table of an extension counts when it has rows that a restore would
/// replace.
pub(super) fn present(
    session: &mut Session,
    manifest: &Manifest,
) -> Result<Vec<TableName>, RestoreError> {
    let own = manifest.tables.iter().filter(|it| it.extension.is_none());
    let mut found = target::present(session, own.map(|table| &table.name))?;
    if tables(manifest).next().is_none() {
        return Ok(found);
    }
    let there = target::config_tables(session)?;
    for table in tables(manifest) {
        // By the condition of the extension that is there: the archive's would be SQL of whoever wrote the archive.
        if let Some(of) = there.get(&table.name)
            && target::has_users_rows(session, &table.name, of)?
        {
            found.push(table.name.clone());
        }
    }
    Ok(found)
}

/// The extension of a table of users' rows.
fn extension_of<'a>(
    there: &'a BTreeMap<TableName, ConfigTable>,
    table: &TableName,
) -> Option<&'a str> {
    there.get(table).map(|it| it.extension.as_str())
}

/// Lets a login that is no superuser load the tables, over a superuser's session: those that the extensions of the target
/// mark themselves, whatever the archive says.
pub(super) fn admit(
    superuser: &mut Session,
    manifest: &Manifest,
    login: &str,
) -> Result<(), PgError> {
    if tables(manifest).next().is_none() {
        return Ok(());
    }
    let there = target::config_tables(superuser)?;
    for table in tables(manifest) {
        if extension_of(&there, &table.name) == table.extension.as_deref() {
            target::admit_to(superuser, &table.name, login)?;
        }
    }
    Ok(())
}

/// Loads the rows, parents before children: the tables' foreign keys are there already. Rows that CREATE EXTENSION put in
/// their place are replaced. `session` is the definer's. Returns the tables' errors when the options say to go on.
pub(super) fn load<S: Source>(
    archive: &Archive<S>,
    (access, session): (&Access, &mut Session),
    options: RestoreOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<NotLoaded>, RestoreError> {
    let wanted: Vec<&TableSummary> = tables(archive.manifest()).collect();
    let mut problems = Vec::new();
    if wanted.is_empty() {
        return Ok(problems);
    }
    let there = target::config_tables(session)?;
    let (wanted, others): (Vec<_>, Vec<_>) = (wanted.into_iter())
        .partition(|it| extension_of(&there, &it.name) == it.extension.as_deref());
    for table in others {
        let (name, extension) = (&table.name, table.extension.as_deref().unwrap_or("?"));
        let why = format!("{name} is no table of users' rows of the extension {extension} here");
        note(Err(failed(name, why)), table, options, &mut problems)?;
    }
    for table in &wanted {
        access.admit(&table.name, cancel)?;
    }
    let wanted = parents_first(session, &wanted)?;
    // The rows are as the triggers left them. Who does not own the tables cannot switch those off.
    let triggers: Vec<(&TableName, String)> = (wanted.iter())
        .filter_map(|it| Some((&it.name, target::disable_triggers(session, &it.name).ok()?)))
        .collect();
    let loaded = rows(archive, access, &wanted, options, progress, cancel);
    for (table, enable) in &triggers {
        target::enable_triggers(session, table, enable)?;
    }
    problems.extend(loaded?);
    Ok(problems)
}

/// Loads the rows of these tables in their order, in one transaction.
fn rows<S: Source>(
    archive: &Archive<S>,
    access: &Access,
    wanted: &[&TableSummary],
    options: RestoreOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<NotLoaded>, RestoreError> {
    let mut problems = Vec::new();
    let mut session = access.session(access.checker(), cancel)?;
    session.simple("beginning", "BEGIN")?;
    for table in wanted.iter().rev() {
        let sql = delete_users_rows(table);
        let doing = format!("replacing rows of {}", table.name);
        let done = one(&mut session, |session| Ok(session.simple(&doing, &sql)?));
        note(done, table, options, &mut problems)?;
    }
    for table in wanted {
        let done = one(&mut session, |session| {
            for entry in archive.entries_of(table) {
                if let Some(rows) = &entry.rows {
                    target::check_columns(session, &rows.table, &rows.columns)?;
                    let sql = target::copy_into(&rows.table, &rows.columns);
                    load_entry(archive, session, entry, rows, &sql, progress)?;
                }
            }
            Ok(())
        });
        note(done, table, options, &mut problems)?;
    }
    session.simple("making it lasting", "COMMIT")?;
    Ok(problems)
}

fn failed(table: &TableName, why: String) -> RestoreError {
    let doing = format!("restoring {table}");
    RestoreError::Postgres(PgError::Query { doing, why })
}

/// One step of a transaction that goes on when it fails.
fn one(
    session: &mut Session,
    step: impl FnOnce(&mut Session) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    session.simple("beginning a table", "SAVEPOINT one_table")?;
    let done = step(session);
    if done.is_err() {
        session.simple("rolling a table back", "ROLLBACK TO SAVEPOINT one_table")?;
    }
    done
}

/// Keeps an error where the options say to go on.
fn note(
    done: Result<(), RestoreError>,
    table: &TableSummary,
    options: RestoreOptions,
    problems: &mut Vec<NotLoaded>,
) -> Result<(), RestoreError> {
    match done {
        Err(error) if options.keep_going && !error.is_environment() => {
            let table = table.name.clone();
            problems.push(NotLoaded {
                table,
                error,
                entries: Vec::new(),
            });
            Ok(())
        }
        done => done,
    }
}
