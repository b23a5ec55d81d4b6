//! Opens an archive, lists it, reads one entry without the rest, and verifies entries.

use crate::codec::decoder;
use crate::entry::{TarHead, hex};
use crate::json::from_json;
use crate::manifest::{EntryRecord, FORMAT_VERSION, Manifest, TableSummary};
use crate::relations::{ByName, find};
use crate::trailer::{self, Trailer};
use crate::verify::{CHUNK, agree, invalid, verify_content};
use crate::writer::{MANIFEST, sha256_hex};
use crate::{ArchiveError, ArchiveFile, Codec, Identities, Source};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A manifest that is larger than this in the file is read again instead of kept, in bytes.
const KEPT_MANIFEST: u64 = 16 << 20;

/// An archive of which only the source says where it is.
pub type AnyArchive = Archive<ArchiveFile<Box<dyn Source>>>;

/// An open archive whose trailer and manifest were checked.
#[derive(Debug)]
pub struct Archive<S: Source = ArchiveFile> {
    source: S,
    codec: Codec,
    manifest: Manifest,
    by_name: ByName,
    size: u64,
}

/// Opens a file to read it. What is not a regular file, such as a pipe without a writer, is an error and never waited
/// for.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32)
        .open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("it is not a regular file"))
}

/// The largest manifest, in bytes, of an archive or sidecar of `size` bytes: 256 MiB, which is enough for 100,000
/// tables, and less for a small archive. A real manifest holds checksums, which do not compress.
pub fn manifest_limit(size: u64) -> u64 {
    size.saturating_mul(128)
        .saturating_add(8 << 20)
        .min(256 << 20)
}

impl Archive<ArchiveFile> {
    /// Opens a file, in the clear or sealed to one of these identities.
    pub fn open_path(path: &Path, identities: &Identities) -> Result<Self, ArchiveError> {
        let file = open_regular(path).map_err(|source| ArchiveError::Read { offset: 0, source })?;
        Self::open(ArchiveFile::open(file, identities)?)
    }
}

impl AnyArchive {
    /// The same of a file.
    pub fn open_file(path: &Path, identities: &Identities) -> Result<Self, ArchiveError> {
        let file = open_regular(path).map_err(|source| ArchiveError::Read { offset: 0, source })?;
        let source: Box<dyn Source> = Box::new(file);
        Self::open(ArchiveFile::open(source, identities)?)
    }
}

impl<S: Source> Archive<S> {
    /// Reads trailer and manifest and checks both; the entries' own bytes are not read.
    pub fn open(source: S) -> Result<Self, ArchiveError> {
        let size = source
            .size()
            .map_err(|source| ArchiveError::Read { offset: 0, source })?;
        let codec = recognise(&source)?;
        let length = trailer::length(codec) as u64;
        let at = size
            .checked_sub(length)
            .ok_or_else(|| foreign("it is too short"))?;
        let trailer = Trailer::read(codec, &read_exactly(&source, at, length)?)?;
        if trailer.offset.checked_add(trailer.length) != Some(at) {
            return Err(foreign(
                "the trailer's offsets do not match the length of the file",
            ));
        }
        let manifest = read_manifest(&source, codec, &trailer)?;
        if manifest.codec != codec {
            return Err(ArchiveError::Manifest(
                "its codec differs from the file's".to_owned(),
            ));
        }
        let by_name = manifest.by_name()?;
        if manifest.end_of_entries() != trailer.offset {
            return Err(ArchiveError::Manifest(
                "the entries do not fill the file".to_owned(),
            ));
        }
        let size = source
            .stored_size()
            .map_err(|source| ArchiveError::Read { offset: 0, source })?;
        Ok(Self {
            source,
            codec,
            manifest,
            by_name,
            size,
        })
    }

    /// What it is read from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The table of contents.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The length of the file in bytes, its seal included.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The record of an entry by its name.
    pub fn entry(&self, name: &str) -> Option<&EntryRecord> {
        let at = find(&self.manifest.entries, &self.by_name, name)?;
        self.manifest.entries.get(at)
    }

    /// The entries of a table, in the order of the file.
    pub fn entries_of(&self, table: &TableSummary) -> Vec<&EntryRecord> {
        let mut entries: Vec<&EntryRecord> = (table.entries.iter())
            .filter_map(|name| self.entry(name))
            .collect();
        entries.sort_by_key(|entry| entry.offset);
        entries
    }

    /// The table of contents alone.
    pub fn into_manifest(self) -> Manifest {
        self.manifest
    }

    /// Reads an entry's content and nothing else of the file. The last read fails
    /// when the content does not match the manifest.
    pub fn content<'a>(
        &'a self,
        record: &'a EntryRecord,
    ) -> Result<ContentReader<'a>, ArchiveError> {
        self.source.will_read(record.offset, record.stored_bytes);
        let stored = Range::new(&self.source, record.offset, record.stored_bytes);
        let open = || {
            let mut decoded = decoder(self.codec, BufReader::with_capacity(CHUNK, stored))?;
            agree(&TarHead::read(&mut decoded)?, record)?;
            Ok(decoded)
        };
        let decoded = open().map_err(|error| wrong(record, &error))?;
        Ok(ContentReader {
            decoded,
            record,
            left: record.raw_bytes,
            hash: Some(Sha256::new()),
        })
    }

    /// Reads an entry whole and recomputes everything that the manifest says about it: both
    /// checksums, the tar header, rows and row digest. Returns its size in the file.
    pub fn verify_entry(&self, record: &EntryRecord) -> Result<u64, ArchiveError> {
        self.verify_entry_unless(record, &|| false)
    }

    /// The same, with an error once `stop` returns true: a small entry may decompress to very much.
    pub fn verify_entry_unless(
        &self,
        record: &EntryRecord,
        stop: &dyn Fn() -> bool,
    ) -> Result<u64, ArchiveError> {
        self.source.will_read(record.offset, record.stored_bytes);
        let verify = || {
            let mut stored = Hashing {
                inner: Range::new(&self.source, record.offset, record.stored_bytes),
                hash: Sha256::new(),
            };
            let decoded = verify_content(self.codec, &mut stored, record, stop);
            // Read what the decoder left, so that the checksum covers every byte.
            io::copy(&mut stored, &mut io::sink())?;
            if sha256_hex(stored.hash) != record.stored_sha256 {
                return Err(invalid("its stored bytes differ from what was written"));
            }
            decoded
        };
        verify().map_err(|error| wrong(record, &error))?;
        Ok(record.stored_bytes)
    }
}

fn foreign(what: &str) -> ArchiveError {
    ArchiveError::Foreign(what.to_owned())
}

fn wrong(record: &EntryRecord, error: &io::Error) -> ArchiveError {
    ArchiveError::Entry {
        name: record.name.clone(),
        offset: record.offset,
        what: error.to_string(),
    }
}

fn recognise(source: &impl Source) -> Result<Codec, ArchiveError> {
    let mut first = [0; 4];
    let n = source
        .read_at(&mut first, 0)
        .map_err(|source| ArchiveError::Read { offset: 0, source })?;
    match first {
        _ if n < 4 => Err(foreign("it is empty or too short")),
        [0x1f, 0x8b, 8, 0] => Ok(Codec::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd] => Ok(Codec::Zstd),
        _ => Err(foreign("it is neither gzip nor zstd")),
    }
}

fn read_exactly(source: &impl Source, at: u64, length: u64) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    let read = Range::new(source, at, length).read_to_end(&mut bytes);
    match read {
        Ok(n) if n as u64 == length => Ok(bytes),
        Ok(_) => Err(foreign("it ends too early")),
        Err(source) => Err(ArchiveError::Read { offset: at, source }),
    }
}

fn read_manifest(
    source: &impl Source,
    codec: Codec,
    trailer: &Trailer,
) -> Result<Manifest, ArchiveError> {
    let damaged = |error: io::Error| ArchiveError::Manifest(error.to_string());
    let limit = manifest_limit(trailer.offset.saturating_add(trailer.length));
    if trailer.length > limit {
        return Err(ArchiveError::Manifest("it is too large".to_owned()));
    }
    // It is read three times: one that is not huge is kept meanwhile.
    let is_kept = trailer.length <= KEPT_MANIFEST;
    if is_kept {
        source.will_read(trailer.offset, trailer.length);
    }
    let kept = is_kept
        .then(|| read_exactly(source, trailer.offset, trailer.length))
        .transpose()?;
    let stored = || -> Box<dyn Read + Send + '_> {
        if let Some(bytes) = &kept {
            return Box::new(bytes.as_slice());
        }
        source.will_read(trailer.offset, trailer.length);
        Box::new(Range::new(source, trailer.offset, trailer.length))
    };
    let mut hashed = Hashing {
        inner: stored(),
        hash: Sha256::new(),
    };
    io::copy(&mut hashed, &mut io::sink()).map_err(damaged)?;
    if hashed.hash.finalize().as_slice() != trailer.sha256 {
        return Err(ArchiveError::Manifest("its checksum is wrong".to_owned()));
    }
    let text = || {
        let mut decoded = decoder(codec, BufReader::with_capacity(CHUNK, stored()))?;
        let head = TarHead::read(&mut decoded)?;
        if head.name != MANIFEST || head.size > limit {
            return Err(invalid(
                "its entry is not called manifest.json or is too large",
            ));
        }
        Ok(decoded.take(head.size))
    };
    let version: Version =
        from_json(text().map_err(damaged)?, limit).map_err(ArchiveError::Manifest)?;
    if version.format_version > FORMAT_VERSION {
        return Err(ArchiveError::Newer {
            found: version.format_version,
            known: FORMAT_VERSION,
        });
    }
    from_json(text().map_err(damaged)?, limit).map_err(ArchiveError::Manifest)
}

/// Read first, because a newer manifest may have a different shape.
#[derive(serde::Deserialize)]
struct Version {
    format_version: u32,
}

/// A part of a source as a stream.
struct Range<'a, S: Source> {
    source: &'a S,
    at: u64,
    end: u64,
}

impl<'a, S: Source> Range<'a, S> {
    fn new(source: &'a S, at: u64, length: u64) -> Self {
        Self {
            source,
            at,
            end: at.saturating_add(length),
        }
    }
}

impl<S: Source> Read for Range<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        let n = self.source.read_at(&mut buffer[..want], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

/// The content of one entry, decompressed and checked as it passes.
pub struct ContentReader<'a> {
    decoded: Box<dyn Read + Send + 'a>,
    record: &'a EntryRecord,
    left: u64,
    hash: Option<Sha256>,
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let n = self.decoded.read(&mut buffer[..want])?;
        if n == 0 && want > 0 {
            return Err(invalid(format!(
                "{} ends {} bytes early",
                self.record.name, self.left
            )));
        }
        self.left -= n as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..n]);
        }
        if self.left == 0
            && let Some(hash) = self.hash.take()
            && hex(&hash.finalize()) != self.record.sha256
        {
            return Err(invalid(format!(
                "the SHA-256 of {} differs",
                self.record.name
            )));
        }
        Ok(n)
    }
}

impl std::fmt::Debug for ContentReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentReader")
            .field("entry", &self.record.name)
            .finish_non_exhaustive()
    }
}
