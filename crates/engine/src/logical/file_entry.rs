//! One configuration file: read whole, and as an entry of the archive.

use crate::state::ownership::open_regular;
use hubvault_archive::{Compression, EntryBuilder, EntryKind, EntryMeta, FileSummary};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Configuration files are held in memory until they are written; this is the limit of all together,
/// compressed.
pub(super) const MEMORY: u64 = 24 << 20;
/// The set-user-ID and the set-group-ID bit.
const SET_ID: u32 = 0o6000;

/// An entry's name and attributes, those of the file.
pub(super) fn entry_meta(
    name: &str,
    kind: EntryKind,
    link: Option<String>,
    meta: &Metadata,
) -> EntryMeta {
    let kept = match kind {
        EntryKind::Directory => 0o7777,
        _ => 0o7777 & !SET_ID,
    };
    EntryMeta {
        name: name.to_owned(),
        kind,
        mode: meta.mode() & kept,
        owner: Some((meta.uid(), meta.gid())),
        mtime: Timestamp::from_second(meta.mtime()).unwrap_or(Timestamp::UNIX_EPOCH),
        link,
        rows: None,
    }
}

/// What the manifest says of a file without content.
pub(super) fn summary(path: &Path, entry: &EntryMeta, meta: &Metadata) -> FileSummary {
    FileSummary {
        source: path.display().to_string(),
        name: entry.name.clone(),
        bytes: 0,
        sha256: None,
        mode: entry.mode,
        owner: entry.owner,
        left_out_bits: meta.mode() & 0o7777 & !entry.mode,
    }
}

/// How to look at a path again: through a link where the user named the path, not through one that was put there.
pub(super) type Look = fn(&Path) -> io::Result<Metadata>;

/// A file that was read whole.
pub(super) struct ReadFile {
    pub(super) builder: EntryBuilder,
    pub(super) sha256: String,
    pub(super) meta: Metadata,
}

/// Why a file was not read.
pub(super) enum ReadError {
    Io(io::Error),
    TooLarge,
    Archive(hubvault_archive::ArchiveError),
}

/// Reads a whole file that takes at most `room` compressed; `None` when it changed meanwhile.
pub(super) fn read_once(
    path: &Path,
    look: Look,
    room: u64,
    compression: Compression,
) -> Result<Option<ReadFile>, ReadError> {
    let mut file = open_regular(path).map_err(ReadError::Io)?;
    let before = file.metadata().map_err(ReadError::Io)?;
    let mut builder = EntryBuilder::new(compression);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = file.read(&mut buffer).map_err(ReadError::Io)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        builder.write(&buffer[..n]).map_err(ReadError::Archive)?;
        if builder.stored_bytes() > room {
            return Err(ReadError::TooLarge);
        }
    }
    // By path, so that a file which was replaced by another is noticed too.
    let after = look(path).map_err(ReadError::Io)?;
    let same = |m: &Metadata| (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec());
    if same(&before) != same(&after) || builder.raw_bytes() != before.size() {
        return Ok(None);
    }
    let sha256 = hubvault_archive::hex(&hash.finalize());
    Ok(Some(ReadFile {
        builder,
        sha256,
        meta: before,
    }))
}
