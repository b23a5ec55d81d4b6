//! `<archive>.manifest.json` beside each archive: its manifest, what was proven, and for a sealed
//! one what can be known about it without opening it.

use super::ProofRecord;
use crate::ownership::open_regular;
use crate::state_file::{Durability, replace, replaces};
use hubvault_archive::{Manifest, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What a sidecar that is being written ends with instead of `json`.
const FRESH: &str = "new";
/// A sidecar that is larger is cut, and so is none: the limit of a manifest with room for what is around it.
const LARGEST: u64 = 520 << 20;

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
        name.push(".manifest.json");
        PathBuf::from(name)
    }

    /// Reads the sidecar of an archive; `None` where there is none that can be read.
    pub fn beside(archive: &Path) -> Option<Self> {
        let mut text = Vec::new();
        open_regular(&Self::path(archive))
            .and_then(|file| file.take(LARGEST).read_to_end(&mut text))
            .ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes an archive's sidecar, readable by its owner only; an older one is replaced as a whole.
    pub fn write(&self, archive: &Path) -> io::Result<()> {
        let path = Self::path(archive);
        let json = serde_json::to_vec_pretty(self)?;
        let write = || replace(&path, &json, 0o600, Durability::Durable);
        match write() {
            // A run that began just now took it for one that a dead run left.
            Err(error) if error.kind() == io::ErrorKind::NotFound => write(),
            done => done,
        }
    }
}

/// Whether this is a sidecar that nobody finished writing.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    // Older versions named them otherwise.
    let sidecar = replaces(path).unwrap_or_else(|| path.with_extension("json"));
    let text = sidecar.to_string_lossy();
    let archive = text.strip_suffix(".manifest.json").map(Path::new);
    path.extension().is_some_and(|ending| ending == FRESH)
        && archive.is_some_and(super::is_archive_name)
}

/// Whether this is the sidecar of an archive that is not there: a run died before it published.
pub(crate) fn is_stray(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let archive = text.strip_suffix(".manifest.json").map(Path::new);
    archive.is_some_and(|archive| super::is_archive_name(archive) && !archive.exists())
}
