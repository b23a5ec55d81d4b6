//! What a disk has left, and files on it that have no name.

use hubvault_model::BackupId;
use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, open, statat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;

/// What a directory's filesystem has free for us, in bytes (statvfs(3), `f_bavail`).
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What a directory's filesystem is known by, also after it was mounted again (statvfs(3), `f_fsid`).
pub fn filesystem(directory: &Path) -> io::Result<u64> {
    Ok(rustix::fs::statvfs(directory)?.f_fsid)
}

/// How many files a directory's filesystem still takes from us (statvfs(3), `f_favail`); `None` where it does not
/// count them.
pub fn free_inodes(directory: &Path) -> io::Result<Option<u64>> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok((stat.f_files > 0).then_some(stat.f_favail))
}

/// The size of a file; `NotFound` for everything that is no regular one.
pub(crate) fn size_of(path: &Path) -> io::Result<u64> {
    match std::fs::metadata(path)? {
        meta if meta.is_file() => Ok(meta.len()),
        _ => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "it is not a regular file",
        )),
    }
}

/// With so many files, two threads ask about them: nearly all of the time is the kernel's.
const MANY: usize = 2_000;

/// The files of a directory as they were when it was read. The disk was asked about each of them once.
#[derive(Debug, Default)]
pub(crate) struct DirectoryFiles {
    /// The sizes of regular files, by their whole paths.
    sizes: HashMap<OsString, u64>,
    newest: Option<(Timestamp, PathBuf)>,
    error: Option<io::Error>,
}

impl DirectoryFiles {
    /// Reads a directory without the files that `is_left_out` names, and keeps the sizes of those that are `wanted`.
    pub(crate) fn read(
        directory: &Path,
        is_left_out: impl Fn(&OsStr) -> bool,
        wanted: impl Fn(&OsStr) -> bool + Sync,
    ) -> Self {
        let read = |opened| Ok((names(&opened, is_left_out)?, opened));
        let opened = open_directory(directory).and_then(read);
        let (names, opened) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                return Self {
                    error: Some(error),
                    ..Self::default()
                };
            }
        };
        let ask = |names: &[OsString]| Self::ask(directory, &opened, names, &wanted);
        if names.len() < MANY {
            return ask(&names);
        }
        let (first, second) = names.split_at(names.len() / 2);
        thread::scope(|scope| {
            let beside = thread::Builder::new().spawn_scoped(scope, || ask(first));
            let mut files = ask(second);
            let joined = beside.ok().and_then(|beside| beside.join().ok());
            files.add(joined.unwrap_or_else(|| ask(first)));
            files
        })
    }

    fn ask(
        directory: &Path,
        opened: &OwnedFd,
        names: &[OsString],
        wanted: &impl Fn(&OsStr) -> bool,
    ) -> Self {
        let mut files = Self::default();
        for name in names {
            // It may just have been removed.
            let Ok(stat) = statat(opened, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or_default();
            if let Ok(at) = Timestamp::new(stat.st_mtime, nanoseconds)
                && files.newest.as_ref().is_none_or(|(newest, _)| at > *newest)
            {
                files.newest = Some((at, directory.join(name)));
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && wanted(name) {
                let bytes = u64::try_from(stat.st_size).unwrap_or_default();
                files.sizes.insert(directory.join(name).into(), bytes);
            }
        }
        files
    }

    fn add(&mut self, other: Self) {
        self.sizes.extend(other.sizes);
        self.newest = self.newest.take().max(other.newest);
    }

    /// The size of a file, as [`size_of`]; whatever is not known from the directory is asked of the disk.
    pub(crate) fn size_of(&self, path: &Path) -> io::Result<u64> {
        match self.sizes.get(path.as_os_str()) {
            Some(bytes) => Ok(*bytes),
            None => size_of(path),
        }
    }

    /// Why the directory could not be read.
    pub(crate) fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// What was changed last, and when.
    pub(crate) fn newest(&self) -> Option<(Timestamp, &Path)> {
        let (at, path) = self.newest.as_ref()?;
        Some((*at, path))
    }
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

fn names(directory: &OwnedFd, is_left_out: impl Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." && !is_left_out(name) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// A file of our own without a name, which is gone with its descriptor: nobody else finds it, and nothing is left of a
/// run that crashed.
pub fn unnamed_file(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    match open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(File::from(file)),
        // Not every file system has such files (open(2), O_TMPFILE).
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
            let path = directory.join(format!(".hubvault-{}", BackupId::random()));
            let mut options = File::options();
            let file = options
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::{Duration, SystemTime};

    #[test]
    fn two_threads_say_of_many_files_what_each_file_says() {
        let directory = tempfile::tempdir().unwrap();
        let at = |number: usize| directory.path().join(format!("a{number}"));
        for number in 0..MANY + 3 {
            fs::write(at(number), vec![0; number % 7]).unwrap();
        }
        fs::remove_file(at(1)).unwrap();
        std::os::unix::fs::symlink(at(6), at(1)).unwrap();
        // One is in each half, wherever the directory has it.
        let is_other = |name: &OsStr| name == "a1" || name == "a6";
        let listed = names(&open_directory(directory.path()).unwrap(), is_other).unwrap();
        for index in [0, listed.len() - 1] {
            let latest = directory.path().join(&listed[index]);
            let time = SystemTime::now() + Duration::from_secs(60 + index as u64);
            let file = File::options().append(true).open(&latest).unwrap();
            file.set_modified(time).unwrap();
            let files =
                DirectoryFiles::read(directory.path(), |name| name == "a6", |name| name != "a5");
            assert_eq!(files.sizes.len(), MANY);
            for left_out in [at(5), at(6)] {
                assert!(!files.sizes.contains_key(left_out.as_os_str()));
            }
            for number in 0..MANY + 4 {
                let found = files.size_of(&at(number)).ok();
                assert_eq!(found, size_of(&at(number)).ok(), "{number}");
            }
            assert_eq!(files.newest().map(|(_, path)| path), Some(latest.as_path()));
        }
    }
}
