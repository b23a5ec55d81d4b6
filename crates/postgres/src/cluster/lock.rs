//! One drill at a time in a directory. The lock is on a private directory: every local user could lock the directory
//! itself.

use super::nofollow::{self, is_directory, look_at, open_directory, random_name, read_small};
use super::sweep::{PRIVATE_PREFIX, Swept, owner, sweep};
use crate::error::PgError;
use rustix::fs::{CWD, FlockOperation, flock, fstat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How often the private directories may change while they are being locked.
const ATTEMPTS: usize = 100;
/// The bits of a mode that a private directory does not have: its server's group may enter it, and nobody else.
const OPEN: u32 = 0o7067;

/// The right to drill in a directory, and a private directory below it for the drill's server. Both end when dropped.
#[derive(Debug)]
pub struct DrillLock {
    parent: PathBuf,
    /// All private directories, also of processes that started at the same time; the first is used.
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    name: String,
    directory: OwnedFd,
}

impl DrillLock {
    /// Takes it, or returns `None` when another process of this user has it. Other users are never waited for.
    pub fn try_take(parent: &Path) -> io::Result<Option<Self>> {
        for _ in 0..ATTEMPTS {
            let names = private_directories(parent)?;
            if names.is_empty() {
                make(parent)?;
                continue;
            }
            let mut held = Vec::new();
            for name in &names {
                match lock(parent, name) {
                    Ok(Some(directory)) => held.push(Held {
                        name: name.clone(),
                        directory,
                    }),
                    Ok(None) => return Ok(None),
                    // Its holder removed it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(error) => return Err(error),
                }
            }
            // Whoever holds all of them is alone: a new one would change the list.
            if held.len() == names.len() && private_directories(parent)? == names {
                let lock = Self {
                    parent: parent.to_owned(),
                    held,
                };
                lock.begin()?;
                return Ok(Some(lock));
            }
        }
        // Others come and go.
        Ok(None)
    }

    /// The process that has it, for display; empty when unknown.
    pub fn holder(parent: &Path) -> String {
        let me = [geteuid().as_raw()];
        let names = private_directories(parent).unwrap_or_default();
        let pids = names.iter().filter_map(|name| {
            let directory = open_directory(CWD, parent.join(name)).ok()?;
            let recorded = read_small(&directory, "owner", &me).ok()?;
            Some(recorded.split(' ').next()?.to_owned())
        });
        pids.collect::<Vec<_>>().join(", ")
    }

    /// The private directory for the drill's server.
    pub fn directory(&self) -> PathBuf {
        let first = self.held.first();
        first.map_or_else(|| self.parent.clone(), |held| self.parent.join(&held.name))
    }

    /// Removes leftovers of crashed drills.
    pub fn sweep(&self) -> Result<Swept, PgError> {
        sweep(&self.parent)
    }

    /// Empties the private directories: with the lock held, their content is a leftover of crashed drills.
    fn begin(&self) -> io::Result<()> {
        for held in &self.held {
            nofollow::empty(held.directory.as_fd())?;
        }
        let Some(first) = self.held.first() else {
            return Ok(());
        };
        let who = owner(std::process::id()).unwrap_or_default();
        nofollow::create(&first.directory, "owner")?.write_all(who.as_bytes())
    }
}

impl Drop for DrillLock {
    fn drop(&mut self) {
        for held in &self.held {
            let path = self.parent.join(&held.name);
            let removed =
                nofollow::empty(held.directory.as_fd()).and_then(|()| fs::remove_dir(&path));
            if let Err(error) = removed {
                tracing::warn!("could not remove {}: {error}", path.display());
            }
        }
    }
}

/// The names of the private directories of this user, sorted, so that two processes lock them in the same order.
fn private_directories(parent: &Path) -> io::Result<Vec<String>> {
    let me = geteuid().as_raw();
    let prefix = format!("{PRIVATE_PREFIX}{me}-");
    let mut names = Vec::new();
    for entry in fs::read_dir(parent)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(&prefix)) else {
            continue;
        };
        let is_private = look_at(CWD, parent.join(name))
            .is_ok_and(|stat| is_directory(&stat) && stat.st_uid == me && stat.st_mode & OPEN == 0);
        if is_private {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn make(parent: &Path) -> io::Result<()> {
    let name = format!("{PRIVATE_PREFIX}{}-{}", geteuid().as_raw(), random_name(8)?);
    let path = parent.join(name);
    DirBuilder::new().mode(0o700).create(&path)?;
    let mode = look_at(CWD, &path)?.st_mode & 0o7777;
    if mode & OPEN == 0 {
        return Ok(());
    }
    // It would be passed over, and made again and again.
    fs::remove_dir(&path)?;
    Err(io::Error::other(format!(
        "a directory made there is open to others (mode {mode:04o}, as on a mount without modes of its own); set \
         proof.directory to a place on another file system"
    )))
}

/// Locks one and makes sure that it still has its name; `None` when another process has the lock.
fn lock(parent: &Path, name: &str) -> io::Result<Option<OwnedFd>> {
    let directory = open_directory(CWD, parent.join(name))?;
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    let (held, there) = (fstat(&directory)?, look_at(CWD, parent.join(name))?);
    if (held.st_dev, held.st_ino) != (there.st_dev, there.st_ino) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Some(directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_at_a_time_whoever_begins_when_and_nothing_is_left() {
        let parent = tempfile::tempdir().unwrap();
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let lock = loop {
                            match DrillLock::try_take(parent.path()) {
                                Ok(Some(lock)) => break lock,
                                _ => std::thread::yield_now(),
                            }
                        };
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        fs::create_dir(lock.directory().join("left")).unwrap();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn it_says_who_has_it_and_a_lock_on_the_directory_itself_stops_nobody() {
        let parent = tempfile::tempdir().unwrap();
        let other = fs::File::open(parent.path()).unwrap();
        other.try_lock().unwrap();
        let lock = DrillLock::try_take(parent.path()).unwrap().unwrap();
        assert!(DrillLock::try_take(parent.path()).unwrap().is_none());
        assert_eq!(
            DrillLock::holder(parent.path()),
            std::process::id().to_string()
        );
        drop(lock);
        assert!(DrillLock::try_take(parent.path()).unwrap().is_some());
    }
}
