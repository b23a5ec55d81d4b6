//! File systems that keep no modes, such as CIFS, vfat and exFAT: every file has the mode that the mount gives it.

use rustix::process::geteuid;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

/// Permissions of a group and of all others.
const OF_OTHERS: u32 = 0o077;

static AS_MOUNTED: AtomicBool = AtomicBool::new(false);

/// Accepts the modes of such file systems (`archive.permissions`), for this process.
pub fn accept_as_mounted() {
    AS_MOUNTED.store(true, Ordering::Relaxed);
}

/// Whether whatever mode files have in this directory is accepted.
pub(crate) fn is_accepted(directory: &Path) -> bool {
    AS_MOUNTED.load(Ordering::Relaxed) && !keeps_modes(directory)
}

/// Whether a file in this directory can be closed to others. Where nobody can try, modes count.
pub(crate) fn keeps_modes(directory: &Path) -> bool {
    // A name of a file that is being written, which is swept.
    let probe = directory.join(format!("modes.{}.new", Uuid::new_v4().simple()));
    let private = Permissions::from_mode(0o600);
    let mode = || -> io::Result<u32> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600);
        let file = file.open(&probe)?;
        // Some refuse it, others ignore it.
        let _ = file.set_permissions(private);
        Ok(file.metadata()?.mode())
    };
    let mode = mode();
    // Where it was not made there is nothing to remove; leftovers are swept.
    let _ = fs::remove_file(&probe);
    mode.map_or(true, |mode| mode & OF_OTHERS == 0)
}

/// What to do about a path that is open to others because of its mount.
pub(crate) fn fix(path: &Path) -> String {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (point, kind) = mount_of(&real, &text).unwrap_or((real, "its file system".to_owned()));
    let (us, point) = (geteuid().as_raw(), point.display());
    let cifs = format!("file_mode=0600,dir_mode=0700,uid={us}");
    let fat = format!("fmask=0177,dmask=0077,uid={us}");
    let options = match kind.as_str() {
        "cifs" | "smb3" => cifs,
        "vfat" | "exfat" | "msdos" | "ntfs" | "ntfs3" => fat,
        _ => format!("{cifs} (cifs) or {fat} (vfat, exfat, ntfs)"),
    };
    format!(
        "the mount {point} ({kind}) gives files their modes, and chmod changes nothing: mount it with {options}, or \
         accept that with archive.permissions = \"as-mounted\" (BACKUP_PERMISSIONS)"
    )
}

/// The mount point of a path, and the type of its file system, from `/proc/self/mountinfo` (proc(5)).
fn mount_of(path: &Path, mountinfo: &str) -> Option<(PathBuf, String)> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?.replace("\\040", " ");
        let kind = file_system.split(' ').next()?;
        Some((PathBuf::from(point), kind.to_owned()))
    });
    let around = mounts.filter(|(point, _)| path.starts_with(point));
    // Of two at the same place the later one is on top.
    around.max_by_key(|(point, _)| point.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
        40 22 0:50 / /mnt/my\\040share rw shared:2 - cifs //nas/b rw,file_mode=0755\n\
        41 22 0:51 / /mnt rw - tmpfs tmpfs rw\n";

    #[test]
    fn the_mount_of_a_path_is_the_nearest_one() {
        for (path, point, kind) in [
            ("/mnt/my share/b/.hubvault", "/mnt/my share", "cifs"),
            ("/mnt/my", "/mnt", "tmpfs"),
            ("/b", "/", "ext4"),
        ] {
            let found = mount_of(Path::new(path), MOUNTS);
            assert_eq!(found, Some((PathBuf::from(point), kind.to_owned())));
        }
        assert_eq!(mount_of(Path::new("/b"), ""), None);
    }

    #[test]
    fn an_ordinary_directory_keeps_modes_and_no_probe() {
        let directory = tempfile::tempdir().unwrap();
        assert!(keeps_modes(directory.path()));
        assert!(keeps_modes(&directory.path().join("missing")));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
