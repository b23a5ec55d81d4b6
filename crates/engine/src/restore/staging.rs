//! Loads an archive's rows into a temporary table beside the live one, with the live types where they keep the values.

use super::compare::digest_inside;
use super::entry_rows::load_entry;
use super::error::RestoreError;
use super::properties::contents;
use crate::progress::Progress;
use hubvault_archive::{Archive, Source, TableSummary};
use hubvault_model::TableName;
use hubvault_postgres::{PgError, PrimaryKeys, Session, StagedTable, target, unlike_columns};

/// Loads the archive's rows into a temporary table with the live table's types, and texts where those do not take a value, or
/// change it. What was loaded is read once and compared with the archive's digest.
pub(super) fn stage<S: Source>(
    archive: &Archive<S>,
    session: &mut Session,
    table: &TableSummary,
    number: usize,
    keys: &PrimaryKeys,
    progress: &dyn Progress,
) -> Result<StagedTable, RestoreError> {
    there(session, &table.name)?;
    let mut as_text: Vec<String> = Vec::new();
    let name = number.to_string();
    loop {
        let staged = load(archive, session, table, &mut as_text, &name, progress)?;
        if is_as_archived(session, table, staged.copy())? {
            return Ok(staged.with_former_key(keys.of_table(&table.name)));
        }
        let changing =
            changing_columns(archive, session, table, staged.copy(), &as_text, progress)?;
        as_text.extend(changing);
    }
}

/// The primary keys that an archive's definitions give its tables.
pub(super) fn archived_keys<S: Source>(archive: &Archive<S>) -> Result<PrimaryKeys, RestoreError> {
    Ok(PrimaryKeys::of(&contents(archive, |_| true)?.definitions))
}

/// Whether a new table has the rows of the archive's `table`, byte by byte.
fn is_as_archived(
    session: &mut Session,
    table: &TableSummary,
    place: &TableName,
) -> Result<bool, PgError> {
    let place = TableSummary {
        name: place.clone(),
        ..table.clone()
    };
    Ok(digest_inside(session, &place, "ONLY ")? == table.digest)
}

/// The columns whose type took the archive's values in `place` and changed them, besides those that are texts already: by
/// a second copy in which all are. An error where all of them are.
pub(super) fn changing_columns<S: Source>(
    archive: &Archive<S>,
    session: &mut Session,
    table: &TableSummary,
    place: &TableName,
    as_text: &[String],
    progress: &dyn Progress,
) -> Result<Vec<String>, RestoreError> {
    let typed = table.columns.iter().filter(|it| !as_text.contains(it));
    let typed: Vec<String> = typed.cloned().collect();
    if typed.is_empty() {
        return Err(RestoreError::NotAsArchived {
            table: table.name.clone(),
        });
    }
    let mut all = table.columns.to_vec();
    let texts = load(archive, session, table, &mut all, "texts", progress)?;
    let changing = unlike_columns(session, (place, texts.copy()), &typed)?;
    texts.finish(session)?;
    Ok(if changing.is_empty() { typed } else { changing })
}

/// Fills a temporary table; columns whose types do not take the values are added to `as_text`.
fn load<S: Source>(
    archive: &Archive<S>,
    session: &mut Session,
    table: &TableSummary,
    as_text: &mut Vec<String>,
    name: &str,
    progress: &dyn Progress,
) -> Result<StagedTable, RestoreError> {
    loop {
        let columns = &table.columns;
        let staged = StagedTable::prepare(session, &table.name, columns, as_text, name)?;
        let entries = archive.entries_of(table).into_iter();
        let mut entries = entries.filter_map(|entry| Some((entry, entry.rows.as_ref()?)));
        let loaded = entries.try_for_each(|(entry, rows)| {
            load_entry(archive, session, entry, rows, &staged.copy_sql(), progress)
        });
        let Err(error) = loaded else {
            return Ok(staged);
        };
        let known = as_text.len();
        as_text.extend(error.refusing_columns(columns, as_text));
        if as_text.len() == known {
            return Err(error);
        }
    }
}

/// Checks that a name of the archive is a table in the database: reading a view runs its functions.
pub(super) fn there(session: &mut Session, table: &TableName) -> Result<(), RestoreError> {
    if target::is_table(session, table)? {
        return Ok(());
    }
    Err(RestoreError::NotThere {
        table: table.clone(),
    })
}
