//! An archive entry in the making: compressed in memory, on any thread.

use crate::codec::{BLOCK, Compressor};
use crate::{ArchiveError, Compression, EntryKind, EntryRecord, RowData};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::io::Read;

/// An entry's name and attributes.
#[derive(Clone, Debug)]
pub struct EntryMeta {
    /// The path inside the archive; a directory's ends with `/`.
    pub name: String,
    /// What it holds.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// User and group by number, for `tar`; root's without.
    pub owner: Option<(u32, u32)>,
    /// When it was last changed, whole seconds.
    pub mtime: Timestamp,
    /// A symbolic link's target.
    pub link: Option<String>,
    /// The rows in it, if any.
    pub rows: Option<RowData>,
}

/// Compresses one entry block by block.
pub struct EntryBuilder {
    compression: Compression,
    compressor: Option<Compressor>,
    block: Vec<u8>,
    members: Vec<Vec<u8>>,
    stored: u64,
    raw: u64,
    hash: Sha256,
}

impl std::fmt::Debug for EntryBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryBuilder")
            .field("raw", &self.raw)
            .finish_non_exhaustive()
    }
}

impl EntryBuilder {
    /// An entry without content.
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            compressor: None,
            block: Vec::new(),
            members: Vec::new(),
            stored: 0,
            raw: 0,
            hash: Sha256::new(),
        }
    }

    /// Adds content.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), ArchiveError> {
        self.raw += bytes.len() as u64;
        while !bytes.is_empty() {
            let take = bytes.len().min(BLOCK - self.block.len());
            self.block.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.block.len() == BLOCK {
                self.hash.update(&self.block);
                self.end_member()?;
            }
        }
        Ok(())
    }

    /// Content so far, in bytes.
    pub fn raw_bytes(&self) -> u64 {
        self.raw
    }

    /// Compressed bytes so far, which are held in memory.
    pub fn stored_bytes(&self) -> u64 {
        self.stored
    }

    fn end_member(&mut self) -> Result<(), ArchiveError> {
        let member = self.compress()?;
        self.stored += member.len() as u64;
        self.members.push(member);
        Ok(())
    }

    fn compress(&mut self) -> Result<Vec<u8>, ArchiveError> {
        let mut compressor = match self.compressor.take() {
            Some(compressor) => compressor,
            None => Compressor::new(self.compression)?,
        };
        let member = compressor.member(&self.block);
        self.block.clear();
        self.compressor = Some(compressor);
        member
    }

    /// Completes the entry: its tar header goes into a member of its own before the content, the
    /// padding to 512 bytes into the last member.
    pub fn finish(mut self, meta: EntryMeta) -> Result<PackedEntry, ArchiveError> {
        self.hash.update(&self.block);
        let padding = (512 - self.raw % 512) % 512;
        self.block.resize(self.block.len() + padding as usize, 0);
        if !self.block.is_empty() {
            self.end_member()?;
        }
        self.block = header(&meta, self.raw)?;
        let header = self.compress()?;
        let mut members = Vec::with_capacity(self.members.len() + 1);
        members.push(header);
        members.append(&mut self.members);
        let mut hash = Sha256::new();
        for member in &members {
            hash.update(member);
        }
        let stored_bytes = members.iter().map(|member| member.len() as u64).sum();
        Ok(PackedEntry {
            record: EntryRecord {
                name: meta.name,
                kind: meta.kind,
                offset: 0,
                stored_bytes,
                raw_bytes: self.raw,
                sha256: hex(&self.hash.finalize()),
                stored_sha256: hex(&hash.finalize()),
                mode: meta.mode,
                link: meta.link,
                rows: meta.rows,
            },
            members,
        })
    }
}

/// A compressed entry, ready to be written.
#[derive(Debug)]
pub struct PackedEntry {
    pub(crate) record: EntryRecord,
    pub(crate) members: Vec<Vec<u8>>,
}

/// The tar header blocks of an entry, with GNU's long-name entries where they are needed.
pub(crate) fn header(meta: &EntryMeta, size: u64) -> Result<Vec<u8>, ArchiveError> {
    let failed = |source| ArchiveError::Header {
        name: meta.name.clone(),
        source,
    };
    let mut header = tar::Header::new_gnu();
    header.set_mode(meta.mode);
    // Numbers without names: in a container, or on another host, a name may be another user's.
    let (user, group) = meta.owner.unwrap_or((0, 0));
    header.set_uid(user.into());
    header.set_gid(group.into());
    header.set_mtime(meta.mtime.as_second().max(0) as u64);
    header.set_size(size);
    let mut builder = tar::Builder::new(Vec::new());
    match (&meta.link, meta.kind) {
        (Some(target), _) => {
            header.set_entry_type(tar::EntryType::Symlink);
            builder
                .append_link(&mut header, &meta.name, target)
                .map_err(failed)?;
        }
        (None, kind) => {
            header.set_entry_type(if kind == EntryKind::Directory {
                tar::EntryType::Directory
            } else {
                tar::EntryType::Regular
            });
            // The content is in other members already.
            builder
                .append_data(&mut header, &meta.name, std::io::empty())
                .map_err(failed)?;
        }
    }
    let mut bytes = builder.into_inner().map_err(failed)?;
    // into_inner ends the tar; our archive goes on.
    bytes.truncate(bytes.len() - 1024);
    Ok(bytes)
}

/// Lower-case hexadecimal digits, as the manifest writes checksums.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Reads the tar header blocks at the start of `content`: the entry's name, size, kind, mode and
/// link target.
pub(crate) struct TarHead {
    pub(crate) name: String,
    pub(crate) kind: tar::EntryType,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) link: Option<String>,
}

impl TarHead {
    /// Reads exactly the header blocks. Long names are limited, so that a header cannot ask for
    /// much memory.
    pub(crate) fn read(content: &mut impl Read) -> std::io::Result<Self> {
        let bad =
            |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let mut header = tar::Header::new_gnu();
            content.read_exact(header.as_mut_bytes())?;
            let size = header.size()?;
            let sum: u32 = header
                .as_bytes()
                .iter()
                .enumerate()
                .map(|(i, byte)| {
                    if (148..156).contains(&i) {
                        32
                    } else {
                        u32::from(*byte)
                    }
                })
                .sum();
            if header.cksum()? != sum {
                return Err(bad("the checksum of the tar header is wrong"));
            }
            let kind = header.entry_type();
            if kind.is_gnu_longname() || kind.is_gnu_longlink() {
                if size > 64 << 10 {
                    return Err(bad("a name in the tar header is too long"));
                }
                let mut text = vec![0; size.next_multiple_of(512) as usize];
                content.read_exact(&mut text)?;
                text.truncate(size as usize);
                while text.last() == Some(&0) {
                    text.pop();
                }
                let text = String::from_utf8(text).map_err(|_| bad("a name is not UTF-8"))?;
                let place = if kind.is_gnu_longname() {
                    &mut long_name
                } else {
                    &mut long_link
                };
                if place.replace(text).is_some() {
                    return Err(bad("a name in the tar header comes twice"));
                }
                continue;
            }
            let utf8 = |bytes: &[u8]| {
                String::from_utf8(bytes.to_vec()).map_err(|_| bad("a name is not UTF-8"))
            };
            let name = match long_name {
                Some(name) => name,
                None => utf8(&header.path_bytes())?,
            };
            let link = match (long_link, header.link_name_bytes()) {
                (Some(link), _) => Some(link),
                (None, Some(link)) => Some(utf8(&link)?),
                (None, None) => None,
            };
            return Ok(Self {
                name,
                kind,
                size,
                mode: header.mode()?,
                link,
            });
        }
    }
}
