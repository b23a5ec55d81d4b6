//! What a disk has left.

use std::io;
use std::path::Path;

/// What a directory's filesystem has free for us, in bytes (statvfs(3), `f_bavail`).
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
