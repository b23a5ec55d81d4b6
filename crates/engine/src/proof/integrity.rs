//! Reads a whole archive back from the disk: every byte, every checksum, every row.

use crate::catalog::sidecar::Seal;
use crate::job::SizeLimits;
use crate::pool::{Pool, StopError};
use hubvault_archive::{
    AnyArchive, ArchiveError, Identities, Manifest, Recipient, Source, hex, open_regular,
};
use hubvault_model::{ByteSize, Cancel};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// An archive failed its integrity check.
#[derive(Debug, thiserror::Error)]
pub enum IntegrityError {
    /// The file itself.
    #[error("{}: {source}", path.display())]
    Archive {
        /// Which file.
        path: PathBuf,
        /// The problem and its place.
        source: ArchiveError,
    },
    /// The archive on disk differs from what was written.
    #[error("the manifest on disk is not the one that was written; the disk may be failing")]
    OtherManifest,
    /// A sealed file that differs from the published one.
    #[error(
        "{}: it is damaged or not the file that was published: its SHA-256 differs from its \
         sidecar's", path.display()
    )]
    OtherFile {
        /// Which file.
        path: PathBuf,
    },
    /// Outside the configured limits.
    #[error(
        "the archive has {actual}, {relation} the {limit} that {setting} sets; correct that \
         setting if the size is right"
    )]
    Size {
        /// What it has.
        actual: ByteSize,
        /// `less than` or `more than`.
        relation: &'static str,
        /// The limit.
        limit: ByteSize,
        /// Which setting.
        setting: &'static str,
    },
    /// Stopped on request.
    #[error("stopped on request")]
    Cancelled,
}

impl StopError for IntegrityError {
    fn stopped() -> Self {
        Self::Cancelled
    }

    fn is_stopped(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

/// An archive that was written and made durable, but not yet checked.
#[derive(Debug)]
pub struct WrittenArchive {
    /// Where it is now.
    pub path: PathBuf,
    /// Of the manifest that was written into it.
    pub manifest_sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Of the whole file, where it is sealed or copied elsewhere.
    pub sha256: Option<String>,
    /// How it is sealed.
    pub seal: Option<Seal>,
    /// The key of the run, which opens it.
    pub identities: Identities,
}

/// An archive that was read back whole and stays open, as its table of contents is large. Only [`check`] makes one.
pub struct CheckedArchive {
    pub(crate) archive: AnyArchive,
    pub(crate) sha256: Option<String>,
    pub(crate) seal: Option<Seal>,
}

impl std::fmt::Debug for CheckedArchive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckedArchive")
            .field("id", &self.archive.manifest().id)
            .field("seal", &self.seal)
            .finish_non_exhaustive()
    }
}

/// The result of reading an archive back.
#[derive(Debug)]
pub struct ReadBack {
    /// Its table of contents.
    pub manifest: Manifest,
    /// Its size.
    pub bytes: u64,
    /// The public keys of the identities that opened it.
    pub opened_by: Vec<Recipient>,
}

/// Checks a new archive: reads it back and compares it with its limits and with what was written.
///
/// Without limits any size is accepted: a small database makes a small archive, and the content is
/// checked by rows, not by bytes.
pub fn check(
    written: WrittenArchive,
    limits: SizeLimits,
    threads: usize,
    tell: &(dyn Fn(u64) + Sync),
    cancel: &Cancel,
) -> Result<CheckedArchive, IntegrityError> {
    let path = &written.path;
    let archive = opened(path, &written.identities)?;
    read_all(&archive, path, threads, tell, cancel)?;
    let sha256 = (archive.manifest().sha256()).map_err(|source| IntegrityError::Archive {
        path: path.clone(),
        source,
    })?;
    if sha256 != written.manifest_sha256 {
        return Err(IntegrityError::OtherManifest);
    }
    let actual = ByteSize(archive.size());
    if let Some(limit) = limits.min.filter(|limit| actual < *limit) {
        let (relation, setting) = ("less than", "BACKUP_MIN_SIZE_MB");
        return Err(IntegrityError::Size {
            actual,
            relation,
            limit,
            setting,
        });
    }
    if let Some(limit) = limits.max.filter(|limit| actual > *limit) {
        let (relation, setting) = ("more than", "BACKUP_MAX_SIZE_MB");
        return Err(IntegrityError::Size {
            actual,
            relation,
            limit,
            setting,
        });
    }
    Ok(CheckedArchive {
        archive,
        sha256: written.sha256,
        seal: written.seal,
    })
}

/// Reads every entry of an archive on `threads` threads; `tell` is called with the bytes that are done.
pub fn read_back(
    path: &Path,
    identities: &Identities,
    threads: usize,
    tell: &(dyn Fn(u64) + Sync),
    cancel: &Cancel,
) -> Result<ReadBack, IntegrityError> {
    read_back_open(opened(path, identities)?, path, threads, tell, cancel)
}

fn opened(path: &Path, identities: &Identities) -> Result<AnyArchive, IntegrityError> {
    AnyArchive::open_file(path, identities).map_err(|source| IntegrityError::Archive {
        path: path.to_owned(),
        source,
    })
}

/// The same of one that is open, wherever it is.
pub fn read_back_open(
    archive: AnyArchive,
    place: &Path,
    threads: usize,
    tell: &(dyn Fn(u64) + Sync),
    cancel: &Cancel,
) -> Result<ReadBack, IntegrityError> {
    read_all(&archive, place, threads, tell, cancel)?;
    Ok(ReadBack {
        bytes: archive.size(),
        opened_by: archive.source().opened_by(),
        manifest: archive.into_manifest(),
    })
}

fn read_all(
    archive: &AnyArchive,
    place: &Path,
    threads: usize,
    tell: &(dyn Fn(u64) + Sync),
    cancel: &Cancel,
) -> Result<(), IntegrityError> {
    let wrong = |source| IntegrityError::Archive {
        path: place.to_owned(),
        source,
    };
    let entries = &archive.manifest().entries;
    let verify = |(): &mut (), entry| {
        let is_stopped = || cancel.is_requested();
        match archive.verify_entry_unless(entry, &is_stopped) {
            Ok(bytes) => tell(bytes),
            Err(_) if is_stopped() => return Err(IntegrityError::Cancelled),
            Err(error) => return Err(wrong(error)),
        }
        Ok(())
    };
    // Opening it checked the tables' totals; the digests of their entries are recomputed here.
    Pool::new(entries, cancel).run(threads, || Ok(()), verify)
}

/// Reads a sealed file without opening it, and compares it with the checksum in its sidecar. Returns its
/// size. This shows only that it is the published file.
pub fn same_file(
    path: &Path,
    seal: &Seal,
    tell: &(dyn Fn(u64) + Sync),
    cancel: &Cancel,
) -> Result<u64, IntegrityError> {
    let file = open_regular(path).map_err(|source| IntegrityError::Archive {
        path: path.to_owned(),
        source: ArchiveError::Read { offset: 0, source },
    })?;
    same_bytes(&file, path, seal, tell, cancel)
}

/// The same of a file anywhere.
pub fn same_bytes(
    file: &dyn Source,
    place: &Path,
    seal: &Seal,
    tell: &(dyn Fn(u64) + Sync),
    cancel: &Cancel,
) -> Result<u64, IntegrityError> {
    let wrong = |offset| {
        move |source| IntegrityError::Archive {
            path: place.to_owned(),
            source: ArchiveError::Read { offset, source },
        }
    };
    file.will_read(0, u64::MAX);
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        if cancel.is_requested() {
            return Err(IntegrityError::Cancelled);
        }
        let n = file.read_at(&mut buffer, bytes).map_err(wrong(bytes))?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        bytes += n as u64;
        tell(n as u64);
    }
    if hex(&hash.finalize()) != seal.sha256 {
        return Err(IntegrityError::OtherFile {
            path: place.to_owned(),
        });
    }
    Ok(bytes)
}
