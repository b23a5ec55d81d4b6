//! Why a restore stopped, and what to do about it.

use crate::pool::StopError;
use hubvault_archive::ArchiveError;
use hubvault_model::{TableName, remedy};
use hubvault_postgres::PgError;
use std::io;
use std::path::PathBuf;

impl RestoreError {
    /// Whether this speaks of the target's surroundings, and not of the archive.
    pub(crate) fn is_environment(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.is_environment())
    }
}

/// A restore that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Something about the database.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// Something about the archive.
    #[error("reading the archive: {0}")]
    Archive(#[from] ArchiveError),
    /// An entry that every archive has is not there, or is no text.
    #[error("the archive's {name} is missing or cannot be read: {why}")]
    Entry {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The server is older than the archive's.
    #[error(
        "the archive comes from PostgreSQL {archive} and the target runs {target}, which is older; \
         restore into {archive} or newer, or use --force to try"
    )]
    OlderServer {
        /// Major version of the source.
        archive: u32,
        /// Major version of the target.
        target: u32,
    },
    /// Roles that the definitions name are not there.
    #[error(
        "the archive names roles that the target does not have: {}; make them, or use \
         --create-roles (without login), or --no-owner", names.join(", ")
    )]
    Roles {
        /// Their names.
        names: Vec<String>,
    },
    /// The target holds tables of the archive.
    #[error(
        "the target already holds tables of this archive: {}; restore into an empty database \
         (--database NAME --create makes one), or drop them first with --clean", names.join(", ")
    )]
    NotEmpty {
        /// Some of them.
        names: Vec<String>,
    },
    /// No table of the archive fits.
    #[error("no table of the archive is meant by {word:?}; `hubvault show` names them")]
    NoSuchTable {
        /// What was asked for.
        word: String,
    },
    /// A table of the target has rows already.
    #[error(
        "{table} in the target is not empty; restore into an empty table, or into another database"
    )]
    HasRows {
        /// The table.
        table: TableName,
    },
    /// A table of the archive is not in the target.
    #[error(
        "{table} is not in the target, or no ordinary table there; restore the whole into another database to get it"
    )]
    NotThere {
        /// The table.
        table: TableName,
    },
    /// What came back is not what was backed up.
    #[error("restored, but not equal: {}", tables.join("; "))]
    Different {
        /// A line for each table.
        tables: Vec<String>,
    },
    /// An entry that would be written elsewhere.
    #[error("the archive's entry {name:?} leads out of the directory; nothing more was restored")]
    Outside {
        /// The entry.
        name: String,
    },
    /// A file or directory of the target.
    #[error("{doing} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A window whose condition is SQL that the configuration does not say.
    #[error(
        "the archive's window of {table} has a condition that the configuration does not have: {condition:?}; it is \
         SQL of whoever wrote the archive and was not run: configure the same window, leave the table out with \
         --table, or, if you read it and trust it, say --trust-conditions"
    )]
    ForeignCondition {
        /// The table.
        table: TableName,
        /// The condition.
        condition: String,
    },
    /// The rows that differ could not be kept.
    #[error("keeping the rows that differ: {source}{}", remedy(source))]
    Differences {
        /// What the system said.
        source: io::Error,
    },
    /// Stopped on request.
    #[error(
        "stopped on request; what was restored so far is in the target, run again into an empty one"
    )]
    Cancelled,
}

impl StopError for RestoreError {
    fn stopped() -> Self {
        Self::Cancelled
    }

    fn is_stopped(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}
