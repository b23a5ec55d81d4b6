//! Restores configuration files below one directory; the archive is not trusted.

use super::error::RestoreError;
use super::target_directory::{Rights, TargetDirectory, finish};
use hubvault_archive::{Archive, EntryKind, EntryRecord, Source};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// Most links in the resolution of a link, as in the kernel (`path_resolution(7)`).
const LINKS_ON_THE_WAY: usize = 40;
/// Most parts of a resolved path: more than any real link has.
const STEPS: usize = 1 << 14;

/// Writes every configuration file of an archive below `directory`, with its mode and, as root, its owner.
/// An existing file is an error; nothing is overwritten and nothing is written outside. Links come last, so
/// that no file is written through one; none is followed.
pub fn files<S: Source>(
    archive: &Archive<S>,
    directory: &Path,
) -> Result<Vec<PathBuf>, RestoreError> {
    let entries = entries(archive)?;
    if entries.is_empty() {
        return Err(RestoreError::NoFiles);
    }
    let owners = owners(archive);
    let mut place =
        TargetDirectory::open(directory).map_err(failed("opening the directory", directory))?;
    let mut written = Vec::new();
    for entry in &entries {
        let path = directory.join(&entry.name);
        one(archive, entry, &mut place, rights(entry, &owners), &path)?;
        written.push(path);
    }
    // Last, as a directory without write permission could not be filled; children before their parents.
    let directories = entries.iter().rev();
    for entry in directories.filter(|entry| entry.kind == EntryKind::Directory) {
        let path = directory.join(&entry.name);
        place
            .settle(bare(&entry.name), rights(entry, &owners))
            .map_err(failed("setting mode and owner of", &path))?;
    }
    Ok(written)
}

/// The files, directories and links, the links last; an error where one leads out.
pub(super) fn entries<S: Source>(archive: &Archive<S>) -> Result<Vec<&EntryRecord>, RestoreError> {
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
    let links = entries.iter();
    let links = links.filter_map(|entry| Some((entry.name.as_str(), entry.link.as_deref()?)));
    let links: Vec<(&str, &str)> = links.collect();
    if let Some(name) = leading_out(&links) {
        return Err(RestoreError::Outside {
            name: name.to_owned(),
        });
    }
    Ok(entries)
}

type Owners<'a> = HashMap<&'a str, (u32, u32)>;

/// The owners of all files, which only root can restore.
fn owners<S: Source>(archive: &Archive<S>) -> Owners<'_> {
    if !rustix::process::geteuid().is_root() {
        return Owners::new();
    }
    let files = archive.manifest().files.iter();
    files
        .filter_map(|file| Some((file.name.as_str(), file.owner?)))
        .collect()
}

fn rights(entry: &EntryRecord, owners: &Owners<'_>) -> Rights {
    Rights {
        mode: entry.mode,
        owner: owners.get(entry.name.as_str()).copied(),
    }
}

fn one<S: Source>(
    archive: &Archive<S>,
    entry: &EntryRecord,
    place: &mut TargetDirectory,
    rights: Rights,
    path: &Path,
) -> Result<(), RestoreError> {
    match (entry.kind, &entry.link) {
        (EntryKind::Directory, _) => place
            .directory(bare(&entry.name))
            .map_err(failed("making", path)),
        (EntryKind::Link, Some(target)) => place
            .link(&entry.name, target, rights.owner)
            .map_err(failed("making the link", path)),
        _ => {
            let mut file = place
                .file(&entry.name)
                .map_err(failed("making (it must not exist)", path))?;
            io::copy(&mut archive.content(entry)?, &mut file).map_err(failed("writing", path))?;
            // A full or failing disk is reported only here.
            file.sync_all().map_err(failed("making durable", path))?;
            finish(&file, rights).map_err(failed("setting mode and owner of", path))
        }
    }
}

pub(super) fn bare(directory: &str) -> &str {
    directory.strip_suffix('/').unwrap_or(directory)
}

/// The first of these links, given by name and target, that leads out of the directory, also through other links.
fn leading_out<'a>(links: &'a [(&'a str, &'a str)]) -> Option<&'a str> {
    let links = Links::new(links);
    let mut names = links.all.iter().map(|(name, _)| *name);
    names.find(|name| !links.stays_inside(name))
}

/// Links by a number for their path, which is made from the number of the directory and the name in it: so the time
/// that a path takes grows with its length and no faster.
struct Links<'a> {
    all: &'a [(&'a str, &'a str)],
    targets: HashMap<u64, &'a str>,
    hash: RandomState,
}

impl<'a> Links<'a> {
    fn new(all: &'a [(&'a str, &'a str)]) -> Self {
        let hash = RandomState::new();
        let path = |name: &str| {
            name.split('/')
                .fold(0, |above, part| hash.hash_one((above, part)))
        };
        let targets = all.iter().map(|(name, target)| (path(name), *target));
        Self {
            all,
            targets: targets.collect(),
            hash,
        }
    }

    fn stays_inside(&self, link: &str) -> bool {
        // The resolved path, and the remaining parts, the next one last.
        let mut walked: Vec<u64> = Vec::new();
        let mut left: Vec<&str> = link.split('/').rev().collect();
        let (mut followed, mut steps) = (0, 0);
        while let Some(part) = left.pop() {
            steps += 1;
            match part {
                ".." if walked.pop().is_none() => return false,
                "" | "." | ".." => {}
                name => {
                    let path = self
                        .hash
                        .hash_one((walked.last().copied().unwrap_or(0), name));
                    let Some(target) = self.targets.get(&path) else {
                        walked.push(path);
                        continue;
                    };
                    if target.starts_with('/') || steps > STEPS {
                        return false;
                    }
                    followed += 1;
                    if followed > LINKS_ON_THE_WAY {
                        // The kernel follows no more of them either.
                        return true;
                    }
                    left.extend(target.split('/').rev());
                }
            }
        }
        true
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

    fn inside(links: &[(&str, &str)]) -> bool {
        leading_out(links).is_none()
    }

    #[test]
    fn no_link_leads_out_of_the_directory() {
        for target in [
            "a",
            "./a",
            "../a",
            "../../a",
            "b/../../c",
            "..//.",
            "../../config/ssl",
        ] {
            assert!(inside(&[("config/ssl/link", target)]), "{target}");
        }
        for target in ["../../../a", "/etc/passwd", "a/../../../../b", "../../.."] {
            assert!(!inside(&[("config/ssl/link", target)]), "{target}");
        }
    }

    #[test]
    fn no_link_leads_out_through_another() {
        assert!(inside(&[("a/b/up", "../.."), ("a/there", "b/up/a")]));
        // By its words alone the second stays inside.
        assert!(!inside(&[("a/b/up", "../.."), ("a/out", "b/up/../x")]));
        assert!(!inside(&[
            ("a/b/c/one", "../.."),
            ("a/two", "b/c/one/.."),
            ("z", "a/two/../../x")
        ]));
        // A circle leads nowhere.
        assert!(inside(&[("a", "b"), ("b", "a")]));
    }
}
