//! Removes leftovers of throwaway servers of crashed processes from a world-writable directory.

use super::nofollow::{self, is_directory, look_at, open_directory, read_small};
use super::user::ServerUser;
use crate::error::PgError;
use rustix::fs::{AtFlags, CWD, Stat, unlinkat};
use rustix::process::geteuid;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The directories of throwaway servers begin with this.
pub(super) const PREFIX: &str = "hubvault-throwaway-";
/// The private directories of drills begin with this and the user's id.
pub(super) const PRIVATE_PREFIX: &str = "hubvault-throwaway-u";

/// A process as `id start`: ids are reused, the start in clock ticks since boot is not
/// (proc(5), `/proc/[pid]/stat`, field 22). `None` when it is gone.
pub(super) fn owner(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field may hold spaces and is the only one in parentheses.
    let since_boot = stat.rsplit_once(") ")?.1.split(' ').nth(19)?;
    Some(format!("{pid} {since_boot}"))
}

/// Whether the process in an `owner` file still runs.
pub(super) fn is_running(recorded: &str) -> bool {
    let pid = recorded.split(' ').next().and_then(|pid| pid.parse().ok());
    pid.is_some_and(|pid| owner(pid).as_deref() == Some(recorded))
}

/// Whether a directory without an `owner` file may still be under construction: the process whose id is in its name
/// runs, or another with the same id; or its name has no id and it was created just now.
fn is_being_made(name: &str, directory: &OwnedFd) -> bool {
    let pid = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').next());
    if let Some(pid) = pid.and_then(|pid| pid.parse().ok()) {
        return owner(pid).is_some();
    }
    let changed = rustix::fs::fstat(directory).map_or(i64::MAX, |stat| stat.st_ctime);
    jiff::Timestamp::now().as_second().saturating_sub(changed) < 60
}

/// The result of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// Directories that were removed.
    pub removed: Vec<PathBuf>,
    /// Leftovers of ours that could not be removed.
    pub stuck: Vec<PgError>,
}

/// Removes the directories of throwaway servers whose owner crashed. Only what belongs to us, or to the user that our
/// servers run as, is read or removed; nothing is followed or waited for. An `Err` means that `parent` cannot be read.
pub fn sweep(parent: &Path) -> Result<Swept, PgError> {
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| PgError::Io {
            doing,
            path,
            source,
        }
    };
    let mut owners = vec![geteuid().as_raw()];
    // Older versions gave the whole directory to the server's user.
    owners.extend(ServerUser::choose().ok().flatten().map(|user| user.uid));
    let opened = rustix::fs::openat(
        CWD,
        parent,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    let directory = opened
        .map_err(io::Error::from)
        .map_err(io("reading", parent))?;
    let mut swept = Swept::default();
    for entry in fs::read_dir(parent)
        .map_err(io("reading", parent))?
        .flatten()
    {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_server(name)) else {
            continue;
        };
        let Some(leftover) = leftover(&directory, name, &owners) else {
            continue;
        };
        let path = entry.path();
        match remove(directory.as_fd(), name, &leftover).map_err(io("removing", &path)) {
            Ok(()) => swept.removed.push(path),
            Err(error) => swept.stuck.push(error),
        }
    }
    Ok(swept)
}

/// Not the private directory of drills, which its lock protects.
fn is_server(name: &str) -> bool {
    name.starts_with(PREFIX) && !name.starts_with(PRIVATE_PREFIX)
}

/// Opens a directory of ours whose owner crashed.
fn leftover(parent: &OwnedFd, name: &str, owners: &[u32]) -> Option<OwnedFd> {
    let is_ours = |stat: &Stat| is_directory(stat) && owners.contains(&stat.st_uid);
    look_at(parent, name).ok().filter(is_ours)?;
    let directory = open_directory(parent, name).ok()?;
    // It may have been replaced meanwhile.
    let stat = rustix::fs::fstat(&directory).ok().filter(is_ours)?;
    let me = geteuid().as_raw();
    match read_small(&directory, "owner", &[me]) {
        Ok(recorded) => !is_running(&recorded),
        // Its process crashed, or could not write, before it created the file.
        Err(error) if error.kind() == io::ErrorKind::NotFound && stat.st_uid == me => {
            !is_being_made(name, &directory)
        }
        Err(_) => false,
    }
    .then_some(directory)
}

fn remove(parent: BorrowedFd<'_>, name: &str, directory: &OwnedFd) -> io::Result<()> {
    nofollow::empty(directory.as_fd())?;
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::geteuid;
    use std::os::unix::fs::{chown, symlink};

    fn open(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_cannot_be_swept_is_told_and_stops_nobody() {
        let parent = tempfile::tempdir().unwrap();
        let left = parent.path().join(format!("{PREFIX}1-1"));
        // Root may remove anything: this thread is somebody else then.
        let swept = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                fs::create_dir(&left).unwrap();
                fs::write(left.join("owner"), "1 0").unwrap();
                open(parent.path(), 0o555);
                if geteuid().is_root() {
                    let nobody = rustix::process::Uid::from_raw(65_534);
                    for its in [left.join("owner"), left.clone()] {
                        chown(its, Some(65_534), None).unwrap();
                    }
                    rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                }
                sweep(parent.path()).unwrap()
            });
            other.join().unwrap()
        });
        open(parent.path(), 0o755);
        assert!(swept.removed.is_empty());
        let told = swept.stuck[0].to_string();
        assert!(told.contains(left.to_str().unwrap()), "{told}");
    }

    #[test]
    fn what_a_dead_owner_left_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let left = parent.path().join(format!("{PREFIX}1-1"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("owner"), "1 0").unwrap();
        assert_eq!(sweep(parent.path()).unwrap().removed, [left]);
    }

    #[test]
    fn what_was_never_owned_is_swept_when_its_maker_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        // No process has an id so high (proc(5), pid_max).
        let left = parent.path().join(format!("{PREFIX}4999999-1"));
        let mine = parent
            .path()
            .join(format!("{PREFIX}{}-1", std::process::id()));
        fs::create_dir(&left).unwrap();
        fs::create_dir(&mine).unwrap();
        assert_eq!(sweep(parent.path()).unwrap().removed, [left]);
        assert!(mine.exists(), "it is just being made");
    }

    #[test]
    fn what_is_not_ours_is_neither_followed_nor_read_nor_removed() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        fs::create_dir(at("kept")).unwrap();
        fs::write(at("kept/owner"), "1 0").unwrap();
        symlink(at("kept"), at("hubvault-throwaway-2-1")).unwrap();
        for (name, target) in [("3-1", "/dev/zero"), ("4-1", "kept/owner")] {
            let directory = at(&format!("{PREFIX}{name}"));
            fs::create_dir(&directory).unwrap();
            symlink(target, directory.join("owner")).unwrap();
        }
        let swept = sweep(parent.path()).unwrap();
        assert!(swept.removed.is_empty() && swept.stuck.is_empty());
        assert!(at("kept/owner").exists());
    }
}
