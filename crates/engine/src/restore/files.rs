//! Configuration files put back below one directory, whatever an archive says.

use super::error::RestoreError;
use hubvault_archive::{Archive, EntryKind, EntryRecord, Source};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};

/// Writes every configuration file of an archive below `directory`, with its mode and, when we are
/// root, its owner. A file that is
/// there already is an error; nothing is overwritten and nothing is written outside. Links come
/// last, so that no file is written through one.
pub fn files<S: Source>(
    archive: &Archive<S>,
    directory: &Path,
) -> Result<Vec<PathBuf>, RestoreError> {
    let mut entries: Vec<&EntryRecord> = archive
        .manifest()
        .entries
        .iter()
        .filter(|e| {
            matches!(
                e.kind,
                EntryKind::Config | EntryKind::Directory | EntryKind::Link
            )
        })
        .collect();
    entries.sort_by_key(|entry| entry.kind == EntryKind::Link);
    make_directory(directory, 0o700)?;
    let mut written = Vec::new();
    for entry in &entries {
        let path = inside(directory, &entry.name)?;
        if let Some(parent) = path.parent() {
            make_directory(parent, 0o700)?;
        }
        one(archive, entry, directory, &path)?;
        written.push(path);
    }
    owners(archive, directory)?;
    // Last, or a directory without the right to write could not be filled.
    for entry in entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::Directory)
    {
        let path = inside(directory, &entry.name)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode & 0o777))
            .map_err(failed("setting the mode of", &path))?;
    }
    Ok(written)
}

/// Gives everything back to whom it belonged, which only root may.
fn owners<S: Source>(archive: &Archive<S>, directory: &Path) -> Result<(), RestoreError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for file in &archive.manifest().files {
        if let Some((uid, gid)) = file.owner {
            let path = inside(directory, &file.name)?;
            lchown(&path, Some(uid), Some(gid)).map_err(failed("giving away", &path))?;
        }
    }
    Ok(())
}

fn one<S: Source>(
    archive: &Archive<S>,
    entry: &EntryRecord,
    directory: &Path,
    path: &Path,
) -> Result<(), RestoreError> {
    match (entry.kind, &entry.link) {
        (EntryKind::Directory, _) => make_directory(path, 0o700),
        (EntryKind::Link, Some(link)) => {
            let beside = path.parent().unwrap_or(directory);
            if !stays_inside(directory, beside, link) {
                return Err(outside(&entry.name));
            }
            symlink(link, path).map_err(failed("making the link", path))
        }
        _ => {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(failed("making (it must not exist)", path))?;
            io::copy(&mut archive.content(entry)?, &mut file).map_err(failed("writing", path))?;
            // What a full or failing disk did not take is known only then.
            file.sync_all().map_err(failed("making durable", path))?;
            file.set_permissions(fs::Permissions::from_mode(entry.mode & 0o777))
                .map_err(failed("setting the mode of", path))
        }
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<(), RestoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(failed("making", path))
}

/// The path of an entry below `directory`, when it is plainly below.
fn inside(directory: &Path, name: &str) -> Result<PathBuf, RestoreError> {
    let plain = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !plain {
        return Err(outside(name));
    }
    Ok(directory.join(name))
}

/// Whether a link in `beside` leads to a place below `directory`, by its words alone.
fn stays_inside(directory: &Path, beside: &Path, link: &str) -> bool {
    let mut depth = beside
        .strip_prefix(directory)
        .map_or(0, |below| below.components().count());
    for part in Path::new(link).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

fn outside(name: &str) -> RestoreError {
    RestoreError::Outside {
        name: name.to_owned(),
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Io {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_directory() {
        let directory = Path::new("/restored");
        for name in ["../x", "/etc/passwd", "config/../../x", "", "."] {
            assert!(inside(directory, name).is_err(), "{name}");
        }
        assert_eq!(
            inside(directory, "config/a").unwrap(),
            Path::new("/restored/config/a")
        );
        let beside = Path::new("/restored/config/ssl");
        for link in ["a", "./a", "../a", "../../a", "b/../../c"] {
            assert!(stays_inside(directory, beside, link), "{link}");
        }
        for link in ["../../../a", "/etc/passwd", "a/../../../../b"] {
            assert!(!stays_inside(directory, beside, link), "{link}");
        }
    }
}
