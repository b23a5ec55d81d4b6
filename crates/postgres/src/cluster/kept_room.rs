//! The room that empty clusters take where they are kept: backups need it more.

use super::nofollow::{empty, is_directory, look_at, names_in, open_directory, random_name};
use rustix::fs::{AtFlags, CWD, fstat, fstatvfs, renameat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Clusters that are being written begin with this.
pub(super) const NEW: &str = "new-";
/// The length of a SHA-256 in base64, which the name of a finished one ends with.
const KEY: usize = 43;
/// Permissions of a group and of all others.
const OF_OTHERS: u32 = 0o077;
/// As many versions of `PostgreSQL` and settings as are kept.
pub(super) const KEPT: usize = 4;
/// A cluster is kept only where so many more of its size have room after it.
const SPARE: u64 = 10;

/// Opens the directory in which clusters are kept, which must be of our own and closed to all others.
pub(super) fn open_own(directory: &Path) -> io::Result<Option<OwnedFd>> {
    let directory = match open_directory(CWD, directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let stat = fstat(&directory)?;
    if stat.st_uid == geteuid().as_raw() && stat.st_mode & OF_OTHERS == 0 {
        return Ok(Some(directory));
    }
    let why = "it belongs to another user, or others may enter it";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Removes all empty clusters that are kept in a directory; the next drill makes its own.
pub fn remove_empty_clusters(directory: &Path) -> io::Result<()> {
    let Some(directory) = open_own(directory)? else {
        return Ok(());
    };
    for name in names_in(directory.as_fd())? {
        let name = name.to_string_lossy();
        if is_cluster(&name) {
            remove(&directory, &name)?;
        }
    }
    Ok(())
}

/// Whether a cluster has such a name: somebody may have configured a directory with other things in it.
fn is_cluster(name: &str) -> bool {
    let is_key = |(major, key): (&str, &str)| {
        let is_number = !major.is_empty() && major.bytes().all(|it| it.is_ascii_digit());
        is_number && key.len() == KEY
    };
    name.starts_with(NEW) || name.split_once('-').is_some_and(is_key)
}

/// Whether a cluster of so many bytes may be kept.
pub(super) fn has_room(directory: &OwnedFd, bytes: u64) -> io::Result<bool> {
    let disk = fstatvfs(directory)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    Ok(free >= bytes.saturating_mul(SPARE + 1))
}

/// Removes the oldest ones beyond those that are kept, and those that nobody finished in an hour.
pub(super) fn make_room(directory: &OwnedFd) -> io::Result<()> {
    let now = jiff::Timestamp::now().as_second();
    let mut all = Vec::new();
    for name in names_in(directory.as_fd())? {
        let Ok(stat) = look_at(directory, name.as_c_str()) else {
            continue;
        };
        let name = name.to_string_lossy().into_owned();
        if !is_cluster(&name) {
            continue;
        }
        if !name.starts_with(NEW) {
            all.push((stat.st_ctime, stat.st_ctime_nsec, name));
        } else if now.saturating_sub(stat.st_ctime) > 3600 {
            remove(directory, &name)?;
        }
    }
    all.sort_unstable();
    let beyond = (all.len() + 1).saturating_sub(KEPT);
    for (_, _, name) in all.iter().take(beyond) {
        remove(directory, name)?;
    }
    Ok(())
}

/// Removes one by a name of its own first: whoever finds it by the old one finds all of it or nothing. What is no directory
/// goes, too.
pub(super) fn remove(directory: &OwnedFd, name: &str) -> io::Result<()> {
    let doomed = format!("{NEW}{}", random_name(8)?);
    match renameat(directory, name, directory, &doomed) {
        Err(Errno::NOENT) => return Ok(()),
        renamed => renamed?,
    }
    if !is_directory(&look_at(directory, doomed.as_str())?) {
        return Ok(unlinkat(directory, &doomed, AtFlags::empty())?);
    }
    empty(open_directory(directory, doomed.as_str())?.as_fd())?;
    Ok(unlinkat(directory, &doomed, AtFlags::REMOVEDIR)?)
}
