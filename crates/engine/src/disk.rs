//! What a disk has left, and files on it that have no name.

use hubvault_model::BackupId;
use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, open, statat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

/// The files of a directory as they were when it was read. The disk was asked about each of them once.
#[derive(Debug, Default)]
pub(crate) struct DirectoryFiles {
    /// The sizes of regular files, by their whole paths.
    sizes: HashMap<OsString, u64>,
    newest: Option<(Timestamp, PathBuf)>,
    error: Option<io::Error>,
}

impl DirectoryFiles {
    /// Reads a directory, and keeps the sizes of those files that are `wanted`.
    pub(crate) fn read(directory: &Path, wanted: impl Fn(&OsStr) -> bool) -> Self {
        let mut files = Self::default();
        files.error = files.add(directory, wanted).err();
        files
    }

    fn add(&mut self, directory: &Path, wanted: impl Fn(&OsStr) -> bool) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut entries = Dir::new(open(directory, flags, Mode::empty())?)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            // It may just have been removed.
            let Ok(stat) = statat(entries.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or_default();
            if let Ok(at) = Timestamp::new(stat.st_mtime, nanoseconds)
                && self.newest.as_ref().is_none_or(|(newest, _)| at > *newest)
            {
                self.newest = Some((at, directory.join(name)));
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && wanted(name) {
                let bytes = u64::try_from(stat.st_size).unwrap_or_default();
                self.sizes.insert(directory.join(name).into(), bytes);
            }
        }
        Ok(())
    }

    /// The size of a file, as [`size_of`]; whatever is not known from the directory is asked of the disk.
    pub(crate) fn size_of(&self, path: &Path) -> io::Result<u64> {
        match self.sizes.get(path.as_os_str()) {
            Some(bytes) => Ok(*bytes),
            None => size_of(path),
        }
    }

    /// Why the directory could not be read whole.
    pub(crate) fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// What was changed last, and when.
    pub(crate) fn newest(&self) -> Option<(Timestamp, &Path)> {
        let (at, path) = self.newest.as_ref()?;
        Some((*at, path))
    }
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
