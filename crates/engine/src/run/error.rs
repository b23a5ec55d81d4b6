//! Errors of a backup. Every message says what to do next.

use crate::catalog::CatalogError;
use crate::pool::StopError;
use crate::proof::{DrillError, IntegrityError};
use crate::state::StateError;
use hubvault_archive::ArchiveError;
use hubvault_model::{BackupId, ByteSize, TableName, remedy};
use hubvault_postgres::PgError;
use hubvault_store::StoreError;
use jiff::Timestamp;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A backup that failed: nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something about the database.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// Something about the archive while it was written.
    #[error("writing the archive: {0}")]
    Archive(#[from] ArchiveError),
    /// The written archive failed its integrity check.
    #[error("reading the new archive back: {0}")]
    Integrity(#[from] IntegrityError),
    /// The archive failed the drill.
    #[error(
        "the archive failed the drill: {why}; nothing was published, the archive was kept \
         for analysis as {}", path.display()
    )]
    Rejected {
        /// The problem.
        why: String,
        /// Its path now.
        path: PathBuf,
    },
    /// The drill could not be carried out.
    #[error("drilling the new archive: {0}")]
    Drill(#[from] DrillError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Named tables are absent and the scope says that this is an error.
    #[error(
        "the scope names tables that do not exist in this database: {}; correct [scope] tables, \
         or set missing = \"warn\" to go on without them", names.join(", ")
    )]
    MissingTables {
        /// As they were written.
        names: Vec<String>,
    },
    /// No table of the scope exists.
    #[error(
        "no table of the scope exists in this database, so there is nothing to back up; check \
         the database's name and [scope] tables"
    )]
    NothingInScope,
    /// A window's column is not there.
    #[error(
        "the window on {table} uses the column {column}, which the table does not have; name \
         another column in [[scope.window]] or take the table whole"
    )]
    NoWindowColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// Reading a window would run foreign code as a superuser.
    #[error(
        "comparing {what} of {table} calls a cast function that does not belong to a superuser, but would run with the \
         rights of the backup's role, a superuser; back up as a role that can only read (hubvault backup --dry-run \
         without this window prints the statements), or {instead}"
    )]
    ForeignCast {
        /// The foreign key or the column.
        what: String,
        /// The table that has it.
        table: TableName,
        /// The alternative.
        instead: &'static str,
    },
    /// The role may not read everything that the backup needs.
    #[error(
        "the role {role} may not read everything that this backup needs; run as a superuser or \
         the owner:\n{statements}"
    )]
    Privileges {
        /// The role.
        role: String,
        /// One statement a line, to be run as they are.
        statements: String,
    },
    /// The scheduled run was already done, by another service or by hand.
    #[error("the run due at {due:.0} was already done as backup {}", id.short())]
    AlreadyMade {
        /// Which one.
        id: BackupId,
        /// When it was due.
        due: Timestamp,
    },
    /// Another machine runs the same job.
    #[error(
        "another machine holds the lease of {place}: {holder}, until {until:.0} unless it is renewed; wait for its run to end"
    )]
    LeaseHeld {
        /// The destination that has the lease.
        place: String,
        /// Host and run, as that run wrote them.
        holder: String,
        /// Until when, by that machine's clock.
        until: Timestamp,
    },
    /// Another machine may run the same job by now.
    #[error("lost the lease: {why}; nothing was published, so that no run is doubled")]
    LeaseLost {
        /// Who has it, or why it was not renewed.
        why: String,
    },
    /// Not enough room.
    #[error(
        "{} has {free} free and this backup needs about {needed}; free some space (hubvault prune \
         --after-failed-run removes what retention no longer keeps) or set BACKUP_DIR to a larger disk", directory.display()
    )]
    NoSpace {
        /// Where the archive would go.
        directory: PathBuf,
        /// The space that the plan expects.
        needed: ByteSize,
        /// The free space.
        free: ByteSize,
    },
    /// A file that must be in the archive cannot be read.
    #[error("{message}; correct the [[file]] entry or set required = false")]
    RequiredFile {
        /// Which file and what is wrong with it.
        message: String,
    },
    /// A command whose output must be in the archive failed.
    #[error(
        "the source {name} failed: {command} {what}; correct the command of this [[source]], or set \
         required = false"
    )]
    Source {
        /// The entry.
        name: String,
        /// The command, without secrets.
        command: String,
        /// How it ended, with its last words.
        what: String,
    },
    /// A hook that must not fail failed.
    #[error("{what}; correct the command of this [[hook]], or set on_failure = \"warn\"")]
    Hook {
        /// Which, and how it ended, with its last words.
        what: String,
    },
    /// The state directory, or another run that is at work in it.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file or directory of ours.
    #[error("{doing} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It took longer than it may.
    #[error(
        "the backup took longer than {} s and was stopped, nothing was published; check what its last \
         stage waits for, or set archive.time_limit (BACKUP_TIME_LIMIT) higher", limit.as_secs_f64()
    )]
    TooLong {
        /// Its time limit.
        limit: Duration,
    },
    /// Stopped on request.
    #[error("stopped on request; nothing was published")]
    Cancelled,
    /// A part of the run panicked.
    #[error("internal error: {0}; nothing was published; report this as a bug")]
    Worker(String),
}

impl BackupError {
    /// The message of a panic.
    pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Self::Worker(text.unwrap_or("no message").to_owned())
    }

    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    /// What the disk said while the archive was written, with the file that it was said of.
    pub(crate) fn of_file(self, path: &Path) -> Self {
        match self {
            Self::Archive(ArchiveError::Write { source, .. }) => {
                Self::io("writing the archive", path)(source)
            }
            other => other,
        }
    }

    /// True if the backup did not fail: another run is in progress, or has already been done.
    pub fn is_of_another_run(&self) -> bool {
        matches!(
            self,
            Self::State(StateError::Locked { .. })
                | Self::LeaseHeld { .. }
                | Self::AlreadyMade { .. }
        )
    }

    /// The check that looks at the same thing, between runs; `None` where none does.
    pub fn check(&self) -> Option<&'static str> {
        let is_full = |source: &io::Error| source.kind() == io::ErrorKind::StorageFull;
        match self {
            // There was no session, or it broke.
            Self::Privileges { .. }
            | Self::Postgres(
                PgError::Unreachable { .. }
                | PgError::Login { .. }
                | PgError::NoSuchDatabase { .. }
                | PgError::Pooler { .. }
                | PgError::Tls { .. }
                | PgError::MayNotConnect { .. }
                | PgError::ConnectionLost { .. },
            ) => Some("database"),
            Self::NoSpace { .. } => Some("disk"),
            Self::Io { source, .. } | Self::Archive(ArchiveError::Write { source, .. })
                if is_full(source) =>
            {
                Some("disk")
            }
            _ => None,
        }
    }

    /// True when the run stopped because it was asked to, not because something went wrong.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::Postgres(PgError::Cancelled))
            || matches!(self, Self::Integrity(IntegrityError::Cancelled))
            || matches!(self, Self::Drill(DrillError::Cancelled))
            || matches!(self, Self::State(StateError::Cancelled))
    }
}

impl StopError for BackupError {
    fn stopped() -> Self {
        Self::Cancelled
    }

    fn is_stopped(&self) -> bool {
        self.is_cancelled()
    }
}
