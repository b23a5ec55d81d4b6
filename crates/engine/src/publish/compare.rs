//! A copy that is at its destination, read back and compared with what is known of it.

use super::source::{CopyError, hash};
use super::whole::whole;
use crate::catalog::{BackupCopy, BackupRecord};
use crate::remote::stored_sidecar;
use hubvault_model::Cancel;
use hubvault_store::{Key, Object, Store};
use std::sync::Arc;

/// What reading a copy back showed.
pub(super) enum Compared {
    /// It is whole; its SHA-256.
    Whole(String),
    /// It is not what was stored.
    Damaged(String),
    /// It cannot be told.
    Unclear(&'static str),
}

/// Reads a copy back and compares it with the recorded checksum; where none is, with that of a sealed archive's sidecar or
/// with its own manifest.
pub(super) fn compare(
    store: &Arc<dyn Store>,
    record: &BackupRecord,
    copy: &BackupCopy,
    object: &Object,
    cancel: &Cancel,
) -> Result<Compared, CopyError> {
    let recorded = copy.sha256.clone();
    let recorded = recorded.or_else(|| record.copies.iter().find_map(|copy| copy.sha256.clone()));
    let read = |sha256: &str| read_back(&**store, &object.key, object.bytes, sha256, cancel);
    if let Some(sha256) = recorded {
        return match read(&sha256) {
            Ok(()) => Ok(Compared::Whole(sha256)),
            Err(CopyError::Differs(what)) => Ok(Compared::Damaged(what)),
            Err(error) => Err(error),
        };
    }
    if record.sealed_to.is_empty() {
        return Ok(match whole(store, object, record.id, cancel)? {
            Ok(sha256) => Compared::Whole(sha256),
            Err(what) => Compared::Damaged(what),
        });
    }
    let sidecar = stored_sidecar(&**store, &object.key, object.bytes)?;
    let of_this = sidecar.filter(|sidecar| sidecar.manifest.id == record.id);
    let Some(seal) = of_this.and_then(|sidecar| sidecar.seal) else {
        return Ok(Compared::Unclear(
            "it is sealed and no checksum of it is recorded, so that it cannot be compared",
        ));
    };
    match read(&seal.sha256) {
        Ok(()) => Ok(Compared::Whole(seal.sha256)),
        Err(CopyError::Differs(_)) => Ok(Compared::Unclear(
            "it differs from its sidecar, and no checksum is recorded: one of the two is wrong; compare it with another \
             copy by hubvault verify and its key",
        )),
        Err(error) => Err(error),
    }
}

/// Reads a copy back whole, and compares it with what is known of it.
pub(super) fn read_back(
    store: &dyn Store,
    key: &Key,
    bytes: u64,
    sha256: &str,
    cancel: &Cancel,
) -> Result<(), CopyError> {
    let mut content = store.read_range(key, 0, bytes.saturating_add(1))?;
    let (found, hash) = hash(&mut content, cancel)?;
    if found != bytes {
        let what = format!("{key} has {found} bytes there instead of {bytes}");
        return Err(CopyError::Differs(what));
    }
    if hash != sha256 {
        let what = format!("{key} reads back with another checksum");
        return Err(CopyError::Differs(what));
    }
    Ok(())
}
