//! Packs files, directories and links for the archive, and collects the warnings about them.

use super::file_entry::{Look, MEMORY, ReadError, ReadFile, entry_meta, read_once, summary};
use crate::run::BackupError;
use hubvault_archive::{Compression, EntryBuilder, EntryKind, FileSummary, PackedEntry};
use hubvault_model::{ByteSize, Warning};
use std::collections::HashSet;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// How often reading a changing file is tried again.
const TRIES: u32 = 10;
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// The files of a run, packed, and warnings about them.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) packed: Vec<PackedEntry>,
    pub(crate) summaries: Vec<FileSummary>,
    pub(crate) warnings: Vec<Warning>,
    pub(super) stored: u64,
    /// The entries' names: what several links lead to is taken once.
    pub(super) names: HashSet<String>,
    /// The resolved paths of the sources, with their names.
    pub(super) places: Vec<(PathBuf, String)>,
    /// Where archives are kept.
    pub(super) backups: Option<PathBuf>,
    /// Links of the current source that are left out, and why.
    pub(super) left_out: Vec<String>,
}

/// Why a path cannot be taken.
pub(super) fn describe(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "does not exist".to_owned()
    } else {
        format!("cannot be read ({error})")
    }
}

impl Files {
    pub(super) fn warn(&mut self, code: &str, path: &Path, what: &str) {
        let message = format!("file {} {what}", path.display());
        self.warnings
            .push(Warning::new(code, path.display(), message));
    }

    /// A file; `look` tells whether it was replaced meanwhile, also by a link.
    pub(super) fn plain(
        &mut self,
        path: &Path,
        name: &str,
        meta: &Metadata,
        look: Look,
        compression: Compression,
    ) -> Result<(), BackupError> {
        if self.names.contains(name) {
            return Ok(());
        }
        let kind = meta.file_type();
        if !kind.is_file() {
            let what = if kind.is_socket() {
                "is a socket: left out"
            } else if kind.is_fifo() {
                "is a pipe: left out"
            } else {
                "is a device: left out"
            };
            self.warn("not-a-file", path, what);
            return Ok(());
        }
        // A large file of zeros takes long to read: never again once nothing more fits.
        let room = MEMORY.saturating_sub(self.stored);
        for _ in 0..TRIES {
            match read_once(path, look, room, compression) {
                Ok(Some(read)) => return self.keep(path, name, read),
                Ok(None) => sleep(PAUSE),
                Err(ReadError::Io(error)) => {
                    self.warn("unreadable-file", path, &describe(&error));
                    return Ok(());
                }
                Err(ReadError::TooLarge) if room < MEMORY => {
                    self.does_not_fit(path);
                    return Ok(());
                }
                Err(ReadError::TooLarge) => {
                    let what = format!(
                        "is too large for a configuration file (over {} compressed): left out",
                        ByteSize(MEMORY)
                    );
                    self.warn("large-file", path, &what);
                    return Ok(());
                }
                Err(ReadError::Archive(error)) => return Err(error.into()),
            }
        }
        self.warn(
            "changing-file",
            path,
            "kept changing while it was read: left out",
        );
        Ok(())
    }

    fn does_not_fit(&mut self, path: &Path) {
        let what = format!(
            "does not fit: all files may take {} compressed",
            ByteSize(MEMORY)
        );
        self.warn("large-file", path, &what);
    }

    fn keep(&mut self, path: &Path, name: &str, read: ReadFile) -> Result<(), BackupError> {
        let stored = read.builder.stored_bytes();
        if self.stored + stored > MEMORY {
            self.does_not_fit(path);
            return Ok(());
        }
        self.stored += stored;
        self.names.insert(name.to_owned());
        let meta = entry_meta(name, EntryKind::Config, None, &read.meta);
        self.summaries.push(FileSummary {
            bytes: read.builder.raw_bytes(),
            sha256: Some(read.sha256),
            ..summary(path, &meta, &read.meta)
        });
        self.packed.push(read.builder.finish(meta)?);
        Ok(())
    }

    pub(super) fn pack_bare(
        &mut self,
        path: &Path,
        name: &str,
        kind: EntryKind,
        link: Option<String>,
        meta: &Metadata,
        compression: Compression,
    ) -> Result<(), BackupError> {
        self.names.insert(name.to_owned());
        let entry = entry_meta(name, kind, link, meta);
        self.summaries.push(summary(path, &entry, meta));
        self.packed
            .push(EntryBuilder::new(compression).finish(entry)?);
        Ok(())
    }
}
