//! What a disk has left, and files on it that have no name.

use hubvault_model::BackupId;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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
