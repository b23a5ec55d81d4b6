//! Directories that other users reach.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// A directory that everybody may write to and nobody may remove others' files from, as `/tmp` is.
///
/// Its path is short, as sockets are in it. Throwaway servers run as another user where the tests run as root.
///
/// # Panics
///
/// When it cannot be made.
pub fn open_directory() -> TempDir {
    let directory = TempDir::with_prefix_in("hv", "/tmp").unwrap_or_else(|error| panic!("{error}"));
    let set = set_permissions(directory.path(), Permissions::from_mode(0o1777));
    set.unwrap_or_else(|error| panic!("{error}"));
    directory
}
