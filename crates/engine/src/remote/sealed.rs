//! Whether a sealed archive is the one that the sidecar beside it describes, which needs no key.

use super::backup::Backup;
use super::error::RemoteError;
use crate::catalog::sidecar::{HEAD, Seal};
use hubvault_archive::{ArchiveError, Source, hex};
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How much is read at once.
const BUFFER: usize = 1 << 20;

/// How much may be read whole for sidecars of earlier versions, which do not say how their archives begin.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: AtomicU64,
    pub(super) only_sealed: bool,
    unread: AtomicUsize,
}

impl Budget {
    /// So many bytes.
    pub(super) fn of(bytes: u64) -> Self {
        Self {
            bytes: AtomicU64::new(bytes),
            only_sealed: false,
            unread: AtomicUsize::new(0),
        }
    }

    /// Nothing is read whole, and only archives that are sealed are compared: those that are not say whose they are later.
    pub(super) fn of_heads() -> Self {
        Self {
            only_sealed: true,
            ..Self::of(0)
        }
    }

    /// Archives for which it was not enough.
    pub(super) fn unread(&self) -> usize {
        self.unread.load(Ordering::Relaxed)
    }

    fn takes(&self, bytes: u64) -> bool {
        let less = |left: u64| left.checked_sub(bytes);
        let taken = (self.bytes).fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        if taken.is_err() {
            self.unread.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }
}

/// What a sealed archive is to the sidecar beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// Its own, by how it begins; or it was not compared.
    Its,
    /// Its own: all of it was read back.
    ReadBack,
    /// Another one's.
    Others,
}

/// Compares an archive of so many bytes with the seal of its sidecar.
pub(super) fn compare(
    backup: &Backup,
    seal: &Seal,
    bytes: u64,
    budget: &Budget,
) -> Result<Beside, RemoteError> {
    let (expected, length) = match &seal.head_sha256 {
        Some(head) => (head, HEAD.min(bytes)),
        None if budget.takes(bytes) => (&seal.sha256, bytes),
        None => return Ok(Beside::Its),
    };
    let source = backup.source()?;
    source.will_read(0, length);
    let found = sha256(&*source, length).map_err(|source| RemoteError::Archive {
        place: backup.place(),
        source,
    })?;
    Ok(match found == *expected {
        false => Beside::Others,
        true if seal.head_sha256.is_none() => Beside::ReadBack,
        true => Beside::Its,
    })
}

fn sha256(source: &dyn Source, length: u64) -> Result<String, ArchiveError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER.min(length as usize)];
    let mut offset = 0;
    while offset < length {
        let most = buffer.len().min((length - offset) as usize);
        let read = source.read_at(&mut buffer[..most], offset);
        match read.map_err(|source| ArchiveError::Read { offset, source })? {
            0 => break,
            n => {
                hash.update(&buffer[..n]);
                offset += n as u64;
            }
        }
    }
    Ok(hex(&hash.finalize()))
}
