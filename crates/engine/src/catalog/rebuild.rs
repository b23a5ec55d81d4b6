//! The catalog made anew from the archives themselves.

use super::{BackupRecord, Catalog, CatalogError};
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
/// The data is not read back: such a backup is unproven until somebody verifies it.
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
        .filter(|path| looks_like_an_archive(path))
        .collect();
    paths.sort();
    let mut found = Rebuilt::default();
    for path in paths {
        match Archive::open_path(&path) {
            Err(error) => found.unreadable.push((path, error)),
            Ok(archive) if catalog.knows(archive.manifest().id)? => found.known += 1,
            Ok(archive) => {
                let mut record = BackupRecord::published(archive.manifest(), &path, archive.len());
                record.proof.read_back = false;
                record.proof.reason = Some("known from its manifest only".to_owned());
                catalog.finish(&record)?;
                found.added.push(record);
            }
        }
    }
    Ok(found)
}

fn looks_like_an_archive(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.starts_with("critical_backup_")
        && (name.ends_with(".tar.gz") || name.ends_with(".tar.zst"))
}
