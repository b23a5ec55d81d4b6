//! `<archive>.manifest.json` beside each archive: its manifest and what was proven, readable without
//! opening the archive.

use super::ProofRecord;
use hubvault_archive::Manifest;
use hubvault_model::BackupId;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Written<'a> {
    proof: &'a ProofRecord,
    pinned: bool,
    manifest: &'a Manifest,
}

#[derive(Deserialize)]
struct Read {
    proof: ProofRecord,
    #[serde(default)]
    pinned: bool,
    manifest: Id,
}

#[derive(Deserialize)]
struct Id {
    id: BackupId,
}

/// Where an archive's sidecar is.
pub fn path(archive: &Path) -> PathBuf {
    let mut name = archive.as_os_str().to_owned();
    name.push(".manifest.json");
    PathBuf::from(name)
}

/// Whether this is the sidecar of an archive that is not there: a run died before it published.
pub(crate) fn is_stray(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let archive = text.strip_suffix(".manifest.json").map(Path::new);
    archive.is_some_and(|archive| super::is_archive_name(archive) && !archive.exists())
}

/// Writes an archive's sidecar, readable by its owner only; an older one is replaced as a whole.
pub fn write(
    archive: &Path,
    manifest: &Manifest,
    proof: &ProofRecord,
    pinned: bool,
) -> io::Result<()> {
    let path = path(archive);
    // Not what a sweep takes for a stray one.
    let fresh = path.with_extension("new");
    let json = serde_json::to_vec_pretty(&Written {
        proof,
        pinned,
        manifest,
    })?;
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

/// What the sidecar says was proven about the archive with this id, and whether it is pinned; `None` without a sidecar, and
/// for one that belongs to another archive.
pub fn read(archive: &Path, id: BackupId) -> Option<(ProofRecord, bool)> {
    let text = fs::read_to_string(path(archive)).ok()?;
    let read: Read = serde_json::from_str(&text).ok()?;
    (read.manifest.id == id).then_some((read.proof, read.pinned))
}
