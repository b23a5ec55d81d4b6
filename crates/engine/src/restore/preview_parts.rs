//! What a restore of rows, tables or files would do, without doing it.

use super::PutBack;
use super::chosen;
use super::diff::would_put_back;
use super::error::RestoreError;
use super::files::{bare, entries};
use super::locks::with_holders;
use super::preview::{Preview, made_table};
use super::previewed::PreviewTable;
use super::staging::{stage, there};
use super::tables::with_rows;
use super::target_directory::check;
use super::units::{Unit, chosen_units};
use crate::disk::free_bytes;
use crate::progress::Progress;
use hubvault_archive::{Archive, EntryKind, Source, TableSummary};
use hubvault_model::{Cancel, TableName, TablePattern, one_line, quote_ident};
use hubvault_postgres::{ConnectSettings, PrimaryKeys, Session, target, target_facts};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

impl Preview {
    /// Of the rows of some tables, into the same ones or into new ones of a schema.
    pub fn tables<S: Source>(
        archive: &Archive<S>,
        to: &ConnectSettings,
        wanted: &[TablePattern],
        into_schema: Option<&str>,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Self, RestoreError> {
        let mut session = Session::connect(to, cancel)?;
        target::limit_to_tables(&mut session)?;
        let chosen = chosen(archive.manifest(), wanted)?;
        let mut found = Self::default();
        if let Some(schema) = into_schema
            && !target_facts::all_schemas(&mut session)?
                .iter()
                .any(|it| it == schema)
        {
            found.schemas.push(schema.to_owned());
            if !target_facts::may_make(&mut session)?.schemas {
                found.may_not_create_schemas(to);
            }
        }
        let manifest = archive.manifest();
        let units = chosen_units(&mut session, (manifest, into_schema), &chosen)?;
        for (number, unit) in units.iter().enumerate() {
            let name = &unit.table.name;
            let names: Vec<TableName> = unit.relations().cloned().collect();
            let names = names.as_slice();
            let looked = found.table((&mut session, to), unit, into_schema, cancel);
            looked.map_err(|error| with_holders(error, &mut session, names))?;
            if into_schema.is_some() {
                continue;
            }
            found.warn_of_hash(name, manifest.load_order.place_of(name));
            if unit.problem.is_some() {
                // Their entries have columns of their own, which a table in staging does not.
                found.notes.push(format!(
                    "whether {name} takes the archive's values was not tried: its partitions have their columns in another order"
                ));
            } else if found.obstacles.is_empty() {
                let looked = found.types(archive, &mut session, &unit.table, number, progress);
                looked.map_err(|error| with_holders(error, &mut session, names))?;
            }
        }
        found.room(&mut session, to, chosen.into_iter())?;
        Ok(found)
    }

    /// Says of a partition that its rows may be refused.
    fn warn_of_hash(&mut self, partition: &TableName, place: &TableName) {
        if place != partition {
            self.notes.push(format!(
                "{partition} is a partition of {place} by a hash that is another in each database: in another database than \
                 the source's, it may refuse the rows; restore all of them together: --table '{place}'"
            ));
        }
    }

    fn table(
        &mut self,
        (session, to): (&mut Session, &ConnectSettings),
        unit: &Unit<'_>,
        into_schema: Option<&str>,
        cancel: &Cancel,
    ) -> Result<(), RestoreError> {
        let table = unit.table.as_ref();
        let name = table.name.clone();
        let all_there = unit.relations().try_for_each(|it| there(session, it));
        let refused = if let Err(absent @ RestoreError::NotThere { .. }) = all_there {
            Some(absent)
        } else if let Err(error) = all_there {
            return Err(error);
        } else if let Some(schema) = into_schema {
            let name = TableName::new(schema, &name.name);
            if !target::present(session, std::iter::once(&name))?.is_empty() {
                self.obstacles.push(format!(
                    "{name} exists already; drop it, or name another schema"
                ));
            }
            self.tables.push(made_table(&name, table));
            return Ok(());
        } else if let Some(table) = with_rows(session, to, unit, cancel)? {
            Some(RestoreError::HasRows { table })
        } else {
            let check = target::check_columns(session, &name, &table.columns);
            let why = check.err().map(RestoreError::from);
            match why {
                None => match may_not_write(session, &table.name, false)? {
                    None => without_value(session, table)?,
                    why => why,
                },
                why => why,
            }
        };
        self.obstacles
            .extend(refused.map(|error| error.to_string()));
        self.tables.push(PreviewTable {
            is_made: false,
            ..made_table(&table.name, table)
        });
        Ok(())
    }

    /// Whether the table takes the archive's values as they are: they are loaded into a temporary table.
    fn types<S: Source>(
        &mut self,
        archive: &Archive<S>,
        session: &mut Session,
        table: &TableSummary,
        number: usize,
        progress: &dyn Progress,
    ) -> Result<(), RestoreError> {
        let keys = PrimaryKeys::default();
        let staged = match stage(archive, session, table, number, &keys, progress) {
            Ok(staged) => staged,
            Err(error) if error.is_environment() || error.is_of_locks() => return Err(error),
            Err(error) => {
                self.obstacles.push(error.to_string());
                return Ok(());
            }
        };
        let why = staged.drift().obstacle();
        if let (false, Some(why)) = (staged.drift().retyped.is_empty(), why) {
            let table = table.name.clone();
            let refused = RestoreError::Drifted { table, why };
            self.obstacles.push(refused.to_string());
        }
        Ok(staged.finish(session)?)
    }

    /// Of the rows that are missing or changed: they are compared as `diff` does.
    pub fn rows<S: Source>(
        archive: &Archive<S>,
        to: &ConnectSettings,
        wanted: &[TablePattern],
        update: bool,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Self, RestoreError> {
        let mut found = Self::default();
        let tables = would_put_back(archive, to, wanted, update, progress, cancel)?;
        let mut session = Session::connect(to, cancel)?;
        for mut table in tables {
            let mut summaries = archive.manifest().tables.iter();
            if table.problem.is_none()
                && let Some(why) = may_not_write(&mut session, &table.name, update)?
            {
                table.problem = Some(why.to_string());
            }
            if table.inserted > 0
                && table.problem.is_none()
                && let Some(summary) = summaries.find(|it| it.name == table.name)
                && let Some(refused) = without_value(&mut session, summary)?
            {
                table.problem = Some(refused.to_string());
            }
            found.put_back(table);
        }
        let note =
            "constraints of the tables, such as CHECK, UNIQUE and foreign keys, are not tried";
        found.notes.push(note.to_owned());
        Ok(found)
    }

    fn put_back(&mut self, table: PutBack) {
        let (name, shown) = (table.name.to_string(), table.as_previewed());
        let left = table.not_overwritten();
        self.obstacles
            .extend(left.map(|what| format!("{name}: {what}")));
        if let Some(problem) = table.problem {
            self.obstacles.push(if problem.contains(&name) {
                problem
            } else {
                format!("{name}: {problem}")
            });
        } else if !table.drift.is_none() {
            let what = format!("{name} has other columns: {}", table.drift.text());
            self.notes.push(what);
        }
        self.tables.push(shown);
    }

    /// Of the configuration files.
    pub fn files<S: Source>(archive: &Archive<S>, directory: &Path) -> Result<Self, RestoreError> {
        let mut found = Self::default();
        if let Err(error) = check(directory) {
            let what = format!("opening the directory {}: {error}", directory.display());
            found.obstacles.push(what);
        }
        let mut blocked = BTreeSet::new();
        let entries = entries(archive)?;
        if entries.is_empty() {
            found.obstacles.push(RestoreError::NoFiles.to_string());
        }
        for entry in entries {
            let name = bare(&entry.name);
            let path = directory.join(name);
            blocked.extend(blocking(directory, name));
            // Directories that are there are used.
            let is_there = path
                .symlink_metadata()
                .is_ok_and(|it| !(it.is_dir() && entry.kind == EntryKind::Directory));
            if is_there {
                let what = format!("{} exists and would not be overwritten", path.display());
                found.obstacles.push(what);
            }
            found.needed_bytes += entry.raw_bytes;
            found.files.push(path);
        }
        let blocked = blocked.iter();
        found.obstacles.extend(blocked.map(|path| {
            let path = path.display();
            format!("{path} in the path is a link or not a directory; links are not followed")
        }));
        let mut existing = directory.ancestors();
        let existing = existing.find(|it| it.is_dir()).unwrap_or(Path::new("."));
        found.free_bytes = free_bytes(existing).ok();
        found.compare_room();
        Ok(found)
    }
}

/// Why the role cannot put rows into a live table.
fn may_not_write(
    session: &mut Session,
    table: &TableName,
    update: bool,
) -> Result<Option<RestoreError>, RestoreError> {
    let missing = target_facts::missing_to_write(session, table, update)?;
    Ok((!missing.is_empty()).then(|| RestoreError::NotPermitted {
        why: format!(
            "the role has no {} privilege on {table}",
            missing.join(" and ")
        ),
    }))
}

/// Why a live table refuses every row of the archive: it has a column that needs a value.
fn without_value(
    session: &mut Session,
    table: &TableSummary,
) -> Result<Option<RestoreError>, RestoreError> {
    if table.digest.rows == 0 {
        return Ok(None);
    }
    let columns = target_facts::columns_without_value(session, &table.name, &table.columns)?;
    let names: Vec<String> = columns.iter().map(|it| quote_ident(it)).collect();
    let names = one_line(&names.join(", ")).into_owned();
    Ok((!columns.is_empty()).then(|| RestoreError::Drifted {
        table: table.name.clone(),
        why: format!("{names} is NOT NULL without a default, and the archive does not have it"),
    }))
}

/// The first directory on the way to a file that is there and is no directory.
fn blocking(directory: &Path, name: &str) -> Option<PathBuf> {
    let mut path = directory.to_owned();
    let (parents, _) = name.rsplit_once('/')?;
    parents.split('/').find_map(|part| {
        path.push(part);
        let is_blocked = path.symlink_metadata().is_ok_and(|it| !it.is_dir());
        is_blocked.then(|| path.clone())
    })
}
