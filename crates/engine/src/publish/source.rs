//! An archive that is to be copied, where it is read from, and whether it is what was proven.

use super::held_lease::Term;
use super::whole::whole_source;
use crate::catalog::sidecar::Sidecar;
use crate::catalog::{BackupRecord, CopyState, Pin, ProofRecord};
use crate::job::{Destination, LOCAL};
use crate::remote::{self, Patience, StoredObject, open_source, sidecar_bytes};
use hubvault_archive::{AnyArchive, ArchiveError, Source as Bytes, open_regular};
use hubvault_model::{BackupId, Cancel};
use hubvault_store::{Key, Store, StoreError};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use super::copy_error::{CopyError, Scope};

/// Why a copy cannot be made.
pub(super) const NO_SOURCE: &str =
    "no whole copy is left to make it from; hubvault copies verify --full looks for one";

/// The same of a backup, with what is known of its copies.
pub(super) fn no_source(record: &BackupRecord) -> String {
    let removed = record
        .copies
        .iter()
        .filter(|copy| copy.state == CopyState::Removed);
    let names: Vec<&str> = removed.map(|copy| copy.destination.as_str()).collect();
    if names.is_empty() {
        return NO_SOURCE.to_owned();
    }
    format!(
        "no copy is left to make it from: retention, somebody or another machine removed it at {}",
        names.join(" and ")
    )
}

/// An archive that is to be copied.
pub(super) struct Task {
    pub(super) backup: BackupId,
    pub(super) key: Key,
    /// Its size.
    pub(super) bytes: u64,
    /// Its SHA-256, where that is known.
    pub(super) sha256: Option<String>,
    pub(super) is_sealed: bool,
    /// Whether the catalog says that it is at the destination, whole or damaged.
    pub(super) was_stored: bool,
    /// What a new sidecar says.
    pub(super) proof: ProofRecord,
    pub(super) pin: Option<Pin>,
    pub(super) source: Source,
    /// The lease of the run that copies it.
    pub(super) lease: Option<Arc<Term>>,
}

/// Where it is read from.
pub(super) enum Source {
    /// A file of this machine.
    File(PathBuf),
    /// A copy at another destination.
    Copy(Box<Destination>),
}

impl Source {
    /// The name of the destination that has it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::File(_) => LOCAL,
            Self::Copy(other) => &other.name,
        }
    }
}

/// Why an archive that is not sealed is refused.
pub(super) const ONLY_SEALED: &str =
    "this destination takes only sealed ones (sealed = \"required\")";

impl Task {
    /// Fails once another machine may run the same job.
    pub(super) fn check_lease(&self) -> Result<(), CopyError> {
        let Some(lease) = &self.lease else {
            return Ok(());
        };
        let lost = |why| CopyError::Refused(format!("the lease was lost: {why}"));
        lease.check().map_err(lost)
    }

    /// Whether it is only looked for at the destination itself: it is nowhere else.
    pub(super) fn is_of(&self, destination: &Destination) -> bool {
        matches!(&self.source, Source::Copy(other) if other.name == destination.name)
    }

    /// The SHA-256 of what is to be copied: the recorded one, that in the sidecar of a sealed archive, else that of an
    /// archive that is read now and whole by its own manifest.
    pub(super) fn proven_sha256(&self, cancel: &Cancel) -> Result<String, CopyError> {
        match self.known_sha256()? {
            Some(known) => Ok(known),
            None => self.prove(cancel),
        }
    }

    fn known_sha256(&self) -> Result<Option<String>, CopyError> {
        match &self.sha256 {
            None if self.is_sealed => self.sealed_sha256().map(Some),
            known => Ok(known.clone()),
        }
    }

    /// The same once what is to be copied was read and is that.
    pub(super) fn prove(&self, cancel: &Cancel) -> Result<String, CopyError> {
        let known = self.known_sha256()?;
        let hashed = match &known {
            Some(_) => hash(&mut self.open()?, cancel),
            None => self.hash_whole(cancel),
        };
        let (bytes, sha256) = match hashed {
            Err(CopyError::Store(error)) => return Err(CopyError::Source(error.to_string())),
            hashed => hashed?,
        };
        if bytes != self.bytes || known.is_some_and(|known| known != sha256) {
            return Err(self.damaged("its size or checksum is another"));
        }
        Ok(sha256)
    }

    fn damaged(&self, why: &str) -> CopyError {
        CopyError::Damaged(format!(
            "{} is not what was proven any more: {why}; run hubvault verify {}",
            self.key,
            self.backup.short()
        ))
    }

    fn sealed_sha256(&self) -> Result<String, CopyError> {
        let json = self.sidecar()?;
        let sidecar = json.and_then(|json| Sidecar::parse(json.as_slice(), self.bytes));
        let of_this = sidecar.filter(|sidecar| sidecar.manifest.id == self.backup);
        let seal = of_this.and_then(|sidecar| sidecar.seal);
        seal.map(|seal| seal.sha256).ok_or_else(|| {
            CopyError::Source(format!(
                "the checksum of the sealed archive {} is neither recorded nor in a sidecar beside it, so that it cannot \
                 be compared; run hubvault verify {} with its key",
                self.key,
                self.backup.short()
            ))
        })
    }

    /// The size and SHA-256 of what is whole by its own manifest.
    fn hash_whole(&self, cancel: &Cancel) -> Result<(u64, String), CopyError> {
        let whole = whole_source(self.bytes_of(cancel)?, &self.key, self.backup, cancel)?;
        whole.map_err(|why| self.damaged(&why))
    }

    /// Opens it as an archive that is not sealed; the inner error is the archive's.
    pub(super) fn open_archive(
        &self,
        cancel: &Cancel,
    ) -> Result<Result<AnyArchive, ArchiveError>, CopyError> {
        let shown = match &self.source {
            Source::File(path) => path.display().to_string(),
            Source::Copy(_) => self.key.to_string(),
        };
        open_source(self.bytes_of(cancel)?, &shown)
            .map_err(|error| CopyError::Source(error.to_string()))
    }

    /// Its bytes, to be read anywhere.
    fn bytes_of(&self, cancel: &Cancel) -> Result<Box<dyn Bytes>, CopyError> {
        let wrong = |error: StoreError| CopyError::Source(error.to_string());
        match &self.source {
            Source::File(path) => match open_regular(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => {
                    let shown = path.display().to_string();
                    Err(wrong(StoreError::new("reading", shown, error)))
                }
            },
            Source::Copy(other) => {
                let store: Arc<dyn Store> = Arc::from(other.open().map_err(wrong)?);
                let Some(object) = store.head(&self.key).map_err(wrong)? else {
                    return Err(CopyError::Source(format!(
                        "{} is not at {} any more",
                        self.key, other.name
                    )));
                };
                let patience = Patience::default();
                Ok(Box::new(StoredObject::new(store, object, patience, cancel)))
            }
        }
    }

    pub(super) fn open(&self) -> Result<Box<dyn Read + Send>, CopyError> {
        let opened = match &self.source {
            Source::File(path) => File::open(path)
                .map(|file| Box::new(file) as Box<dyn Read + Send>)
                .map_err(|error| StoreError::new("reading", path.display().to_string(), error)),
            Source::Copy(other) => (other.open())
                .and_then(|store| store.read_range(&self.key, 0, self.bytes.saturating_add(1))),
        };
        opened.map_err(|error| CopyError::Source(error.to_string()))
    }

    /// What the sidecar says; `None` where there is none.
    pub(super) fn sidecar(&self) -> Result<Option<Vec<u8>>, CopyError> {
        let found = match &self.source {
            Source::File(path) => sidecar_beside(path, self.bytes),
            Source::Copy(other) => other
                .open()
                .and_then(|store| sidecar_bytes(&*store, &self.key, self.bytes)),
        };
        found.map_err(|error| CopyError::Source(error.to_string()))
    }
}

/// The sidecar of an archive of this machine.
pub(super) fn sidecar_beside(archive: &Path, bytes: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let path = Sidecar::path(archive);
    let mut found = Vec::new();
    let read = File::open(&path).and_then(|file| {
        file.take(Sidecar::limit(bytes))
            .read_to_end(&mut found)
            .map(|_| ())
    });
    match read {
        Ok(()) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::new(
            "reading",
            path.display().to_string(),
            error,
        )),
    }
}

/// The size and SHA-256 of a stream.
pub(super) fn hash(content: &mut dyn Read, cancel: &Cancel) -> Result<(u64, String), CopyError> {
    remote::hash(content, cancel).map_err(|error| {
        if cancel.is_requested() {
            return CopyError::Stopped;
        }
        StoreError::new("reading back", "the copy", error).into()
    })
}

/// The lock of who makes copies at a destination.
pub(super) fn turn_of(name: &str) -> String {
    format!("copies-{name}.lock")
}
