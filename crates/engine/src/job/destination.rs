//! Where the copies of a job's backups go.

use hubvault_store::{Key, LocalDirectory, Store, StoreError};
use std::path::{Path, PathBuf};

/// The name of the destination that `BACKUP_DIR` is.
pub const LOCAL: &str = "local";

/// A store as a job uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Its name in records and reports.
    pub name: String,
    /// Which store it is.
    pub place: Place,
}

/// Which store a destination is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A directory of this machine.
    Directory(PathBuf),
}

impl Destination {
    /// Opens its store.
    pub fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        match &self.place {
            Place::Directory(path) => Ok(Box::new(LocalDirectory::open(path)?)),
        }
    }

    /// Where an object of it is on this machine.
    pub fn path(&self, key: &Key) -> Option<PathBuf> {
        match &self.place {
            Place::Directory(path) => Some(path.join(key.as_str())),
        }
    }
}

/// All destinations of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destinations {
    directory: PathBuf,
    local: Destination,
    others: Vec<Destination>,
}

impl Destinations {
    /// One directory of this machine, under the name [`LOCAL`].
    pub fn local(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        let local = Destination {
            name: LOCAL.to_owned(),
            place: Place::Directory(directory.clone()),
        };
        Self {
            directory,
            local,
            others: Vec::new(),
        }
    }

    /// The one in which archives are made.
    pub fn first(&self) -> &Destination {
        &self.local
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<&Destination> {
        self.iter().find(|destination| destination.name == name)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Destination> {
        std::iter::once(&self.local).chain(&self.others)
    }

    /// The directory of the destination [`LOCAL`].
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}
