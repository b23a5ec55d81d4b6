//! Archives sealed to public keys with age (age-encryption.org/v1): any `age` opens them.
//!
//! The writer of a sealed archive holds no key that opens it. For the proof, a key generated for that
//! run is an additional recipient; it is kept in memory only and dropped with the run.

mod recipient;
mod identity;
mod file;

pub use file::{ArchiveFile, SealedFile};
pub use identity::{BadIdentity, Identities};
pub use recipient::{BadRecipient, Recipient};

use crate::ArchiveError;
use crate::writer::sha256_hex;
use age::stream::StreamWriter;
use sha2::{Digest, Sha256};
use std::io::{self, BufWriter, IntoInnerError, Write};

/// The suffix of a sealed archive's name, after the codec's.
pub const SEALED_ENDING: &str = ".age";

/// Seals what is written to `out` to these recipients, and to a key generated for this run.
///
/// The identities returned hold only that key: with them, and as long as they live, the archive
/// can be read back.
pub fn seal<W: Write>(
    out: W,
    recipients: &[Recipient],
) -> Result<(SealedWriter<W>, Identities), ArchiveError> {
    if recipients.is_empty() {
        // Only the dropped key would open it.
        return Err(ArchiveError::Seal("it has no recipients".to_owned()));
    }
    let (identities, of_run) = Identities::of_run();
    let all = recipients.iter().chain([&of_run]).map(Recipient::as_age);
    let out = Hashing {
        out: BufWriter::with_capacity(HEADER_ROOM, out),
        hash: Sha256::new(),
    };
    let stream = encrypt(out, all)?;
    Ok((SealedWriter { stream }, identities))
}

impl Recipient {
    /// A short text that only this recipient can read.
    pub fn seal_text(&self, text: &str) -> Result<Vec<u8>, ArchiveError> {
        let mut stream = encrypt(Vec::new(), std::iter::once(self.as_age()))?;
        stream
            .write_all(text.as_bytes())
            .and_then(|()| stream.finish())
            .map_err(failed)
    }
}

fn encrypt<'a, W: Write>(
    out: W,
    to: impl Iterator<Item = &'a dyn age::Recipient>,
) -> Result<StreamWriter<W>, ArchiveError> {
    age::Encryptor::with_recipients(to)
        .map_err(|error| ArchiveError::Seal(error.to_string()))?
        .wrap_output(out)
        .map_err(failed)
}

fn failed(source: io::Error) -> ArchiveError {
    ArchiveError::Write {
        what: "the seal".to_owned(),
        source,
    }
}

/// Seals what is written to it. Only [`SealedWriter::finish`] returns the output, so that a file with an
/// unfinished seal can be neither made durable nor published.
#[must_use = "a seal that is not finished cannot be opened"]
pub struct SealedWriter<W: Write> {
    stream: StreamWriter<Hashing<W>>,
}

impl<W: Write> SealedWriter<W> {
    /// Finishes the seal. Returns the output and its SHA-256.
    pub fn finish(self) -> io::Result<(W, String)> {
        let Hashing { out, hash } = self.stream.finish()?;
        let out = out.into_inner().map_err(IntoInnerError::into_error)?;
        Ok((out, sha256_hex(hash)))
    }
}

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<W: Write> std::fmt::Debug for SealedWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedWriter").finish_non_exhaustive()
    }
}

/// In bytes. age misreads a short write of its header as the end, and hides the system's errors: the header is
/// buffered here until it is complete. There is room for 60 RSA keys.
const HEADER_ROOM: usize = 128 << 10;

struct Hashing<W: Write> {
    out: BufWriter<W>,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
