//! The state directory: what hubvault keeps beside the archives of a backup directory. Locks, keys, tokens, the catalog's
//! file and the progress of a run live here and nowhere else.

pub mod ownership;
mod error;
pub mod mounts;
pub mod permissions;
pub mod file;
pub mod link;
mod run_lock;
mod operation_lock;
pub mod restore_mark;
pub mod service_lock;
pub mod notify_lock;
pub mod lease_wait;
pub mod progress_file;

pub use error::StateError;
pub use operation_lock::OperationLock;
pub use run_lock::RunLock;

use file::check_state;
use hubvault_model::BackupId;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The state directory of a backup directory, `<directory>/.hubvault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Names the state directory of `directory`, which may not exist yet.
    pub fn of(directory: &Path) -> Self {
        Self::at(directory.join(".hubvault"))
    }

    /// Opens the state directory of `directory`, and creates it where it is missing. A directory that another user can
    /// write is refused.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        let Self { path } = Self::of(directory);
        let is_new = !path.exists();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(StateError::io("creating the state directory", &path))?;
        check_state(&path)?;
        if is_new {
            permissions::say_owner(directory);
        }
        permissions::close_directory(&path);
        Ok(Self { path })
    }

    /// The state directory at `path` itself, which must exist; nothing is checked.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the logs of runs.
    pub fn run_logs(&self) -> PathBuf {
        self.file("logs")
    }

    /// Where drills keep empty clusters, of which their servers get copies.
    pub fn empty_clusters(&self) -> PathBuf {
        self.file("empty-clusters")
    }

    /// The log of a run.
    pub fn run_log(&self, run: BackupId) -> PathBuf {
        self.run_logs().join(format!("{run}.log"))
    }

    /// A file of it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
