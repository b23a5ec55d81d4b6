//! What `make test-versions` fetched: servers and client programs of other versions than the system's.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The workspace's `target`, whatever directory cargo builds into.
pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target")
        .canonicalize()
        .unwrap()
}

/// Where the programs of `name` (a major version, or `client-18`) are, if they were fetched.
pub(crate) fn find_fetched(name: &str) -> Option<PathBuf> {
    let directory = target().join("postgres").join(name);
    directory.join("version").is_file().then_some(directory)
}

/// The same, where they must be there.
pub(crate) fn fetched(name: &str) -> PathBuf {
    find_fetched(name).unwrap_or_else(|| {
        panic!(
            "there is no {name} below {}: run `make test-versions`, which fetches it",
            target().display()
        )
    })
}

/// A directory whose programs the server's user can reach; a copy, when a directory above is closed
/// to it, as root's own is.
pub(crate) fn reachable(directory: &Path) -> (PathBuf, Option<TempDir>) {
    let open = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o001 != 0;
    if !rustix::process::geteuid().is_root() || directory.ancestors().all(open) {
        return (directory.join("bin"), None);
    }
    let copy = TempDir::with_prefix_in("hv-server-", "/tmp").unwrap();
    std::fs::set_permissions(copy.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // With the clients, to which a link leads.
    let copied = Command::new("cp")
        .arg("-a")
        .args([directory, &fetched("client-18"), copy.path()])
        .status();
    assert!(copied.unwrap().success(), "copying {}", directory.display());
    let name = directory.file_name().unwrap();
    (copy.path().join(name).join("bin"), Some(copy))
}
