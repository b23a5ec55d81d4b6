//! The catalog made anew from the archives themselves.

use super::{BackupRecord, Catalog, CatalogError, DeliveryRecord, ProofRecord, contents};
use hubvault_archive::{ArchiveError, Identities};
use std::fs;
use std::path::{Path, PathBuf};

/// What a rebuild found.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Archives that were added.
    pub added: Vec<BackupRecord>,
    /// Archives that were removed, as far as the catalog knew, and are there again.
    pub returned: Vec<BackupRecord>,
    /// Archives that the catalog knew already.
    pub known: usize,
    /// Files that look like archives and cannot be read.
    pub unreadable: Vec<(PathBuf, ArchiveError)>,
}

/// Adds every archive of `directory` that the catalog does not know, from its manifest, and takes back that
/// one was removed which is there.
///
/// The data is not read back: a backup without its sidecar is unproven until it is drilled.
pub fn rebuild(catalog: &Catalog, directory: &Path) -> Result<Rebuilt, CatalogError> {
    let io = |source| CatalogError::Io {
        path: directory.to_owned(),
        source,
    };
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(io)?
        .iter()
        .map(fs::DirEntry::path)
        .filter(|path| super::is_archive_name(path))
        .collect();
    paths.sort();
    let mut found = Rebuilt::default();
    for path in paths {
        // Nobody who keeps archives needs to hold a key: a sealed one is known by its sidecar.
        match contents(&path, &Identities::none()) {
            Err(error) => found.unreadable.push((path, error)),
            Ok(known) if catalog.knows(known.manifest.id)? => {
                let record = catalog.find(&known.manifest.id.to_string())?;
                match record.filter(|record| record.removed_at.is_some()) {
                    None => found.known += 1,
                    Some(record) => {
                        let record = BackupRecord {
                            file: Some(path),
                            removed_at: None,
                            gone: false,
                            ..record
                        };
                        catalog.finish(&record)?;
                        found.returned.push(record);
                    }
                }
            }
            Ok(known) => {
                let proof = known.proof.clone().unwrap_or_else(|| ProofRecord {
                    reason: Some("known from its manifest only".to_owned()),
                    ..ProofRecord::default()
                });
                let record = BackupRecord {
                    pinned: known.pinned,
                    // Who was told of it then is not known, and nobody needs to hear of it now.
                    delivery: Some(DeliveryRecord::default()),
                    sealed_to: known.sealed_to(),
                    ..BackupRecord::published(&known.manifest, &path, known.bytes, proof)
                };
                catalog.finish(&record)?;
                found.added.push(record);
            }
        }
    }
    Ok(found)
}
