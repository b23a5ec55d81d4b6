//! Errors of a restore.

use crate::pool::StopError;
use hubvault_archive::ArchiveError;
use hubvault_model::{ByteSize, TableName, remedy};
use hubvault_postgres::PgError;
use std::io;
use std::path::PathBuf;

impl RestoreError {
    /// Whether the cause is the target's environment and not the archive.
    pub(crate) fn is_environment(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.is_environment())
    }

    /// Whether the archive could not be read as what its manifest says.
    pub(crate) fn is_of_file(&self) -> bool {
        matches!(self, Self::Archive(_) | Self::Entry { .. })
    }

    /// Whether the server refused a statement or rows, and nothing else is wrong.
    pub(crate) fn is_refused_by_server(&self) -> bool {
        matches!(self, Self::Postgres(error @ PgError::Query { .. }) if !error.is_environment())
    }

    /// Whether a lock was not released in time.
    pub(crate) fn is_of_locks(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.is_of_locks())
    }

    /// Whether rows are not as they were written: text that no column can have, or another number of them.
    pub(crate) fn is_of_rows(&self) -> bool {
        match self {
            Self::Postgres(error) => error.is_of_text(),
            Self::Different { .. } => true,
            _ => false,
        }
    }

    /// A refusal of rows by the server, with what can be done instead.
    pub(crate) fn with_remedy(self, table: &TableName) -> Self {
        if !self.is_refused_by_server() || self.is_of_locks() {
            return self;
        }
        match self.with_role() {
            error @ Self::NotPermitted { .. } => error,
            error => Self::Drifted {
                table: table.clone(),
                why: error.to_string(),
            },
        }
    }

    /// The same of a partition whose rows a whole restore loads through `place`.
    pub(crate) fn with_remedy_in(self, table: &TableName, place: &TableName) -> Self {
        // Where the server speaks another language it is not told from a CHECK.
        let is_of_partition =
            |why: &PgError| why.to_string().contains("violates partition constraint");
        match &self {
            Self::Postgres(error) if place != table && is_of_partition(error) => Self::OtherHash {
                partition: table.clone(),
                table: place.clone(),
                why: self.to_string(),
            },
            _ => self.with_remedy(table),
        }
    }

    /// A refusal for want of rights, with what can be done.
    #[must_use]
    pub fn with_role(self) -> Self {
        match &self {
            Self::Postgres(error) if error.is_refusal() => Self::NotPermitted {
                why: self.to_string(),
            },
            _ => self,
        }
    }

    /// The columns of a COPY that refused a value, but for those that are `known`.
    pub(crate) fn refusing_columns(&self, columns: &[String], known: &[String]) -> Vec<String> {
        match self {
            Self::Postgres(error) if self.is_refused_by_server() => {
                let mut refusing = error.refusing_columns(columns);
                refusing.retain(|column| !known.contains(column));
                refusing
            }
            _ => Vec::new(),
        }
    }

    /// Whether a name was not found.
    pub(crate) fn is_of_names(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.is_of_names())
    }
}

/// A restore failed or was stopped.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Something about the database.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// Something about the archive.
    #[error("reading the archive: {0}")]
    Archive(#[from] ArchiveError),
    /// An entry that every archive has is missing or unreadable.
    #[error("the archive's {name} is missing or cannot be read: {why}")]
    Entry {
        /// Its name.
        name: &'static str,
        /// The problem.
        why: String,
    },
    /// The server is older than the archive's source.
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
    /// Roles that the definitions name are missing.
    #[error(
        "the archive names roles that the target does not have: {}; create them, or use \
         --create-roles (without login), or --no-owner", names.join(", ")
    )]
    Roles {
        /// Their names.
        names: Vec<String>,
    },
    /// Roles that rows name are missing.
    #[error(
        "rows of the archive name roles that the target does not have: {}; create them, or use \
         --create-roles (without login)", names.join(", ")
    )]
    RowRoles {
        /// Their names.
        names: Vec<String>,
    },
    /// The target holds tables of the archive.
    #[error(
        "the target already holds tables of this archive: {}; restore into an empty database \
         (--database NAME --create creates one), or drop them first with --clean", names.join(", ")
    )]
    NotEmpty {
        /// Some of them.
        names: Vec<String>,
    },
    /// Partitions that would be dropped with their table, and are not in the archive.
    #[error(
        "partitions that are not in the archive would be dropped with their tables: {}; detach them first (ALTER TABLE ... \
         DETACH PARTITION ...), or restore into another database", names.join(", ")
    )]
    OtherPartitions {
        /// All of them.
        names: Vec<String>,
    },
    /// No table of the archive matches.
    #[error("no table of the archive matches {word:?}; `hubvault show BACKUP` lists them")]
    NoSuchTable {
        /// The pattern.
        word: String,
    },
    /// A table of the target has rows already.
    #[error(
        "{table} in the target is not empty; put back only the rows that it lacks (--missing-rows) or that differ, too \
         (--upsert), or put all of them into a new table beside it (--into-schema SCHEMA)"
    )]
    HasRows {
        /// The table.
        table: TableName,
    },
    /// A table of the archive is not in the target.
    #[error(
        "{table} is not in the target, or is not an ordinary table there; restore the whole archive into another \
         database to get it"
    )]
    NotThere {
        /// The table.
        table: TableName,
    },
    /// The rows to compare are more than whoever asked wants to load into the living database.
    #[error(
        "{bytes} of rows are to be compared, more than the limit of {most} here; the command line has no limit"
    )]
    TooMuch {
        /// How many.
        bytes: ByteSize,
        /// The most.
        most: ByteSize,
    },
    /// The rows of a table cannot be told apart in the target.
    #[error(
        "{table} has no primary key, or one that the archive does not have: its rows cannot be looked up"
    )]
    NoKey {
        /// The table.
        table: TableName,
    },
    /// A table of the target has other columns, so that rows cannot be put back.
    #[error(
        "{why}; put its rows into a new table beside it: --table '{table}' --into-schema SCHEMA"
    )]
    Drifted {
        /// The table.
        table: TableName,
        /// The difference.
        why: String,
    },
    /// A partition of the target refused rows, by a hash that may be another there.
    #[error(
        "{why}; {partition} is a partition of {table} by a hash that is another in each database, so that its rows may belong \
         into other partitions here; restore all of them together: --table '{table}', which needs the same partitions here \
         as in the archive, or put these into a new table beside it: --table '{partition}' --into-schema SCHEMA"
    )]
    OtherHash {
        /// The partition.
        partition: TableName,
        /// The table above it.
        table: TableName,
        /// What the server said.
        why: String,
    },
    /// The role may not write there.
    #[error("{why}; name a role that may write there: --to postgres://OWNER@HOST/DATABASE")]
    NotPermitted {
        /// What the server said.
        why: String,
    },
    /// Rows that were loaded are not those of the archive, though every column was a text.
    #[error(
        "the rows of {table} are not those of the archive after they were loaded, even as text; nothing was put into it: \
         check the archive with `hubvault verify`"
    )]
    NotAsArchived {
        /// The table.
        table: TableName,
    },
    /// The restored rows differ from those of the backup.
    #[error("restored, but not equal: {}", tables.join("; "))]
    Different {
        /// A line for each table.
        tables: Vec<String>,
    },
    /// An entry whose path leaves the target directory.
    #[error("the archive's entry {name:?} points outside the directory; the restore was stopped")]
    Outside {
        /// The entry.
        name: String,
    },
    /// The backup holds none.
    #[error("the backup has no configuration files; nothing was written")]
    NoFiles,
    /// The living database is not as it was when somebody was shown what a restore would do.
    #[error(
        "the database changed since the preview: {what}; nothing was restored: make a new preview"
    )]
    ChangedSince {
        /// How.
        what: String,
    },
    /// A file or directory of the target.
    #[error("{doing} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A window whose condition is SQL that the configuration does not contain.
    #[error(
        "the archive's window of {table} has a condition that the configuration does not have: {condition:?}; it is \
         SQL of the archive's writer and was not run: configure the same window, leave the table out with \
         --table, or, if you read and trust it, use --trust-conditions"
    )]
    ForeignCondition {
        /// The table.
        table: TableName,
        /// The condition.
        condition: String,
    },
    /// The rows that differ could not be written.
    #[error("writing the rows that differ: {source}{}", remedy(source))]
    Differences {
        /// The system's error.
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
