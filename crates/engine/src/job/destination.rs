//! Where the copies of a job's backups go.

use super::RetentionRules;
use crate::disk::filesystem;
use hubvault_model::ByteSize;
use hubvault_store::{Address, Key, Location, Options, Store, StoreError};
use std::path::{Path, PathBuf};

/// The name of the destination that `BACKUP_DIR` is.
pub const LOCAL: &str = "local";

/// A store as a job uses it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its name in records and reports.
    pub name: String,
    /// Where it is.
    pub location: Location,
    /// How it is opened, and whether what is stored there is locked.
    pub options: Options,
    /// What goes there, and how.
    pub rules: CopyRules,
}

/// What goes to a destination, and how.
#[derive(Clone, Debug)]
pub struct CopyRules {
    /// Which archives may go there.
    pub sealed: SealRule,
    /// Which stay there; `None`: those of the job.
    pub keep: Option<RetentionRules>,
    /// Bytes a second at most.
    pub bytes_per_second: Option<ByteSize>,
    /// Which backups go there.
    pub when: CopyWhen,
    /// Whether a run without this copy ends with a warning.
    pub required: bool,
}

impl Default for CopyRules {
    fn default() -> Self {
        Self {
            sealed: SealRule::Optional,
            keep: None,
            bytes_per_second: None,
            when: CopyWhen::Always,
            required: true,
        }
    }
}

/// Which archives may go to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealRule {
    /// Only sealed ones.
    Required,
    /// All.
    Optional,
}

/// Which backups go to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyWhen {
    /// Every one.
    Always,
    /// The first of a day.
    Daily,
    /// The first of a week.
    Weekly,
}

impl CopyWhen {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
        }
    }
}

impl Destination {
    /// A destination that takes every backup.
    pub fn new(name: impl Into<String>, location: Location) -> Self {
        Self {
            name: name.into(),
            location,
            options: Options::default(),
            rules: CopyRules::default(),
        }
    }

    /// The filesystem of a directory of this machine.
    pub(crate) fn filesystem(&self) -> Option<String> {
        let known = filesystem(self.location.directory()?).ok()?;
        Some(format!("{known:016x}"))
    }

    /// Opens its store.
    pub fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        hubvault_store::open(&self.location, &self.options)
    }

    /// Where it is, in one form.
    pub fn address(&self) -> Address {
        Address::of(&self.location, &self.options)
    }

    /// Whether this is where it is, however that is written.
    pub fn is_at(&self, location: &Location) -> bool {
        self.location == *location || Address::of(location, &self.options) == self.address()
    }

    /// Whether one of the two is the other or lies in it, as far as their names say: what is stored at one may be the
    /// other's.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.address().overlaps(&other.address())
    }

    /// Where an object of it is on this machine; `None` for a place elsewhere.
    pub fn path(&self, key: &Key) -> Option<PathBuf> {
        let directory = self.location.directory()?;
        Some(directory.join(key.as_str()))
    }
}

/// All destinations of a job, and the directory in which its archives are made.
#[derive(Clone, Debug)]
pub struct Destinations {
    directory: PathBuf,
    local: Destination,
    keeps_local: bool,
    others: Vec<Destination>,
}

impl Destinations {
    /// One directory of this machine, under the name [`LOCAL`].
    pub fn local(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self {
            local: Destination::new(LOCAL, Location::Directory(directory.clone())),
            directory,
            keeps_local: true,
            others: Vec::new(),
        }
    }

    /// The same with further destinations.
    #[must_use]
    pub fn with(mut self, others: impl IntoIterator<Item = Destination>) -> Self {
        self.others.extend(others);
        self
    }

    /// The same with these rules for the directory.
    #[must_use]
    pub fn with_local_rules(mut self, rules: CopyRules) -> Self {
        self.local.rules = rules;
        self
    }

    /// The same where the directory is no destination: an archive leaves it once it is copied.
    #[must_use]
    pub fn spool_only(mut self) -> Self {
        self.keeps_local = false;
        self
    }

    /// Whether archives stay in the directory in which they are made.
    pub fn keeps_local(&self) -> bool {
        self.keeps_local
    }

    /// The directory in which archives are made, as a destination.
    pub fn first(&self) -> &Destination {
        &self.local
    }

    /// Those to which archives are copied.
    pub fn others(&self) -> &[Destination] {
        &self.others
    }

    /// The one of this name. The directory has the name [`LOCAL`] also where archives do not stay in it.
    pub fn named(&self, name: &str) -> Option<&Destination> {
        self.configured()
            .find(|destination| destination.name == name)
    }

    /// The directory in which archives are made, and all others.
    pub fn configured(&self) -> impl Iterator<Item = &Destination> {
        std::iter::once(&self.local).chain(&self.others)
    }

    /// Each in which archives stay.
    pub fn iter(&self) -> impl Iterator<Item = &Destination> {
        let local = Some(&self.local).filter(|_| self.keeps_local);
        local.into_iter().chain(&self.others)
    }

    /// The directory in which archives are made.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}
