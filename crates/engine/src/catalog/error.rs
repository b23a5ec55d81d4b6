//! Why the catalog cannot be read or written, and what to do.

use crate::state::StateError;
use hubvault_model::remedy;
use std::path::PathBuf;

/// The catalog cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The directory that it is in.
    #[error(transparent)]
    State(#[from] StateError),
    /// `SQLite`.
    #[error("{doing} the catalog {}: {source}{}", path.display(), what_helps(source))]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What `SQLite` said.
        source: rusqlite::Error,
    },
    /// The file.
    #[error("opening the catalog {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no backup directory.
    #[error(
        "the backup directory {} does not exist: mount its disk, correct archive.directory (BACKUP_DIR), or take the \
         first backup, which creates it (hubvault backup)", path.display()
    )]
    NoDirectory {
        /// Which one.
        path: PathBuf,
    },
    /// The backup directory.
    #[error("looking for archives in {}: {source}{}", path.display(), remedy(source))]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A row that this version cannot read.
    #[error(
        "the catalog {} holds a record that cannot be read ({source}); move the file away and \
         run `hubvault catalog rebuild`", path.display()
    )]
    Record {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// More than one backup fits.
    #[error("{prefix:?} names several backups ({}); write more of the id", ids.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// What fits.
        ids: Vec<String>,
    },
}

/// What `SQLite` says of the disk is told in the words of the system; all else may be damage.
fn what_helps(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode;
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => std::io::ErrorKind::StorageFull,
        Some(ErrorCode::ReadOnly) => std::io::ErrorKind::ReadOnlyFilesystem,
        Some(ErrorCode::PermissionDenied) => std::io::ErrorKind::PermissionDenied,
        Some(ErrorCode::CannotOpen) => {
            return "; the user that hubvault runs as needs the right to write to it and to its directory, \
                    and the disk room for it";
        }
        Some(ErrorCode::SystemIoFailure) => {
            return "; the disk does not take or give what it should: look into dmesg, and at df -h";
        }
        Some(ErrorCode::DatabaseBusy) => {
            return "; another process is writing to it: try again, and see who holds it open";
        }
        _ => return "; if it is damaged, move it away and run `hubvault catalog rebuild`",
    };
    remedy(&std::io::Error::from(kind))
}
