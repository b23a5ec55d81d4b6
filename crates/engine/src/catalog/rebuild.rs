//! The catalog made anew from the archives themselves.

use super::{BackupRecord, Catalog, CatalogError, ProofRecord, sidecar};
use hubvault_archive::{Archive, ArchiveError};
use std::fs;
use std::path::{Path, PathBuf};

/// What a rebuild found.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Archives that were added.
    pub added: Vec<BackupRecord>,
    /// Archives that the catalog knew already.
    pub known: usize,
    /// Files that look like archives and cannot be read.
    pub unreadable: Vec<(PathBuf, ArchiveError)>,
}

/// Adds every archive of `directory` that the catalog does not know, from its manifest.
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
        match Archive::open_path(&path) {
            Err(error) => found.unreadable.push((path, error)),
            Ok(archive) if catalog.knows(archive.manifest().id)? => found.known += 1,
            Ok(archive) => {
                let id = archive.manifest().id;
                let (proof, pinned) = sidecar::read(&path, id).unwrap_or_else(|| {
                    let reason = Some("known from its manifest only".to_owned());
                    (
                        ProofRecord {
                            reason,
                            ..ProofRecord::default()
                        },
                        false,
                    )
                });
                let record = BackupRecord {
                    pinned,
                    ..BackupRecord::published(archive.manifest(), &path, archive.len(), proof)
                };
                catalog.finish(&record)?;
                found.added.push(record);
            }
        }
    }
    Ok(found)
}
