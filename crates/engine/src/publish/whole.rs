//! An archive that is compared with its own manifest and hashed, in one reading.

use super::copy_error::CopyError;
use crate::proof::IntegrityError;
use crate::proof::integrity::read_back_open;
use crate::remote::{Patience, StoredObject, is_short, open_source};
use hubvault_archive::{ArchiveError, Source, hex};
use hubvault_model::{BackupId, Cancel};
use hubvault_store::{Key, Object, Store, StoreError};
use sha2::{Digest, Sha256};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The SHA-256 of an archive in a store that its own manifest says is whole; else what is wrong with it.
pub(super) fn whole(
    store: &Arc<dyn Store>,
    object: &Object,
    id: BackupId,
    cancel: &Cancel,
) -> Result<Result<String, String>, CopyError> {
    let patience = Patience::default();
    let source = StoredObject::new(Arc::clone(store), object.clone(), patience, cancel);
    let found = whole_source(Box::new(source), &object.key, id, cancel)?;
    Ok(found.map(|(_, sha256)| sha256))
}

/// The same of an archive anywhere, with its size; an error where it cannot be read.
pub(super) fn whole_source(
    source: Box<dyn Source>,
    key: &Key,
    id: BackupId,
    cancel: &Cancel,
) -> Result<Result<(u64, String), String>, CopyError> {
    let failed = |error| StoreError::new("reading back", key.as_str(), error).into();
    let hashed = Hashed::new(source);
    let archive = match open_source(Box::new(hashed.clone()), key.as_str())? {
        Ok(archive) => archive,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if archive.manifest().id != id {
        return Ok(Err(format!("{key} is another backup's archive")));
    }
    hashed.begin();
    // One thread reads in the order of the file, which is the order of its hash.
    match read_back_open(archive, Path::new(key.as_str()), 1, &|_| (), cancel) {
        Ok(_) => {}
        Err(IntegrityError::Cancelled) => return Err(CopyError::Stopped),
        Err(IntegrityError::Archive {
            source: ArchiveError::Read { source, .. },
            ..
        }) if !is_short(&source) => return Err(failed(source)),
        Err(error) => return Ok(Err(error.to_string())),
    }
    match hashed.finish() {
        Err(_) if cancel.is_requested() => Err(CopyError::Stopped),
        found => found.map(Ok).map_err(failed),
    }
}

/// A source whose bytes are hashed as they are read. What is passed over is read for the hash alone.
#[derive(Clone)]
pub(super) struct Hashed(Arc<Inner>);

struct Inner {
    source: Box<dyn Source>,
    progress: Mutex<Option<Progress>>,
}

/// The hash of all bytes before `next`.
struct Progress {
    hash: Sha256,
    next: u64,
}

impl Progress {
    /// Takes over what goes on where it is; the rest is known.
    fn take(&mut self, bytes: &[u8], offset: u64) {
        let known = usize::try_from(self.next.saturating_sub(offset)).unwrap_or(usize::MAX);
        if let Some(new) = bytes.get(known..) {
            self.hash.update(new);
            self.next += new.len() as u64;
        }
    }

    /// Reads up to an offset, or to the end.
    fn read_to(&mut self, offset: u64, source: &dyn Source) -> io::Result<()> {
        if self.next >= offset {
            return Ok(());
        }
        source.will_read(self.next, offset - self.next);
        let mut buffer = vec![0; 1 << 20];
        while self.next < offset {
            let left = usize::try_from(offset - self.next).unwrap_or(usize::MAX);
            let want = left.min(buffer.len());
            match source.read_at(&mut buffer[..want], self.next)? {
                0 => break,
                read => self.take(&buffer[..read], self.next),
            }
        }
        Ok(())
    }
}

impl Hashed {
    pub(super) fn new(source: Box<dyn Source>) -> Self {
        let progress = Mutex::default();
        Self(Arc::new(Inner { source, progress }))
    }

    fn progress(&self) -> MutexGuard<'_, Option<Progress>> {
        let progress = self.0.progress.lock();
        progress.unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, from the first byte. What was read before to open the archive is read once more.
    pub(super) fn begin(&self) {
        *self.progress() = Some(Progress {
            hash: Sha256::new(),
            next: 0,
        });
    }

    /// The size and SHA-256 of all, once the rest is read.
    pub(super) fn finish(&self) -> io::Result<(u64, String)> {
        let mut progress = self.progress().take().unwrap_or(Progress {
            hash: Sha256::new(),
            next: 0,
        });
        progress.read_to(u64::MAX, &*self.0.source)?;
        Ok((progress.next, hex(&progress.hash.finalize())))
    }
}

impl Source for Hashed {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut progress = self.progress();
        if let Some(progress) = progress.as_mut() {
            progress.read_to(offset, &*self.0.source)?;
        }
        let read = self.0.source.read_at(buffer, offset)?;
        if let Some(progress) = progress.as_mut() {
            progress.take(&buffer[..read], offset);
        }
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.source.size()
    }

    fn stored_size(&self) -> io::Result<u64> {
        self.0.source.stored_size()
    }

    fn will_read(&self, offset: u64, length: u64) {
        self.0.source.will_read(offset, length);
    }
}
