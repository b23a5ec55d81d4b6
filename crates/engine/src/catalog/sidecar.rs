//! `<archive>.manifest.json` beside each archive: its manifest, what was proven, and for a sealed
//! one what can be known about it without opening it.

use super::ProofRecord;
use crate::state::file::replaces;
use crate::state::ownership::open_regular;
use hubvault_archive::{Manifest, from_json, hex, manifest_limit};
use hubvault_store::{ErrorKind, Key, LocalDirectory, Store, StoreError};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What the name of a sidecar adds to that of its archive.
pub(crate) const ENDING: &str = ".manifest.json";
/// What a sidecar that is being written ends with instead of `json`.
const FRESH: &str = "new";
/// What a sidecar says. There is no secret in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sidecar {
    /// What was proven about the archive.
    pub proof: ProofRecord,
    /// Whether somebody said that it stays.
    #[serde(default)]
    pub pinned: bool,
    /// How it is sealed; `None` for one in the clear.
    #[serde(flatten)]
    pub seal: Option<Seal>,
    /// Its table of contents.
    pub manifest: Manifest,
}

/// How an archive is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The public keys of those who can open it.
    pub sealed_to: Vec<String>,
    /// Of the file as it lies there.
    pub sha256: String,
}

impl Seal {
    /// Whether a file is the one that was sealed so, by its SHA-256. Reads it whole.
    pub fn is_of(&self, path: &Path) -> io::Result<bool> {
        let mut hash = Sha256::new();
        let mut file = open_regular(path)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => hash.update(&buffer[..n]),
            }
        }
        Ok(hex(&hash.finalize()) == self.sha256)
    }
}

impl Sidecar {
    /// Where an archive's sidecar is.
    pub fn path(archive: &Path) -> PathBuf {
        let mut name = archive.as_os_str().to_owned();
        name.push(ENDING);
        PathBuf::from(name)
    }

    /// Reads the sidecar of an archive; `None` where there is none that can be read. Whoever may write into the
    /// directory may have made it: it is a regular file and no link, of a size that a sidecar of such an archive can
    /// have, and its manifest does not contradict itself.
    pub fn beside(archive: &Path) -> Option<Self> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits() as i32)
            .open(Self::path(archive))
            .ok()?;
        let meta = file.metadata().ok()?;
        // Indented, it is about twice as long as the archive's.
        let limit = 2 * manifest_limit(fs::metadata(archive).ok()?.len());
        if !meta.is_file() || meta.len() > limit {
            return None;
        }
        let mut sidecar: Self = from_json(file, limit).ok()?;
        sidecar.manifest.check().ok()?;
        if !is_trusted(&meta, archive) {
            let whose = format!("its sidecar belongs to another user (uid {})", meta.uid());
            sidecar.pinned = false;
            sidecar.proof = ProofRecord {
                reason: Some(whose),
                ..ProofRecord::default()
            };
        }
        Some(sidecar)
    }

    /// Stores the sidecar of an archive beside it; an older one is replaced as a whole.
    pub fn put(&self, store: &dyn Store, archive: &Key) -> Result<(), StoreError> {
        let wrong = |error| StoreError::new("writing", archive.as_str(), error);
        let json = serde_json::to_vec_pretty(self).map_err(|error| wrong(error.into()))?;
        let key = Key::parse(&format!("{archive}{ENDING}"))
            .map_err(|error| wrong(io::Error::other(error)))?;
        let put = || store.put(&key, &mut json.as_slice()).map(|_| ());
        match put() {
            // A run that began just now took it for a leftover of a crashed one.
            Err(error) if error.kind == ErrorKind::NotFound => put(),
            done => done,
        }
    }

    /// The same for an archive of this machine.
    pub fn write(&self, archive: &Path) -> Result<(), StoreError> {
        let wrong = |error| {
            let shown = archive.display().to_string();
            StoreError::new("writing the sidecar manifest of", shown, error)
        };
        let name = archive.file_name().and_then(|name| name.to_str());
        let key =
            Key::parse(name.unwrap_or_default()).map_err(|error| wrong(io::Error::other(error)))?;
        let store = LocalDirectory::open(archive.parent().unwrap_or(Path::new("")))?;
        self.put(&store, &key).map_err(|error| wrong(error.source))
    }
}

/// Whether what a sidecar says was proven is believed: it is ours, root's, or of whom the directory belongs to.
fn is_trusted(sidecar: &Metadata, archive: &Path) -> bool {
    let parent = match archive.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let owner = fs::metadata(parent).map(|meta| meta.uid());
    let trusted = [0, rustix::process::geteuid().as_raw()];
    trusted.contains(&sidecar.uid()) || owner.is_ok_and(|owner| owner == sidecar.uid())
}

/// Whether this is a sidecar that nobody finished writing.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    // Older versions named them otherwise.
    let sidecar = replaces(path).unwrap_or_else(|| path.with_extension("json"));
    let text = sidecar.to_string_lossy();
    let archive = text.strip_suffix(ENDING).map(Path::new);
    path.extension().is_some_and(|ending| ending == FRESH)
        && archive.is_some_and(super::is_archive_name)
}

/// Whether this is the sidecar of an archive that is not there: a run died before it published.
pub(crate) fn is_stray(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let archive = text.strip_suffix(ENDING).map(Path::new);
    archive.is_some_and(|archive| super::is_archive_name(archive) && !archive.exists())
}
