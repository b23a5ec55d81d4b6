//! What an archive that lies there holds: by itself where it opens, by its sidecar where it is
//! sealed and no key is at hand.

use super::ProofRecord;
use super::sidecar::{Seal, Sidecar};
use crate::state::ownership::open_regular;
use hubvault_archive::{
    Archive, ArchiveError, ArchiveFile, Identities, Manifest, Recipient, Source,
};
use std::path::Path;

/// What is known about an archive.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Its table of contents.
    pub manifest: Manifest,
    /// The length of the file.
    pub bytes: u64,
    /// What was proven, where a sidecar says so.
    pub proof: Option<ProofRecord>,
    /// Whether it is pinned, by its sidecar.
    pub pinned: bool,
    /// How it is sealed, where a sidecar says so.
    pub seal: Option<Seal>,
    /// The public keys of the identities that opened it.
    pub opened_by: Vec<Recipient>,
    /// False when it is sealed and only its sidecar was read.
    pub opened: bool,
}

impl Contents {
    /// The public keys that can open it, as far as is known; none where it is in the clear.
    pub fn sealed_to(&self) -> Vec<String> {
        self.seal
            .as_ref()
            .map_or_else(Vec::new, |seal| seal.sealed_to.clone())
    }

    /// The sidecar that says all this.
    pub fn into_sidecar(self, proof: ProofRecord, pinned: bool) -> Sidecar {
        Sidecar {
            proof,
            pinned,
            seal: self.seal,
            manifest: self.manifest,
        }
    }
}

/// Looks into an archive. Somebody who gives identities wants to open it, so that a sidecar does
/// not stand in for one that they do not open.
pub fn contents(path: &Path, identities: &Identities) -> Result<Contents, ArchiveError> {
    // What is no file is not waited for: anybody may have made a pipe of that name.
    let file = open_regular(path).map_err(|source| ArchiveError::Read { offset: 0, source })?;
    contents_of(Box::new(file), || Sidecar::beside(path), identities)
}

/// The same of an archive anywhere, with what its sidecar says.
pub(crate) fn contents_of(
    source: Box<dyn Source>,
    sidecar: impl FnOnce() -> Option<Sidecar>,
    identities: &Identities,
) -> Result<Contents, ArchiveError> {
    let bytes = source
        .size()
        .map_err(|source| ArchiveError::Read { offset: 0, source })?;
    match ArchiveFile::open(source, identities).and_then(Archive::open) {
        Ok(archive) => {
            let id = archive.manifest().id;
            // One that speaks of another archive says nothing about this one.
            let sidecar = sidecar().filter(|sidecar| sidecar.manifest.id == id);
            let (proof, pinned, seal) = match sidecar {
                Some(sidecar) => (Some(sidecar.proof), sidecar.pinned, sidecar.seal),
                None => (None, false, None),
            };
            Ok(Contents {
                bytes,
                proof,
                pinned,
                seal,
                opened_by: archive.source().opened_by(),
                opened: true,
                manifest: archive.into_manifest(),
            })
        }
        Err(error) if error.is_sealed() && identities.is_empty() => {
            let Some(sidecar) = sidecar().filter(|sidecar| sidecar.seal.is_some()) else {
                return Err(error);
            };
            Ok(Contents {
                manifest: sidecar.manifest,
                bytes,
                proof: Some(sidecar.proof),
                pinned: sidecar.pinned,
                seal: sidecar.seal,
                opened_by: Vec::new(),
                opened: false,
            })
        }
        Err(error) => Err(error),
    }
}
