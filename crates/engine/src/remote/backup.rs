//! One archive, wherever it is.

use super::archives::{Archives, Listed};
use super::error::RemoteError;
use super::places::impatient;
use crate::catalog::found_mark::latest;
use crate::catalog::marks_beside::names_beside;
use crate::catalog::{BackupCopy, BackupRecord, Contents, Marks, contents, contents_of};
use crate::job::Destinations;
use hubvault_archive::{
    AnyArchive, Archive, ArchiveError, ArchiveFile, Identities, Source, open_regular,
};
use hubvault_model::{BackupId, Cancel};
use hubvault_store::{Key, Requests};
use std::fs;
use std::path::{Path, PathBuf};

/// An archive, wherever it is.
#[derive(Clone, Debug)]
pub struct Backup {
    at: At,
    wanted: Option<BackupId>,
}

#[derive(Clone, Debug)]
enum At {
    /// A file of this machine.
    File(PathBuf),
    /// In a store elsewhere.
    Stored(Box<(Archives, Listed)>),
}

impl Backup {
    /// A file of this machine.
    pub fn at(path: PathBuf) -> Self {
        Self {
            at: At::File(path),
            wanted: None,
        }
    }

    /// One of a store. In a directory of this machine it is a file like any other.
    pub fn of(archives: Archives, listed: Listed) -> Self {
        let wanted = listed.wanted;
        let at = match archives.destination.path(&listed.object.key) {
            Some(path) => At::File(path),
            None => At::Stored(Box::new((archives, listed))),
        };
        Self { at, wanted }
    }

    /// The archive of a recorded backup where a copy is there: on this machine, else at the first destination that has
    /// one. A store that is silent is not waited for.
    pub fn there(
        record: &BackupRecord,
        destinations: &Destinations,
        cancel: &Cancel,
    ) -> Result<Self, RemoteError> {
        if let Some(file) = record.archive() {
            return Ok(Self::at(file.to_owned()).wanted(record.id));
        }
        let mut failed = RemoteError::NoCopy { id: record.id };
        for copy in record.copies.iter().filter(|copy| copy.is_there()) {
            let Some(at) = destinations.named(&copy.destination) else {
                continue;
            };
            let listed = Archives::open(&impatient(at), cancel)
                .and_then(|archives| Ok((archives.find(&copy.key)?, archives)));
            match listed {
                Ok((listed, archives)) => return Ok(Self::of(archives, listed).wanted(record.id)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The same, which must hold this backup: opening another one is an error.
    #[must_use]
    pub fn wanted(self, id: BackupId) -> Self {
        Self {
            wanted: Some(id),
            ..self
        }
    }

    /// Where it is, for people: a path or a URL.
    pub fn place(&self) -> String {
        match &self.at {
            At::File(path) => path.display().to_string(),
            At::Stored(stored) => stored.0.shown(&stored.1.object.key),
        }
    }

    /// The file, where it is one of this machine.
    pub fn file(&self) -> Option<&Path> {
        match &self.at {
            At::File(path) => Some(path),
            At::Stored(_) => None,
        }
    }

    /// Its size in bytes, where that is known.
    pub fn bytes(&self) -> Option<u64> {
        match &self.at {
            At::File(path) => fs::metadata(path).map(|meta| meta.len()).ok(),
            At::Stored(stored) => Some(stored.1.object.bytes),
        }
    }

    /// What was asked of the store for it; `None` for a file.
    pub fn requests(&self) -> Option<Requests> {
        match &self.at {
            At::File(_) => None,
            At::Stored(stored) => Some(stored.0.requests()),
        }
    }

    /// Its bytes.
    pub fn source(&self) -> Result<Box<dyn Source>, RemoteError> {
        match &self.at {
            At::File(path) => {
                let file = open_regular(path)
                    .map_err(|source| self.wrong(ArchiveError::Read { offset: 0, source }))?;
                Ok(Box::new(file))
            }
            At::Stored(stored) => Ok(Box::new(stored.0.source(&stored.1))),
        }
    }

    /// The destination of a backup's copy that this is; `None` where it is no copy that the record knows.
    pub fn copy_of(&self, record: &BackupRecord, destinations: &Destinations) -> Option<String> {
        let is_it = |copy: &&BackupCopy| match &self.at {
            At::Stored(stored) => {
                copy.location.is_some()
                    && copy.is_in_place_of(&stored.0.destination)
                    && copy.key == stored.1.object.key.as_str()
            }
            At::File(path) => {
                let at = destinations.named(&copy.destination);
                let at = at.filter(|at| copy.is_at(at));
                let file = at.and_then(|at| at.path(&Key::parse(&copy.key).ok()?));
                let file = file.and_then(|file| file.canonicalize().ok());
                file.is_some() && file == path.canonicalize().ok()
            }
        };
        let copy = record
            .copies
            .iter()
            .filter(|copy| copy.is_expected())
            .find(is_it)?;
        Some(copy.destination.clone())
    }

    /// Opens it.
    pub fn open(&self, identities: &Identities) -> Result<AnyArchive, RemoteError> {
        self.open_source(self.source()?, identities)
    }

    /// Opens it over its bytes.
    pub fn open_source(
        &self,
        source: Box<dyn Source>,
        identities: &Identities,
    ) -> Result<AnyArchive, RemoteError> {
        let archive = ArchiveFile::open(source, identities)
            .and_then(Archive::open)
            .map_err(|error| self.wrong(error))?;
        self.is_wanted(archive.manifest().id)?;
        Ok(archive)
    }

    fn is_wanted(&self, found: BackupId) -> Result<(), RemoteError> {
        match self.wanted {
            Some(wanted) if wanted != found => Err(RemoteError::OtherBackup {
                place: self.place(),
                wanted,
                found,
            }),
            _ => Ok(()),
        }
    }

    fn wrong(&self, source: ArchiveError) -> RemoteError {
        RemoteError::Archive {
            place: self.place(),
            source,
        }
    }

    /// What is known about it, as [`contents`] finds it out.
    pub fn contents(&self, identities: &Identities) -> Result<Contents, RemoteError> {
        let known = match &self.at {
            At::File(path) => contents(path, identities).map(|known| judged(known, path)),
            At::Stored(stored) => {
                let sidecar = stored.0.judged_sidecar(&stored.1)?;
                contents_of(self.source()?, || sidecar, identities)
            }
        };
        let known = known.map_err(|error| self.wrong(error))?;
        self.is_wanted(known.manifest.id)?;
        Ok(known)
    }
}

/// With what drills showed after its sidecar was written.
fn judged(known: Contents, path: &Path) -> Contents {
    let marks = Marks::beside(path, names_beside(path), known.manifest.id);
    let Some(latest) = latest(&marks.found) else {
        return known;
    };
    let proof = latest.or_same(&known.proof.clone().unwrap_or_default());
    Contents {
        proof: Some(proof),
        ..known
    }
}
