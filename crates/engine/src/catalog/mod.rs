//! The catalog: what ran, with which result, in a file of `SQLite` that the archives' manifests can rebuild.

mod error;
mod copy;
mod outside;
pub(crate) mod pin;
pub(crate) mod drill_mark;
mod record;
mod archive;
mod in_the_clear;
pub mod sidecar;
pub(crate) mod found_mark;
pub(crate) mod marks_beside;
mod contents;
mod brief;
mod summary;
mod records;
mod browse;
mod known_tables;
mod rebuild;
mod outbox_item;
mod outbox;
mod message_list;
mod alerts;
mod seal;
mod role;

pub use alerts::{AlertState, CheckState};
pub use browse::{Order, Selection};
pub(crate) use contents::contents_of;
pub use contents::{Contents, contents};
pub use copy::{BackupCopy, CopyState, RequestRecord};
pub use drill_mark::DrillMark;
pub use error::CatalogError;
pub(crate) use found_mark::FoundMark;
pub use known_tables::KnownTables;
pub(crate) use marks_beside::Marks;
pub use outbox::{CHANGE_CHECK, Claimed};
pub use outbox_item::{Content, Enclosure, OutboxItem, OutboxState, Recipient, RecipientState};
pub use outside::OutsideRecord;
pub use pin::Pin;
pub(crate) use rebuild::published_as;
pub use rebuild::{Rebuilt, catch_up, current, current_or_new, rebuild};
pub(crate) use record::TRIED_AGAIN;
pub use record::{
    BackupRecord, DeliveryRecord, DrillRecord, ProofRecord, State, TableRecord, Undelivered,
};
pub(crate) use records::CLOCK_TOLERANCE;
pub use seal::{Answered, Standing, standing};
pub use summary::RunSummary;

use crate::job::Destinations;
use crate::state::StateDir;
use crate::state::file::{Access, open};
use hubvault_archive::SEALED_ENDING;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn is_denied(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

/// How long another process that writes is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The open catalog.
#[derive(Debug)]
pub struct Catalog {
    state: StateDir,
    path: PathBuf,
    db: Connection,
    is_read_only: bool,
    has_summaries: bool,
    has_messages: bool,
    /// A job, and where its copies are.
    known: Option<(String, Destinations)>,
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS backups (
        id TEXT PRIMARY KEY,
        job TEXT NOT NULL,
        state TEXT NOT NULL,
        file TEXT,
        started_at TEXT NOT NULL,
        finished_at TEXT,
        bytes INTEGER,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS backups_started ON backups (started_at);
    CREATE TABLE IF NOT EXISTS tables (
        backup TEXT NOT NULL REFERENCES backups (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        rows INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (backup, name)
    ) STRICT;
";
/// Of the tables' form, in the file's header.
const VERSION: u32 = 1;

impl Catalog {
    /// Opens `catalog.sqlite` of a state directory, made when it is not there. On a disk that is read-only, or somebody
    /// else's, what is there is read all the same. Writes nothing where all is as it should be: a full disk can be looked at.
    pub fn open(state: &StateDir) -> Result<Self, CatalogError> {
        let path = state.file("catalog.sqlite");
        // SQLite would make it readable by all.
        let is_read_only = match open(&path, Access::Append) {
            Ok(_) => false,
            Err(error) if is_denied(&error) && path.is_file() => true,
            Err(source) => return Err(CatalogError::Io { path, source }),
        };
        let connect = || {
            if is_read_only {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let db = Connection::open_with_flags(&path, flags)?;
                let has = (
                    summary::prepare(&db, true)?,
                    message_list::prepare(&db, true)?,
                );
                return Ok((db, has));
            }
            let db = Connection::open(&path)?;
            db.busy_timeout(BUSY_TIMEOUT)?;
            db.pragma_update(None, "foreign_keys", true)?;
            // The journal's room and inode stay its own, so that a full disk can be written down as such, and an alert
            // that was told is not told at every look.
            db.pragma_update_and_check(None, "journal_mode", "PERSIST", |_| Ok(()))?;
            for schema in [
                SCHEMA,
                seal::SCHEMA,
                role::SCHEMA,
                outbox::SCHEMA,
                alerts::SCHEMA,
            ] {
                db.execute_batch(schema)?;
            }
            let version: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version != VERSION {
                db.pragma_update(None, "user_version", VERSION)?;
            }
            let has = (
                summary::prepare(&db, false)?,
                message_list::prepare(&db, false)?,
            );
            Ok((db, has))
        };
        let begun = Instant::now();
        let mut opened = connect();
        // Where two make it at once, SQLite refuses one of them without waiting.
        while opened.as_ref().is_err_and(is_busy) && begun.elapsed() < BUSY_TIMEOUT {
            std::thread::sleep(Duration::from_millis(20));
            opened = connect();
        }
        let (db, (has_summaries, has_messages)) =
            opened.map_err(|source| CatalogError::Sqlite {
                doing: "opening",
                path: path.clone(),
                source,
            })?;
        Ok(Self {
            state: state.clone(),
            path,
            db,
            is_read_only,
            has_summaries,
            has_messages,
            known: None,
        })
    }

    /// The same, which compares what is recorded of this job's copies with its destinations.
    #[must_use]
    pub fn of_job(mut self, job: &str, destinations: &Destinations) -> Self {
        self.known = Some((job.to_owned(), destinations.clone()));
        self
    }

    /// True where it can only be read.
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// The state directory that it lies in.
    pub fn state(&self) -> &StateDir {
        &self.state
    }

    /// The directory of the destination `local`, which the state directory lies in.
    fn directory(&self) -> &Path {
        self.state.path().parent().unwrap_or(Path::new(""))
    }

    fn json<T: Serialize>(&self, value: &T) -> Result<String, CatalogError> {
        serde_json::to_string(value).map_err(|source| CatalogError::Record {
            path: self.path.clone(),
            source,
        })
    }

    fn parse<T: DeserializeOwned>(&self, json: &str) -> Result<T, CatalogError> {
        serde_json::from_str(json).map_err(|source| CatalogError::Record {
            path: self.path.clone(),
            source,
        })
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> CatalogError {
        let path = self.path.clone();
        move |source| CatalogError::Sqlite {
            doing,
            path,
            source,
        }
    }
}

/// Whether a file is called as our archives and their sidecars are.
pub(crate) fn is_archive_or_sidecar(path: &Path) -> bool {
    let text = path.to_string_lossy();
    is_archive_name(Path::new(
        text.strip_suffix(sidecar::ENDING).unwrap_or(&text),
    ))
}

/// Whether a file is called as the sidecar of one of our archives is.
pub(crate) fn is_sidecar_name(name: &OsStr) -> bool {
    let archive = name.as_bytes().strip_suffix(sidecar::ENDING.as_bytes());
    archive.is_some_and(|archive| is_archive_name(Path::new(OsStr::from_bytes(archive))))
}

/// Whether a file is called as our archives are, sealed or not.
pub(crate) fn is_archive_name(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let name = name.strip_suffix(SEALED_ENDING).unwrap_or(name);
    name.starts_with("critical_backup_")
        && (name.ends_with(".tar.gz") || name.ends_with(".tar.zst"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_known_by_their_names() {
        let is = |ending: &str| {
            let name = format!("critical_backup_20260131_020000{ending}");
            is_archive_name(Path::new(&name))
        };
        assert!(
            [".tar.gz", ".tar.zst", ".tar.gz.age", ".tar.zst.age"]
                .into_iter()
                .all(is)
        );
        for other in [
            "",
            ".age",
            ".tar.gz.age.age",
            ".tar.gz.rejected",
            ".tar.gz.age.manifest.json",
        ] {
            assert!(!is(other), "{other}");
        }
        for (name, is_sidecar) in [
            ("critical_backup_1.tar.gz.age.manifest.json", true),
            ("critical_backup_1.tar.gz.manifest.json.new", false),
            ("other.manifest.json", false),
            ("critical_backup_1.tar.gz", false),
        ] {
            assert_eq!(is_sidecar_name(OsStr::new(name)), is_sidecar, "{name}");
        }
    }

    #[test]
    fn the_catalog_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Catalog::open(&StateDir::at(dir.path())).unwrap();
        let meta = std::fs::metadata(dir.path().join("catalog.sqlite")).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    }
}
