//! What throwaway servers left whose owner died.

use crate::error::PgError;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) const PREFIX: &str = "hubvault-throwaway-";

/// A process as `id start`: ids come again, the start in clock ticks since boot does not
/// (proc(5), `/proc/[pid]/stat`, field 22). `None` when it is gone.
pub(crate) fn owner(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field may hold spaces and is the only one in parentheses.
    let since_boot = stat.rsplit_once(") ")?.1.split(' ').nth(19)?;
    Some(format!("{pid} {since_boot}"))
}

/// Whether the process whose id is in the name of a server's directory is there, or another that got its id.
fn has_maker(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let pid = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').next());
    pid.and_then(|pid| pid.parse().ok())
        .is_some_and(|pid| owner(pid).is_some())
}

/// What became of the directories that servers left whose owner died.
#[derive(Debug, Default)]
pub struct Swept {
    /// Gone.
    pub removed: Vec<PathBuf>,
    /// Still there: another user's in a shared directory, for one.
    pub stuck: Vec<PgError>,
}

/// Removes the directories of servers whose owner died. An `Err` means that `parent` cannot be read.
pub fn sweep(parent: &Path) -> Result<Swept, PgError> {
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| PgError::Io {
            doing,
            path,
            source,
        }
    };
    let mut swept = Swept::default();
    for entry in fs::read_dir(parent)
        .map_err(io("reading", parent))?
        .flatten()
    {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let path = entry.path();
        let recorded = match fs::read_to_string(path.join("owner")) {
            Ok(recorded) => recorded,
            // Its maker died, or could not write, before it said who it is.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !has_maker(&path) => {
                String::new()
            }
            // Another user's directory, or one that is just being made.
            Err(_) => continue,
        };
        let pid = recorded.split(' ').next().and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid| owner(pid).as_deref() == Some(recorded.as_str())) {
            continue;
        }
        match fs::remove_dir_all(&path).map_err(io("removing", &path)) {
            Ok(()) => swept.removed.push(path),
            Err(error) => swept.stuck.push(error),
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::geteuid;

    #[test]
    fn what_cannot_be_swept_is_told_and_stops_nobody() {
        let parent = tempfile::tempdir().unwrap();
        let open = |path: &Path, mode| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        open(parent.path(), 0o777);
        let left = parent.path().join(format!("{PREFIX}1-1"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("owner"), "1 0").unwrap();
        open(&left, 0o555);
        // Root may remove anything: this thread is somebody else then.
        let swept = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                if geteuid().is_root() {
                    let nobody = rustix::process::Uid::from_raw(65_534);
                    rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                }
                sweep(parent.path()).unwrap()
            });
            other.join().unwrap()
        });
        open(&left, 0o755);
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
}
