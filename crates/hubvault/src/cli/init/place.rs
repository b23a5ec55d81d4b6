//! The directory for archives: whether it can be written, and whether there is room.

use anyhow::{Context, Result, bail};
use hubvault_engine::disk::free_bytes;
use hubvault_model::ByteSize;
use rustix::fs::{Access, access};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where archives go unless something else is said.
pub(super) fn default_directory(beside: &Path) -> PathBuf {
    if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/backups/hubvault")
    } else {
        beside.join("backups")
    }
}

/// Checks that the directory can be written, or be made, and says what is doubtful about it; `bytes` are those of the
/// database. Changes nothing.
pub(super) fn check(directory: &Path, bytes: Option<u64>) -> Result<Vec<String>> {
    let existing = directory.ancestors().find(|path| path.exists());
    let existing = existing.context("there is no such directory")?;
    if !existing.is_dir() {
        bail!(
            "{} is not a directory; name another one",
            existing.display()
        );
    }
    access(existing, Access::WRITE_OK | Access::EXEC_OK).with_context(|| {
        format!(
            "cannot write to {}; name another directory with --backup-dir, or run as its owner",
            existing.display()
        )
    })?;
    let mut doubts = Vec::new();
    let free = free_bytes(existing)
        .with_context(|| format!("asking for the free space of {}", existing.display()))?;
    if let Some(bytes) = bytes.filter(|bytes| *bytes > free) {
        doubts.push(format!(
            "{} has {} free, and the database measures {} (archives are compressed, and need a part of that)",
            existing.display(),
            ByteSize(free),
            ByteSize(bytes)
        ));
    }
    Ok(doubts)
}

/// Makes it, for its owner alone.
pub(super) fn make(directory: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(directory);
    made.with_context(|| format!("making the directory {} for archives", directory.display()))
}
