//! Whose an archive in a store is: what is another backup's is neither replaced nor removed.

use super::fetch::Patience;
use super::marks::delete_marks;
use super::object::StoredObject;
use super::pins::delete_pin;
use crate::catalog::sidecar::{ENDING, Sidecar};
use crate::catalog::{BackupCopy, BackupRecord, CopyState};
use crate::job::{Destination, LOCAL};
use hubvault_archive::{AnyArchive, Archive, ArchiveError, ArchiveFile, Identities, Source, hex};
use hubvault_model::{BackupId, Cancel};
use hubvault_store::{ErrorKind, Key, Object, Store, StoreError};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::sync::Arc;

/// Whose an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Of this backup: its sidecar, its own manifest, its checksum or the catalog says so.
    This,
    /// Of another backup.
    Other,
    /// Nothing says whose it is.
    Unknown,
}

/// What is known of the archive that should be there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) id: BackupId,
    /// Its size.
    pub(crate) bytes: u64,
    pub(crate) sha256: Option<&'a str>,
    /// Whether the catalog says that it was stored there.
    pub(crate) was_stored: bool,
}

impl<'a> Wanted<'a> {
    /// What the catalog says of a copy.
    pub(crate) fn of(record: &'a BackupRecord, destination: &Destination, object: &Object) -> Self {
        let copy = record.copy_at(&destination.name);
        let bytes = copy.and_then(|copy| copy.bytes).or(record.bytes);
        Self {
            id: record.id,
            bytes: bytes.unwrap_or(object.bytes),
            sha256: copy.and_then(|copy| copy.sha256.as_deref()),
            was_stored: bytes.is_some() && copy.is_some_and(|copy| was_stored(copy, destination)),
        }
    }
}

/// Whether the catalog says that a copy was stored at this place, and not that it was lost since.
pub(crate) fn was_stored(copy: &BackupCopy, destination: &Destination) -> bool {
    let is_stored =
        matches!(copy.state, CopyState::Present | CopyState::Damaged) || copy.is_half_removed();
    is_stored && (copy.location.is_some() || copy.destination == LOCAL) && copy.is_at(destination)
}

/// Whose the archive `object` is. A sidecar of another backup counts for less than the archive itself: it may have been
/// stored there by mistake.
pub(crate) fn owner(
    store: &Arc<dyn Store>,
    object: &Object,
    wanted: &Wanted<'_>,
    cancel: &Cancel,
) -> Result<Owner, StoreError> {
    let sidecar = stored_sidecar(&**store, &object.key, wanted.bytes)?;
    let named = sidecar.map(|sidecar| sidecar.manifest.id);
    if named == Some(wanted.id) && object.bytes == wanted.bytes {
        return Ok(Owner::This);
    }
    let is_sealed = match open_stored(store, object, cancel)? {
        Ok(archive) if archive.manifest().id == wanted.id => return Ok(Owner::This),
        Ok(_) => return Ok(Owner::Other),
        Err(error) => error.is_sealed(),
    };
    Ok(match named {
        Some(id) if id == wanted.id => Owner::This,
        // A damaged one need not say whose it is. Whoever sealed one may be another host.
        None if wanted.was_stored && !is_sealed && object.bytes <= wanted.bytes => Owner::This,
        _ if is_same(store, object, wanted, cancel)? => Owner::This,
        Some(_) => Owner::Other,
        None => Owner::Unknown,
    })
}

/// Whether an archive has the recorded size and SHA-256.
fn is_same(
    store: &Arc<dyn Store>,
    object: &Object,
    wanted: &Wanted<'_>,
    cancel: &Cancel,
) -> Result<bool, StoreError> {
    let Some(sha256) = wanted.sha256.filter(|_| object.bytes == wanted.bytes) else {
        return Ok(false);
    };
    let mut content = store.read_object(object, 0, object.bytes)?;
    let (_, found) = hash(&mut content, cancel)
        .map_err(|error| StoreError::new("reading", object.key.as_str(), error))?;
    Ok(found == sha256)
}

/// The size and SHA-256 of a stream; an error once `cancel` is requested.
pub(crate) fn hash(content: &mut dyn Read, cancel: &Cancel) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        if cancel.is_requested() {
            return Err(io::Error::other("stopped on request"));
        }
        match content.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hex(&hash.finalize()))),
            Ok(read) => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Opens an archive that is not sealed where it is. The outer error is the store's, the inner one the archive's.
pub(crate) fn open_stored(
    store: &Arc<dyn Store>,
    object: &Object,
    cancel: &Cancel,
) -> Result<Result<AnyArchive, ArchiveError>, StoreError> {
    let source = StoredObject::new(
        Arc::clone(store),
        object.clone(),
        Patience::default(),
        cancel,
    );
    open_source(Box::new(source), object.key.as_str())
}

/// The same of any source; `shown` says which.
pub(crate) fn open_source(
    source: Box<dyn Source>,
    shown: &str,
) -> Result<Result<AnyArchive, ArchiveError>, StoreError> {
    match ArchiveFile::open(source, &Identities::default()).and_then(Archive::open) {
        Err(ArchiveError::Read { source, .. }) if !is_short(&source) => {
            Err(StoreError::new("reading", shown, source))
        }
        opened => Ok(opened),
    }
}

/// Whether a file ended too early, which says something of it and nothing of the store.
pub(crate) fn is_short(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// The sidecar of an archive, as it is in the store; `None` where there is none.
pub(crate) fn sidecar_bytes(
    store: &dyn Store,
    archive: &Key,
    bytes: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let key = sidecar_key(archive)?;
    let limit = Sidecar::limit(bytes);
    let mut found = Vec::new();
    match store.read_range(&key, 0, limit) {
        Ok(content) => content
            .take(limit)
            .read_to_end(&mut found)
            .map(|_| Some(found))
            .map_err(|error| StoreError::new("reading", key.as_str(), error)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What it says; `None` where there is none that can be read.
pub(crate) fn stored_sidecar(
    store: &dyn Store,
    archive: &Key,
    bytes: u64,
) -> Result<Option<Sidecar>, StoreError> {
    let json = sidecar_bytes(store, archive, bytes)?;
    Ok(json.and_then(|json| Sidecar::parse(json.as_slice(), bytes)))
}

/// Deletes an archive, then its sidecar, its pin and the marks of these names. Once the archive is gone, an error is uncertain: nothing is as it was.
pub(crate) fn delete_archive(
    store: &dyn Store,
    archive: &Key,
    has_pin: bool,
    marks: &[String],
) -> Result<(), StoreError> {
    store.delete(archive)?;
    // A key that is too long for a sidecar has none.
    if let Ok(sidecar) = sidecar_key(archive) {
        store.delete(&sidecar).map_err(StoreError::uncertain)?;
    }
    if has_pin {
        delete_pin(store, archive).map_err(StoreError::uncertain)?;
    }
    delete_marks(store, archive, marks).map_err(StoreError::uncertain)?;
    Ok(())
}

/// The key of an archive's sidecar.
pub(crate) fn sidecar_key(archive: &Key) -> Result<Key, StoreError> {
    let text = format!("{archive}{ENDING}");
    Key::parse(&text)
        .map_err(|error| StoreError::new("naming the sidecar of", text, io::Error::other(error)))
}

/// Whether removing an archive ended with this error as its sidecar is locked: the archive itself is gone.
pub(crate) fn only_sidecar_locked(error: &StoreError) -> bool {
    error.kind == ErrorKind::Locked && error.is_uncertain
}

/// Until when the sidecar of an archive is locked, where that is known.
pub(crate) fn sidecar_locked_until(store: &dyn Store, archive: &Key) -> Option<Timestamp> {
    let sidecar = store.head(&sidecar_key(archive).ok()?).ok()??;
    sidecar.locked_until
}
