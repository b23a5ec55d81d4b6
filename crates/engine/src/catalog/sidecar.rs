//! `<archive>.manifest.json` beside each archive: its manifest, what was proven, and for a sealed
//! one what can be known about it without opening it.

use super::ProofRecord;
use hubvault_archive::Manifest;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

impl Sidecar {
    /// Where an archive's sidecar is.
    pub fn path(archive: &Path) -> PathBuf {
        let mut name = archive.as_os_str().to_owned();
        name.push(".manifest.json");
        PathBuf::from(name)
    }

    /// Reads the sidecar of an archive; `None` where there is none that can be read.
    pub fn beside(archive: &Path) -> Option<Self> {
        let text = fs::read_to_string(Self::path(archive)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes an archive's sidecar, readable by its owner only; an older one is replaced as a whole.
    pub fn write(&self, archive: &Path) -> io::Result<()> {
        let path = Self::path(archive);
        // Not what a sweep takes for a stray one.
        let fresh = path.with_extension("new");
        let json = serde_json::to_vec_pretty(self)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(&json)?;
        file.sync_all()?;
        fs::rename(fresh, path)
    }
}

/// Whether this is the sidecar of an archive that is not there: a run died before it published.
pub(crate) fn is_stray(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let archive = text.strip_suffix(".manifest.json").map(Path::new);
    archive.is_some_and(|archive| super::is_archive_name(archive) && !archive.exists())
}
