//! Files below a directory that another user may write to. They are reached by descriptor and never through a link: a
//! path may lead somewhere else by the time it is used.

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, chmodat, chownat, fchmod, fstat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How deep [`directory_bytes`] descends; a server's own directories are three deep.
const DEEPEST: usize = 32;

/// Opens a directory; a link to one is refused, and nothing else is waited for.
pub(super) fn open_directory(
    parent: impl AsFd,
    name: impl rustix::path::Arg,
) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Makes a file of ours that was not there, to be written at its end and read.
pub(super) fn create(directory: impl AsFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let fd = openat(
        directory,
        name,
        flags | OFlags::NOFOLLOW,
        Mode::RUSR | Mode::WUSR,
    )?;
    Ok(File::from(fd))
}

/// Reads a small regular file that one of `owners` owns. Links, pipes, devices and large files are refused unread.
pub(super) fn read_small(directory: impl AsFd, name: &str, owners: &[u32]) -> io::Result<String> {
    const LARGEST: u64 = 4096;
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = openat(directory, name, flags, Mode::empty())?;
    let stat = fstat(&fd)?;
    let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_regular || stat.st_size as u64 > LARGEST || !owners.contains(&stat.st_uid) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = String::new();
    File::from(fd).take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// What a name in a directory is, itself and not what it links to.
pub(super) fn look_at(directory: impl AsFd, name: impl rustix::path::Arg) -> io::Result<Stat> {
    Ok(statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// The names in a directory.
pub(super) fn names_in(directory: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Removes everything in a directory. Directories below are moved up before they are emptied, so that a tree of any
/// depth takes neither stack nor descriptors. Another filesystem is not entered.
pub(super) fn empty(top: BorrowedFd<'_>) -> io::Result<()> {
    let device = fstat(top)?.st_dev;
    let moved = random_name(12)?;
    let mut names = names_in(top)?;
    let mut number = 0_u64;
    while let Some(name) = names.pop() {
        if remove_file(top, &name)? {
            continue;
        }
        let directory = open_for_removal(top, &name)?;
        if fstat(&directory)?.st_dev != device {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        for below in names_in(directory.as_fd())? {
            if remove_file(directory.as_fd(), &below)? {
                continue;
            }
            // A directory that its owner may not write to cannot be moved elsewhere.
            open_for_removal(directory.as_fd(), &below)?;
            number += 1;
            let to = CString::new(format!("{moved}-{number}")).map_err(io::Error::other)?;
            renameat(&directory, &below, top, &to)?;
            names.push(to);
        }
        unlinkat(top, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Whether it was no directory and is gone.
fn remove_file(directory: BorrowedFd<'_>, name: &CString) -> io::Result<bool> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Opens a directory of ours whatever its mode is, and makes it writable.
fn open_for_removal(parent: BorrowedFd<'_>, name: &CString) -> io::Result<OwnedFd> {
    let opened = match open_directory(parent, name) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            // Not a link, or the error would be another.
            if is_directory(&look_at(parent, name)?) {
                chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            }
            open_directory(parent, name)
        }
        opened => opened,
    }?;
    if Mode::from_raw_mode(fstat(&opened)?.st_mode).contains(Mode::RWXU) {
        return Ok(opened);
    }
    fchmod(&opened, Mode::RWXU)?;
    Ok(opened)
}

/// Gives everything in a directory that is `from`'s, and the directory itself, to `to`.
pub(super) fn give(directory: BorrowedFd<'_>, from: u32, to: u32, group: u32) -> io::Result<()> {
    for name in names_in(directory)? {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = openat(directory, &name, flags, Mode::empty())?;
        let stat = fstat(&entry)?;
        // A hard link to another's file stays the other's.
        if stat.st_uid != from {
            continue;
        }
        if is_directory(&stat) {
            give(open_directory(directory, &name)?.as_fd(), from, to, group)?;
        } else {
            own(entry.as_fd(), to, group)?;
        }
    }
    own(directory, to, group)
}

fn own(fd: BorrowedFd<'_>, user: u32, group: u32) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    Ok(chownat(
        fd,
        "",
        Some(user),
        Some(group),
        AtFlags::EMPTY_PATH,
    )?)
}

/// The disk usage of a directory tree, in bytes. Files that vanish meanwhile are not counted.
pub fn directory_bytes(directory: &Path) -> io::Result<u64> {
    Ok(sum(open_directory(CWD, directory)?.as_fd(), 0))
}

/// The same of an open directory.
pub(super) fn bytes_below(directory: &OwnedFd) -> u64 {
    sum(directory.as_fd(), 0)
}

fn sum(directory: BorrowedFd<'_>, depth: usize) -> u64 {
    let names = names_in(directory).unwrap_or_default();
    let of = |name: &CString| {
        let Ok(stat) = look_at(directory, name) else {
            return 0;
        };
        let own = (stat.st_blocks as u64).saturating_mul(512);
        if !is_directory(&stat) || depth == DEEPEST {
            return own;
        }
        own + open_directory(directory, name).map_or(0, |below| sum(below.as_fd(), depth + 1))
    };
    names.iter().map(of).sum()
}

/// An unpredictable name.
pub(super) fn random_name(length: usize) -> io::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = vec![0; length];
    let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    if filled != length {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let letter = |byte: u8| char::from(LETTERS[usize::from(byte % 32)]);
    Ok(bytes.into_iter().map(letter).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_tree_of_any_depth_and_mode_is_emptied_and_links_lead_nowhere() {
        let root = tempfile::tempdir().unwrap();
        let (tree, outside) = (root.path().join("tree"), root.path().join("outside"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "kept").unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        let top = open_directory(CWD, &tree).unwrap();
        let mut deep = open_directory(CWD, &tree).unwrap();
        for _ in 0..6000 {
            rustix::fs::mkdirat(&deep, "d", Mode::RWXU).unwrap();
            symlink_in(&deep, &outside);
            deep = open_directory(&deep, "d").unwrap();
        }
        std::fs::create_dir(tree.join("closed")).unwrap();
        std::fs::create_dir(tree.join("closed/below")).unwrap();
        for closed in ["closed/below", "closed"] {
            let none = std::fs::Permissions::from_mode(0o0);
            std::fs::set_permissions(tree.join(closed), none).unwrap();
        }
        empty(top.as_fd()).unwrap();
        assert!(names_in(top.as_fd()).unwrap().is_empty());
        assert!(outside.join("kept").exists());
    }

    fn symlink_in(directory: &OwnedFd, to: &Path) {
        rustix::fs::symlinkat(to, directory, "l").unwrap();
    }

    #[test]
    fn only_small_regular_files_of_ours_are_read() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let directory = open_directory(CWD, root.path()).unwrap();
        let me = rustix::process::geteuid().as_raw();
        std::fs::write(at("small"), "text").unwrap();
        std::fs::write(at("large"), vec![b'x'; 5000]).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink(at("small"), at("link")).unwrap();
        rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(read_small(&directory, "small", &[me]).unwrap(), "text");
        for refused in ["large", "zero", "link", "pipe", "absent"] {
            assert!(read_small(&directory, refused, &[me]).is_err(), "{refused}");
        }
        assert!(read_small(&directory, "small", &[me + 1]).is_err());
    }
}
