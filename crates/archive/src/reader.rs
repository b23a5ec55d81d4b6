//! Opens an archive, lists it, reads one entry without the rest, and verifies entries.

use crate::codec::decoder;
use crate::entry::{TarHead, hex};
use crate::manifest::{EntryKind, EntryRecord, FORMAT_VERSION, Manifest, RowData};
use crate::trailer::{self, Trailer};
use crate::writer::{MANIFEST, sha256_hex};
use crate::{ArchiveError, ArchiveFile, Codec, Identities, Source};
use hubvault_model::RowDigester;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// A manifest larger than this is refused, in bytes: a million entries fit.
const MANIFEST_LIMIT: u64 = 512 << 20;
/// What is read from the file at once.
const CHUNK: usize = 128 << 10;

/// An archive whose end and manifest were read and checked.
#[derive(Debug)]
pub struct Archive<S: Source = ArchiveFile> {
    source: S,
    codec: Codec,
    manifest: Manifest,
    size: u64,
}

impl Archive<ArchiveFile> {
    /// Opens a file, in the clear or sealed to one of these identities.
    pub fn open_path(path: &Path, identities: &Identities) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(|source| ArchiveError::Read { offset: 0, source })?;
        Self::open(ArchiveFile::open(file, identities)?)
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
                "the manifest's address does not fit the length of the file",
            ));
        }
        let manifest = read_manifest(&source, codec, &trailer)?;
        check(&manifest, codec, &trailer)?;
        let size = source
            .stored_size()
            .map_err(|source| ArchiveError::Read { offset: 0, source })?;
        Ok(Self {
            source,
            codec,
            manifest,
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
    pub fn len(&self) -> u64 {
        self.size
    }

    /// Never true: an archive has at least a manifest.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// The record of an entry by its name.
    pub fn entry(&self, name: &str) -> Option<&EntryRecord> {
        self.manifest
            .entries
            .iter()
            .find(|record| record.name == name)
    }

    /// Reads an entry's content, and of the file no more than that entry. The last read fails
    /// when the content is not what the manifest says.
    pub fn content<'a>(
        &'a self,
        record: &'a EntryRecord,
    ) -> Result<ContentReader<'a>, ArchiveError> {
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
    /// checksums, the tar header, rows and row digest. Returns its bytes in the file.
    pub fn verify_entry(&self, record: &EntryRecord) -> Result<u64, ArchiveError> {
        let verify = || {
            let mut stored = Hashing {
                inner: Range::new(&self.source, record.offset, record.stored_bytes),
                hash: Sha256::new(),
            };
            let decoded = verify_content(self.codec, &mut stored, record);
            // Read what the decoder left, so that the checksum covers every byte.
            io::copy(&mut stored, &mut io::sink())?;
            if sha256_hex(stored.hash) != record.stored_sha256 {
                return Err(invalid(
                    "its bytes in the file are not those that were written",
                ));
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

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
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
        _ if n < 4 => Err(foreign("it is empty or nearly so")),
        [0x1f, 0x8b, 8, 0] => Ok(Codec::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd] => Ok(Codec::Zstd),
        _ => Err(foreign("it begins neither as gzip nor as zstd")),
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
    if trailer.length > MANIFEST_LIMIT {
        return Err(ArchiveError::Manifest(
            "it is larger than any manifest of ours".to_owned(),
        ));
    }
    let mut stored = Hashing {
        inner: Range::new(source, trailer.offset, trailer.length),
        hash: Sha256::new(),
    };
    io::copy(&mut stored, &mut io::sink()).map_err(damaged)?;
    if stored.hash.finalize().as_slice() != trailer.sha256 {
        return Err(ArchiveError::Manifest("its checksum is wrong".to_owned()));
    }
    let read = || {
        let stored = Range::new(source, trailer.offset, trailer.length);
        let mut decoded = decoder(codec, BufReader::with_capacity(CHUNK, stored))?;
        let head = TarHead::read(&mut decoded)?;
        if head.name != MANIFEST || head.size > MANIFEST_LIMIT {
            return Err(invalid(
                "its entry is not called manifest.json or is too large",
            ));
        }
        let mut json = Vec::new();
        decoded.by_ref().take(head.size).read_to_end(&mut json)?;
        Ok(json)
    };
    let json = read().map_err(damaged)?;
    let version: Version =
        serde_json::from_slice(&json).map_err(|e| ArchiveError::Manifest(e.to_string()))?;
    if version.format_version > FORMAT_VERSION {
        return Err(ArchiveError::Newer {
            found: version.format_version,
            known: FORMAT_VERSION,
        });
    }
    serde_json::from_slice(&json).map_err(|e| ArchiveError::Manifest(e.to_string()))
}

/// Read first, because a newer manifest may have another shape.
#[derive(serde::Deserialize)]
struct Version {
    format_version: u32,
}

/// The entries lie without gaps from the first byte to the manifest; their names are distinct and
/// stay inside the folder that they are unpacked into.
fn check(manifest: &Manifest, codec: Codec, trailer: &Trailer) -> Result<(), ArchiveError> {
    let damaged = |what: String| Err(ArchiveError::Manifest(what));
    if manifest.codec != codec {
        return damaged("it names another codec than the file has".to_owned());
    }
    let (mut at, mut names) = (0, HashSet::new());
    for entry in &manifest.entries {
        if entry.offset != at {
            return damaged(format!(
                "entry {} does not begin where the last one ends",
                entry.name
            ));
        }
        let Some(end) = at.checked_add(entry.stored_bytes) else {
            return damaged(format!("entry {} has no end", entry.name));
        };
        at = end;
        if !names.insert(entry.name.as_str()) || !stays_inside(&entry.name) {
            return damaged(format!(
                "entry {:?} has a name that is not allowed",
                entry.name
            ));
        }
    }
    if at != trailer.offset {
        return damaged("the entries do not fill the file".to_owned());
    }
    Ok(())
}

fn stays_inside(name: &str) -> bool {
    let name = name.strip_suffix('/').unwrap_or(name);
    name != MANIFEST
        && !name.contains('\0')
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

fn agree(head: &TarHead, record: &EntryRecord) -> io::Result<()> {
    if head.name != record.name
        || head.size != record.raw_bytes
        || head.mode != record.mode
        || head.link != record.link
    {
        return Err(invalid(format!(
            "its tar header says another name, size, mode or link: {}",
            head.name
        )));
    }
    Ok(())
}

fn verify_content(
    codec: Codec,
    stored: &mut (impl Read + Send),
    record: &EntryRecord,
) -> io::Result<()> {
    let mut decoded = decoder(codec, BufReader::with_capacity(CHUNK, stored))?;
    agree(&TarHead::read(&mut decoded)?, record)?;
    let mut hash = Sha256::new();
    let mut rows = record
        .rows
        .as_ref()
        .map(|data| Rows::new(data, record.raw_bytes));
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < record.raw_bytes {
        let want = usize::try_from(record.raw_bytes - at)
            .unwrap_or(CHUNK)
            .min(CHUNK);
        let n = decoded.read(&mut buffer[..want])?;
        if n == 0 {
            return Err(invalid(format!(
                "it ends {} bytes early",
                record.raw_bytes - at
            )));
        }
        hash.update(&buffer[..n]);
        if let Some(rows) = &mut rows {
            rows.take(&buffer[..n], at);
        }
        at += n as u64;
    }
    if sha256_hex(hash) != record.sha256 {
        return Err(invalid(
            "its content is not what was written (SHA-256 differs)",
        ));
    }
    if let Some(rows) = rows {
        rows.finish()?;
    }
    padding(&mut decoded, record.raw_bytes)
}

/// The rest of the last block is zeros, and nothing comes after.
fn padding(decoded: &mut impl Read, raw_bytes: u64) -> io::Result<()> {
    let mut rest = Vec::new();
    decoded.take(513).read_to_end(&mut rest)?;
    if rest.len() as u64 != (512 - raw_bytes % 512) % 512 || rest.iter().any(|byte| *byte != 0) {
        return Err(invalid("something other than padding follows its content"));
    }
    Ok(())
}

/// Counts the rows of an entry while its content passes.
struct Rows<'a> {
    data: &'a RowData,
    digester: RowDigester,
    begin: u64,
    end: Option<u64>,
}

impl<'a> Rows<'a> {
    fn new(data: &'a RowData, raw_bytes: u64) -> Self {
        let end = raw_bytes
            .checked_sub(data.footer_bytes)
            .filter(|end| *end >= data.header_bytes);
        Self {
            data,
            digester: RowDigester::new(data.format),
            begin: data.header_bytes,
            end,
        }
    }

    /// `piece` lies at `at` in the content.
    fn take(&mut self, piece: &[u8], at: u64) {
        let Some(end) = self.end else { return };
        let within = |place: u64| {
            usize::try_from(place.saturating_sub(at))
                .unwrap_or(usize::MAX)
                .min(piece.len())
        };
        let (from, to) = (within(self.begin), within(end));
        if from < to {
            self.digester.update(&piece[from..to]);
        }
    }

    fn finish(self) -> io::Result<()> {
        if self.end.is_none() {
            return Err(invalid("its header and footer are longer than its content"));
        }
        let found = self.digester.finish().map_err(|e| invalid(e.to_string()))?;
        let said = self.data.digest;
        if found.rows != said.rows {
            return Err(invalid(format!(
                "it holds {} rows, the manifest says {}",
                found.rows, said.rows
            )));
        }
        if found != said {
            return Err(invalid("its row digest is not the manifest's"));
        }
        Ok(())
    }
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
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
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

impl EntryRecord {
    /// True for what tar makes without content.
    pub fn is_bare(&self) -> bool {
        matches!(self.kind, EntryKind::Directory | EntryKind::Link)
    }
}
