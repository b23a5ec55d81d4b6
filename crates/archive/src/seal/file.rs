//! Random access to an archive file that may be sealed, from any thread.

use super::identity::{Identities, Identity};
use super::recipient::Recipient;
use crate::{ArchiveError, Source};
use age::DecryptError;
use age::stream::StreamReader;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

/// The first line of every age file.
const FIRST_LINE: &[u8] = b"age-encryption.org/v1\n";
/// A longer header is refused: more than 300 recipients of the largest kind fit.
const HEADER_LIMIT: usize = 256 << 10;
/// Plaintext in a chunk, and what sealing adds to it, in bytes.
const CHUNK: u64 = 64 << 10;
const TAG: u64 = 16;
/// Readers of a sealed file that are kept at once: each holds a decrypted chunk of 64 KiB.
const OPEN_READERS: usize = 16;

/// An archive file, sealed or not.
#[derive(Debug)]
pub enum ArchiveFile<S: Source = File> {
    /// In the clear.
    Plain(S),
    /// Sealed, and opened by an identity.
    Sealed(SealedFile<S>),
}

impl<S: Source> ArchiveFile<S> {
    /// Opens a file, and decrypts it when it is sealed.
    pub fn open(source: S, identities: &Identities) -> Result<Self, ArchiveError> {
        match keys(&source)? {
            None => Ok(Self::Plain(source)),
            Some(keys) => SealedFile::open(source, keys, identities).map(Self::Sealed),
        }
    }

    /// The public keys of the identities that open it; empty when it is not sealed.
    pub fn opened_by(&self) -> Vec<Recipient> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Sealed(sealed) => sealed.identities.iter().map(|i| i.public.clone()).collect(),
        }
    }
}

impl<S: Source> Source for ArchiveFile<S> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read_at(buffer, offset),
            Self::Sealed(sealed) => sealed.read_at(buffer, offset),
        }
    }

    fn size(&self) -> io::Result<u64> {
        match self {
            Self::Plain(source) => source.size(),
            Self::Sealed(sealed) => Ok(sealed.length),
        }
    }

    fn stored_size(&self) -> io::Result<u64> {
        match self {
            Self::Plain(source) => source.stored_size(),
            Self::Sealed(sealed) => sealed.source.stored_size(),
        }
    }

    fn will_read(&self, offset: u64, length: u64) {
        match self {
            Self::Plain(source) => source.will_read(offset, length),
            Self::Sealed(sealed) => sealed.will_read(offset, length),
        }
    }
}

/// A sealed file that was opened. Every chunk is authenticated before any byte of it is returned.
pub struct SealedFile<S: Source> {
    source: Arc<S>,
    /// The identities that open it.
    identities: Vec<Arc<Identity>>,
    /// The length of the plaintext; authenticated.
    length: u64,
    /// Idle readers, the most recently used last.
    idle: Mutex<Vec<Reader<S>>>,
}

struct Reader<S: Source> {
    stream: StreamReader<BufReader<Position<S>>>,
    at: u64,
}

impl<S: Source> SealedFile<S> {
    fn open(source: S, keys: usize, identities: &Identities) -> Result<Self, ArchiveError> {
        let source = Arc::new(source);
        let (mut fitting, mut first) = (Vec::new(), None);
        for identity in identities.iter() {
            match decrypt(&source, identity) {
                Ok(stream) => {
                    fitting.push(Arc::clone(identity));
                    first.get_or_insert(stream);
                }
                Err(DecryptError::NoMatchingKeys) => {}
                Err(error) => return Err(damaged(describe(&error))),
            }
        }
        let Some(mut stream) = first else {
            return Err(ArchiveError::Sealed {
                // One of them is the key of the run.
                recipients: keys.saturating_sub(1).max(1),
                tried: identities.len(),
            });
        };
        // The last chunk is marked as the last, so that truncation is noticed.
        let length = stream
            .seek(SeekFrom::End(0))
            .map_err(|error| damaged(format!("its end was cut off or changed ({error})")))?;
        let reader = Reader { stream, at: length };
        Ok(Self {
            source,
            identities: fitting,
            length,
            idle: Mutex::new(vec![reader]),
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        if want == 0 {
            return Ok(0);
        }
        let mut reader = self.reader_at(offset)?;
        // After an error the reader's state is undefined: it is dropped.
        let n = reader.read(&mut buffer[..want], offset).map_err(|error| {
            let what = format!("the sealed bytes at offset {offset} cannot be decrypted: {error}");
            io::Error::new(error.kind(), what)
        })?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() == OPEN_READERS {
            idle.remove(0);
        }
        idle.push(reader);
        Ok(n)
    }

    /// The same of the chunks that these bytes are sealed in (age, "Payload"): each of 64 KiB, with a tag of 16 bytes.
    fn will_read(&self, offset: u64, length: u64) {
        let Ok(size) = self.source.size() else {
            return;
        };
        let sealed = |chunks: u64| chunks.saturating_mul(CHUNK + TAG);
        let payload = self.length + self.length.div_ceil(CHUNK).max(1) * TAG;
        let begin = size.saturating_sub(payload);
        let first = begin.saturating_add(sealed(offset / CHUNK));
        let end = offset.saturating_add(length).div_ceil(CHUNK);
        let end = begin.saturating_add(sealed(end)).min(size);
        self.source.will_read(first, end.saturating_sub(first));
    }

    /// A reader at that offset, else a new one, else the least recently used.
    fn reader_at(&self, offset: u64) -> io::Result<Reader<S>> {
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(fits) = idle.iter().rposition(|reader| reader.at == offset) {
                return Ok(idle.remove(fits));
            }
            if idle.len() == OPEN_READERS {
                return Ok(idle.remove(0));
            }
        }
        let identity = self.identities.first();
        let identity = identity.ok_or_else(|| io::Error::other("no identity"))?;
        let stream = decrypt(&self.source, identity)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, describe(&error)))?;
        Ok(Reader { stream, at: 0 })
    }
}

impl<S: Source> Reader<S> {
    fn read(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.at != offset {
            self.stream.seek(SeekFrom::Start(offset))?;
        }
        // The caller knows how much there is: reading nothing means a premature end.
        let n = self.stream.read(buffer)?;
        self.at = offset + n as u64;
        Ok(n)
    }
}

impl<S: Source> std::fmt::Debug for SealedFile<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedFile")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

fn decrypt<S: Source>(
    source: &Arc<S>,
    identity: &Identity,
) -> Result<StreamReader<BufReader<Position<S>>>, DecryptError> {
    let place = Position {
        source: Arc::clone(source),
        at: 0,
    };
    let file = age::Decryptor::new_buffered(BufReader::new(place))?;
    file.decrypt(std::iter::once(identity.as_age()))
}

/// How many keys the header of a sealed file names; `None` when the file is not sealed.
fn keys<S: Source>(source: &S) -> Result<Option<usize>, ArchiveError> {
    let mut head = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let offset = head.len() as u64;
        let n = source
            .read_at(&mut piece, offset)
            .map_err(|source| ArchiveError::Read { offset, source })?;
        head.extend_from_slice(&piece[..n]);
        if !head.starts_with(&FIRST_LINE[..FIRST_LINE.len().min(head.len())])
            || n == 0 && head.len() < FIRST_LINE.len()
        {
            return Ok(None);
        }
        if let Some(end) = head.windows(5).position(|window| window == b"\n--- ") {
            let is_key = |line: &&[u8]| {
                // A meaningless line that readers must ignore (age, C2SP,
                // "grease").
                let kind = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
                line.starts_with(b"-> ") && !kind.ends_with(b"-grease")
            };
            let lines = head[..end].split(|byte| *byte == b'\n');
            return Ok(Some(lines.filter(is_key).count()));
        }
        if n == 0 || head.len() > HEADER_LIMIT {
            return Err(damaged("its header has no end"));
        }
    }
}

fn damaged(what: impl Into<String>) -> ArchiveError {
    ArchiveError::DamagedSeal(what.into())
}

fn describe(error: &DecryptError) -> String {
    match error {
        DecryptError::InvalidMac => "its header was changed".to_owned(),
        DecryptError::InvalidHeader => "its header is not well-formed".to_owned(),
        DecryptError::Io(error) => format!("reading its header: {error}"),
        _ => "its header names the key but cannot be decrypted with it".to_owned(),
    }
}

/// A source as a stream with a position.
struct Position<S: Source> {
    source: Arc<S>,
    at: u64,
}

impl<S: Source> Read for Position<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl<S: Source> Seek for Position<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.source.size()?.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
