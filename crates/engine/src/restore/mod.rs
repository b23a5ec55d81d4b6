//! Restores an archive into a database: definitions, rows, sequences, and the comparison. The drill uses
//! the same code, so that what is proven is what a user gets.

mod error;
#[cfg(test)]
mod test_manifest;
mod previewed;
mod order;
mod locks;
mod properties;
mod entry_rows;
mod early;
mod rows;
mod values;
mod browse;
mod beside;
mod refused;
mod extension_rows;
mod lacking;
mod units;
mod compare;
mod unlike;
mod statements;
mod whole;
mod staging;
mod tables;
mod window;
mod diff;
mod target_directory;
mod files;
mod preview;
mod preview_parts;
mod rows_plan;
mod file_text;

pub use beside::{Beside, LiveComparison, compare_live};
pub use browse::{Browsed, BrowsedRow, Filter, Wish, browse};
pub(crate) use compare::compare;
pub use compare::{Compared, Comparison, Found, digest};
pub use diff::{NotSettable, PutBack, TableDiff, diff, put_back};
pub use error::RestoreError;
pub(crate) use extension_rows::delete_users_rows;
pub use file_text::{FileText, file_text};
pub use files::files;
pub(crate) use lacking::NOT_COMPARED;
pub(crate) use order::parents_first;
pub use preview::{Asked, Preview};
pub use previewed::{PreviewTable, Previewed};
pub(crate) use properties::{contents, dump};
pub use properties::{properties, set_properties};
pub use rows::NotLoaded;
pub use rows_plan::{RowsPlan, plan_rows};
pub use tables::tables;
pub(crate) use units::units;
pub(crate) use unlike::{computed_columns, unlike_the_source};
pub use values::Value;
pub(crate) use whole::{missing_extensions, schema, whole_with};
pub use whole::{present, whole};
pub use window::Conditions;

use hubvault_archive::{Archive, EntryRecord, Manifest, Source, TableSummary};
use hubvault_model::{ByteSize, TableName, TablePattern};
use hubvault_postgres::{Access, ConnectSettings, TableLogins, ToolMessages, memory_file};
use std::fs::File;
use std::io::{self, Read, Write};

/// The target of a restore, and its logins.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a restore has one of them")]
pub enum Target {
    /// Over one login.
    Login(ConnectSettings),
    /// On a server of our own: definitions over a superuser's login. Rows are loaded, constraints checked and tables
    /// compared over logins of the tables' owners, which are not superusers: the archive may be hostile.
    Owners(ConnectSettings),
    /// On a shared server, over a login that owns this database and has no other rights.
    Lesser {
        /// That login.
        login: ConnectSettings,
        /// A superuser's, to the same database: extensions and event triggers are made over it, and nothing else.
        superuser: ConnectSettings,
    },
}

impl Target {
    /// Who makes definitions.
    pub(crate) fn definer(&self) -> &ConnectSettings {
        match self {
            Self::Login(login) | Self::Owners(login) | Self::Lesser { login, .. } => login,
        }
    }
}

/// Options of a restore.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an answer that a user gives"
)]
pub struct RestoreOptions {
    /// Connections that load rows and build indexes at once.
    pub workers: usize,
    /// Create missing roles, without login.
    pub create_roles: bool,
    /// Objects belong to the restoring role; nothing is granted.
    pub no_owner: bool,
    /// Try a server that is older than the archive's source.
    pub force: bool,
    /// In a drill: reach no other server, and do without what only this host lacks.
    pub isolated: bool,
    /// Drop the archive's objects from the target first.
    pub clean: bool,
    /// Continue past tables whose rows cannot be loaded; they are in the report, as definitions always are.
    pub keep_going: bool,
    /// What is compared at the end. A drill compares every row.
    pub compare: Comparison,
}

/// The result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// Every table to restore, with its comparison.
    pub tables: Vec<Compared>,
    /// What was compared.
    pub compared: Comparison,
    /// Tables whose rows could not be loaded, where the options said to go on.
    pub passed_over: Vec<NotLoaded>,
    /// Warnings, definitions that could not be made, and those that were made another way.
    pub said: ToolMessages,
    /// Generated columns that have other values than at the source.
    pub other_computed: Vec<String>,
    /// The logins that were used.
    pub access: Access,
    /// Who loads and reads each table.
    pub logins: TableLogins,
}

impl Restored {
    /// An error that names every table that differs in what was compared.
    pub fn all_equal(&self) -> Result<(), RestoreError> {
        let tables: Vec<String> = self.tables.iter().filter_map(Compared::problem).collect();
        if tables.is_empty() {
            Ok(())
        } else {
            Err(RestoreError::Different { tables })
        }
    }
}

/// The selected tables of an archive; all of them without a selection. The name of a table through which partitions are
/// loaded selects these.
fn chosen<'a>(
    manifest: &'a Manifest,
    wanted: &[TablePattern],
) -> Result<Vec<&'a TableSummary>, RestoreError> {
    let order = &manifest.load_order;
    let tables = manifest.tables.iter();
    let tables: Vec<_> = (tables.map(|table| (table, order.place_of(&table.name)))).collect();
    let matches = |(table, place): &(&TableSummary, &TableName), pattern: &TablePattern| {
        pattern.matches(&table.name) || pattern.matches(place)
    };
    for pattern in wanted {
        if !tables.iter().any(|table| matches(table, pattern)) {
            return Err(RestoreError::NoSuchTable {
                word: pattern.to_string(),
            });
        }
    }
    let named = |table: &(&TableSummary, &TableName), pattern: &TablePattern| {
        // A table of an extension is meant by its own name alone; whoever gives it hears that it is refused.
        (table.0.extension.is_none() || pattern.exact().is_some()) && matches(table, pattern)
    };
    let meant = |table: &(&TableSummary, &TableName)| {
        (wanted.is_empty() && table.0.extension.is_none())
            || wanted.iter().any(|pattern| named(table, pattern))
    };
    let chosen = tables.into_iter().filter(meant);
    Ok(chosen.map(|(table, _)| table).collect())
}

/// Largest definitions, in bytes; those of 100,000 tables have a fifth of it.
const DUMP_LIMIT: u64 = 256 << 20;
/// A list or a script beside them, which is read into memory.
const TEXT_LIMIT: u64 = 64 << 20;

/// An entry that every archive has, when it is no larger than those of an archive can be.
fn record<'a, S: Source>(
    archive: &'a Archive<S>,
    name: &'static str,
    limit: u64,
) -> Result<&'a EntryRecord, RestoreError> {
    let missing = |why: String| RestoreError::Entry { name, why };
    let record = archive
        .entry(name)
        .ok_or_else(|| missing("it is not there".to_owned()))?;
    if record.is_bare() || record.raw_bytes > limit {
        let (size, limit) = (ByteSize(record.raw_bytes), ByteSize(limit));
        return Err(missing(format!(
            "it has {size}, more than the limit of {limit}"
        )));
    }
    Ok(record)
}

fn entry<S: Source>(archive: &Archive<S>, name: &'static str) -> Result<Vec<u8>, RestoreError> {
    let record = record(archive, name, TEXT_LIMIT)?;
    let mut bytes = Vec::new();
    archive
        .content(record)?
        .read_to_end(&mut bytes)
        .map_err(|error| RestoreError::Entry {
            name,
            why: error.to_string(),
        })?;
    Ok(bytes)
}

/// The definitions, in an unnamed file for `pg_restore`: they are never in memory.
fn definitions<S: Source>(archive: &Archive<S>) -> Result<File, RestoreError> {
    let name = "database/schema.dump";
    let record = record(archive, name, DUMP_LIMIT)?;
    let mut content = archive.content(record)?;
    let mut copy = || {
        let mut file = memory_file("hubvault-schema")?;
        let mut start = Vec::new();
        content
            .by_ref()
            .take(DUMP_MAGIC.len() as u64)
            .read_to_end(&mut start)?;
        if start != DUMP_MAGIC {
            return Err(io::Error::other("it is no dump of pg_dump"));
        }
        file.write_all(&start)?;
        io::copy(&mut content, &mut file)?;
        Ok(file)
    };
    copy().map_err(|error| RestoreError::Entry {
        name,
        why: error.to_string(),
    })
}

/// The first bytes of every dump in the custom format (`pg_backup_custom.c`).
const DUMP_MAGIC: &[u8] = b"PGDMP";

fn text<S: Source>(archive: &Archive<S>, name: &'static str) -> Result<String, RestoreError> {
    String::from_utf8(entry(archive, name)?).map_err(|error| RestoreError::Entry {
        name,
        why: error.to_string(),
    })
}
