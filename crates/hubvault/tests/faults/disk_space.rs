//! A small file system for one test (tmpfs in a mount namespace) that can be full or read-only.

use crate::fault_harness::FaultHarness;
use crate::form::is_long;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names the directory of the file system to the test inside.
const ROOM: &str = "HUBVAULT_ROOM";
/// Mounts it; what follows is run in it. As root of a namespace only, whoever is not root outside is nobody else inside either.
const AS_ROOT: &str = r#"mount -t tmpfs -o "$2" tmpfs "$1" || exit 97; shift 2; exec "$@""#;
const AS_USER: &str = r#"mount -t tmpfs -o "$2" tmpfs "$1" || exit 97; shift 2
    exec unshare -U --map-user="$OUTER_UID" --map-group="$OUTER_GID" "$@""#;

/// The file system, seen from inside.
pub(crate) struct Room {
    path: PathBuf,
}

/// Runs a test once more with a file system of these mount options (`size=8m`), and waits for it: `None`. In that second
/// run: the file system. Where none can be made that is said, and in the long form it is a failure.
pub(crate) fn room(test: &str, options: &str) -> Option<Room> {
    if let Some(path) = std::env::var_os(ROOM) {
        return Some(Room { path: path.into() });
    }
    let directory = tempfile::Builder::new()
        .prefix("hv-room-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in("/tmp")
        .unwrap();
    let probe = inside(directory.path(), options, &["true".as_ref()]).output();
    let possible = probe.as_ref().is_ok_and(|output| output.status.success());
    if !possible {
        println!("NOT TESTED, as no file system can be mounted here (unshare -m): {probe:?}");
        assert!(
            !is_long(),
            "the long form needs a file system of its own: {probe:?}"
        );
        return None;
    }
    let itself = std::env::current_exe().unwrap();
    let run = [
        itself.as_path(),
        "--exact".as_ref(),
        test.as_ref(),
        "--nocapture".as_ref(),
    ];
    let status = inside(directory.path(), options, &run)
        .env(ROOM, directory.path())
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "in the small file system: see above");
    None
}

fn inside(directory: &Path, options: &str, run: &[&Path]) -> Command {
    let is_root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    command
        .arg(if is_root { "-m" } else { "-Urm" })
        .args(["sh", "-c", if is_root { AS_ROOT } else { AS_USER }, "sh"])
        .arg(directory)
        .arg(format!("mode=0700,{options}"))
        .args(run)
        .env("OUTER_UID", rustix::process::geteuid().as_raw().to_string())
        .env("OUTER_GID", rustix::process::getegid().as_raw().to_string());
    command
}

impl Room {
    /// Moves a harness's backup directory here.
    pub(crate) fn takes(&self, harness: &FaultHarness) {
        let backups = harness.hub.backups();
        fs::remove_dir(&backups).unwrap();
        fs::create_dir(self.path.join("backups")).unwrap();
        symlink(self.path.join("backups"), backups).unwrap();
    }

    /// What is free, in bytes.
    pub(crate) fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.path).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Leaves so many bytes free.
    pub(crate) fn leave(&self, bytes: u64) {
        let mut file = File::create(self.ballast()).unwrap();
        let surplus = self.free().saturating_sub(bytes);
        let written = file.write_all(&vec![1; surplus as usize]);
        assert!(written.is_ok() || bytes == 0, "{written:?}");
    }

    /// Takes every inode.
    pub(crate) fn take_inodes(&self) {
        let taken = self.path.join("taken");
        fs::create_dir(&taken).unwrap();
        let mut made = 0;
        while File::create(taken.join(made.to_string())).is_ok() {
            made += 1;
        }
    }

    /// Makes it read-only, or writable again: the mount where we may, else its directories.
    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        let done = Command::new("sh")
            .args(["-c", &self.read_only_command(is_read_only)])
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// The same as a command for `sh -c`.
    pub(crate) fn read_only_command(&self, is_read_only: bool) -> String {
        let path = self.path.display();
        match (rustix::process::geteuid().is_root(), is_read_only) {
            (true, true) => format!("mount -o remount,ro {path}"),
            (true, false) => format!("mount -o remount,rw {path}"),
            (false, true) => format!("chmod -R a-w {path}/backups"),
            (false, false) => format!("chmod -R u+w {path}/backups"),
        }
    }

    /// What takes room here, and nothing else.
    pub(crate) fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Makes it as it was.
    pub(crate) fn clear(&self) {
        self.set_read_only(false);
        // Not every fault made them.
        let _ = fs::remove_file(self.ballast());
        let _ = fs::remove_dir_all(self.path.join("taken"));
    }
}
