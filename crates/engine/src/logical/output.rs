//! The output of the archive writer: the file, or a seal around it.

use hubvault_archive::{
    ArchiveError, ArchiveWriter, Identities, Recipient, SealedWriter, hex, seal,
};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};

/// The writer of an archive's entries.
pub(crate) type Writer = ArchiveWriter<Output>;

/// The file of the archive. It is returned only once the seal is finished.
pub(crate) enum Output {
    /// With the hash of what is written, where copies are compared with it.
    Clear(File, Option<Sha256>),
    Sealed(Box<SealedWriter<File>>),
}

/// A file that is complete and durable.
pub(crate) struct Durable {
    pub(crate) bytes: u64,
    /// SHA-256 of the file, taken while it was written.
    pub(crate) sha256: Option<String>,
}

impl Output {
    /// Seals to these recipients; without any, the archive is not sealed. The identities open it
    /// for the proof and are dropped with the run. A sealed one is hashed in any case.
    pub(crate) fn new(
        file: File,
        recipients: &[Recipient],
        is_hashed: bool,
    ) -> Result<(Self, Identities), ArchiveError> {
        if recipients.is_empty() {
            let hash = is_hashed.then(Sha256::new);
            return Ok((Self::Clear(file, hash), Identities::none()));
        }
        let (sealed, identities) = seal(file, recipients)?;
        Ok((Self::Sealed(Box::new(sealed)), identities))
    }

    /// Finishes the seal and makes the file durable.
    pub(crate) fn make_durable(self) -> io::Result<Durable> {
        let (file, sha256) = match self {
            Self::Clear(file, hash) => (file, hash.map(|hash| hex(&hash.finalize()))),
            Self::Sealed(sealed) => {
                let (file, sha256) = sealed.finish()?;
                (file, Some(sha256))
            }
        };
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        Ok(Durable { bytes, sha256 })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(file, hash) => {
                let written = file.write(bytes)?;
                if let Some(hash) = hash {
                    hash.update(&bytes[..written]);
                }
                Ok(written)
            }
            Self::Sealed(sealed) => sealed.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(file, _) => file.flush(),
            Self::Sealed(sealed) => sealed.flush(),
        }
    }
}
