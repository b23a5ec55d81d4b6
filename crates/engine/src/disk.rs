//! What a disk has left.

use std::io;
use std::path::Path;

/// What a directory's filesystem has free for us, in bytes (statvfs(3), `f_bavail`).
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// How many files a directory's filesystem still takes from us (statvfs(3), `f_favail`); `None` where it does not
/// count them.
pub fn free_inodes(directory: &Path) -> io::Result<Option<u64>> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok((stat.f_files > 0).then_some(stat.f_favail))
}
