//! Writes packed entries one after another, then the manifest and the trailer.

use crate::codec::{BLOCK, Compressor};
use crate::entry::{EntryMeta, header, hex};
use crate::manifest::EntryRecord;
use crate::trailer::Trailer;
use crate::{ArchiveError, Compression, EntryBuilder, EntryKind, Manifest, PackedEntry};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::io::{self, Read, Write};

/// Writes an archive from front to back; it never seeks, so `out` may be a pipe or a cipher.
pub struct ArchiveWriter<W: Write> {
    out: W,
    compression: Compression,
    offset: u64,
    records: Vec<EntryRecord>,
    names: HashSet<String>,
}

impl<W: Write> ArchiveWriter<W> {
    /// An archive without entries.
    pub fn new(out: W, compression: Compression) -> Self {
        Self {
            out,
            compression,
            offset: 0,
            records: Vec::new(),
            names: HashSet::new(),
        }
    }

    /// Writes an entry, which is compressed already. Entries
    /// may come from many threads in any order.
    pub fn append(&mut self, mut entry: PackedEntry) -> Result<(), ArchiveError> {
        if !self.names.insert(entry.record.name.clone()) {
            return Err(ArchiveError::DuplicateName(entry.record.name));
        }
        entry.record.offset = self.offset;
        for member in &entry.members {
            self.put(member, &entry.record.name)?;
        }
        self.records.push(entry.record);
        Ok(())
    }

    /// Writes an entry with `size` bytes from `content`, a block at a time, so that it need not fit into
    /// memory. Returns the SHA-256 of the content. After an error the archive is unusable.
    pub fn append_from(
        &mut self,
        meta: EntryMeta,
        size: u64,
        content: &mut impl Read,
    ) -> Result<String, ArchiveError> {
        if !self.names.insert(meta.name.clone()) {
            return Err(ArchiveError::DuplicateName(meta.name));
        }
        let offset = self.offset;
        let mut compressor = Compressor::new(self.compression)?;
        let (mut raw, mut stored) = (Sha256::new(), Sha256::new());
        let mut block = header(&meta, size)?;
        let mut left = size;
        loop {
            let member = compressor.member(&block)?;
            stored.update(&member);
            self.put(&member, &meta.name)?;
            if left == 0 {
                break;
            }
            let take = left.min(BLOCK as u64) as usize;
            block.resize(take, 0);
            content
                .read_exact(&mut block)
                .map_err(|source| ArchiveError::Content {
                    name: meta.name.clone(),
                    source,
                })?;
            raw.update(&block);
            left -= take as u64;
            // A whole block needs no padding.
            block.resize(take.next_multiple_of(512), 0);
        }
        let sha256 = sha256_hex(raw);
        self.records.push(EntryRecord {
            name: meta.name,
            kind: meta.kind,
            offset,
            stored_bytes: self.offset - offset,
            raw_bytes: size,
            sha256: sha256.clone(),
            stored_sha256: sha256_hex(stored),
            mode: meta.mode,
            link: meta.link,
            rows: meta.rows,
        });
        Ok(sha256)
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.offset
    }

    fn put(&mut self, bytes: &[u8], what: &str) -> Result<(), ArchiveError> {
        self.out
            .write_all(bytes)
            .map_err(|source| ArchiveError::Write {
                what: what.to_owned(),
                source,
            })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Writes the manifest, with the entries filled in, the end of the tar and the trailer.
    /// Returns the flushed output and the manifest as it was written.
    pub fn finish(mut self, mut manifest: Manifest) -> Result<(W, Manifest), ArchiveError> {
        manifest.entries = std::mem::take(&mut self.records);
        drop(std::mem::take(&mut self.names));
        // Compressed as it is made: as text it is several times as large.
        let mut json = Text(EntryBuilder::new(self.compression));
        serde_json::to_writer_pretty(&mut json, &manifest).map_err(ArchiveError::Json)?;
        let Text(mut builder) = json;
        builder.write(b"\n")?;
        let packed = builder.finish(EntryMeta {
            name: MANIFEST.to_owned(),
            kind: EntryKind::Manifest,
            mode: 0o644,
            owner: None,
            mtime: manifest.snapshot.taken_at,
            link: None,
            rows: None,
        })?;
        let offset = self.offset;
        let end = Compressor::new(self.compression)?.member(&[0; 1024])?;
        let mut hash = Sha256::new();
        for member in packed.members.iter().chain([&end]) {
            hash.update(member);
            self.put(member, MANIFEST)?;
        }
        let trailer = Trailer {
            offset,
            length: self.offset - offset,
            sha256: hash.finalize().into(),
        };
        let bytes = trailer.write(self.compression.codec);
        self.put(&bytes, "the end of the archive")?;
        self.out.flush().map_err(|source| ArchiveError::Write {
            what: "the archive".into(),
            source,
        })?;
        Ok((self.out, manifest))
    }
}

/// The content of an entry, as a writer.
struct Text(EntryBuilder);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Manifest {
    /// SHA-256 of its text: that of a manifest that was read is the same as that of the one that was written.
    pub fn sha256(&self) -> Result<String, ArchiveError> {
        let mut text = Hashed(Sha256::new());
        serde_json::to_writer_pretty(&mut text, self).map_err(ArchiveError::Json)?;
        Ok(sha256_hex(text.0))
    }
}

struct Hashed(Sha256);

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The name of the manifest's entry.
pub(crate) const MANIFEST: &str = "manifest.json";

impl<W: Write> std::fmt::Debug for ArchiveWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveWriter")
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// SHA-256 in the manifest's notation.
pub(crate) fn sha256_hex(hash: Sha256) -> String {
    hex(&hash.finalize())
}
