//! Directories that other users reach.

use rustix::fs::{StatVfs, statvfs};
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;
use tempfile::TempDir;

/// The free bytes that all test programs of a run do not need at once.
const ROOM: u64 = 6 << 30;

/// Where servers have their data: in memory where it has room. Each database is hundreds of files, which some filesystems take
/// long to make.
pub(crate) fn of_servers() -> &'static str {
    static PLACE: OnceLock<&str> = OnceLock::new();
    const MEMORY: &str = "/dev/shm";
    PLACE.get_or_init(|| {
        let free = |stat: StatVfs| stat.f_bavail.saturating_mul(stat.f_frsize);
        let has_room = statvfs(MEMORY).is_ok_and(|stat| free(stat) >= ROOM);
        let is_usable = has_room && TempDir::with_prefix_in("hv", MEMORY).is_ok();
        if is_usable { MEMORY } else { "/tmp" }
    })
}

/// A directory that everybody may write to and nobody may remove others' files from, as `/tmp` is.
///
/// Its path is short, as sockets are in it. Throwaway servers run as another user where the tests run as root.
///
/// # Panics
///
/// When it cannot be made.
pub fn open_directory() -> TempDir {
    open_directory_in("/tmp")
}

/// The same for servers of drills.
///
/// # Panics
///
/// When it cannot be made.
pub fn server_directory() -> TempDir {
    open_directory_in(of_servers())
}

fn open_directory_in(parent: &str) -> TempDir {
    let directory = TempDir::with_prefix_in("hv", parent).unwrap_or_else(|error| panic!("{error}"));
    let set = set_permissions(directory.path(), Permissions::from_mode(0o1777));
    set.unwrap_or_else(|error| panic!("{error}"));
    directory
}
