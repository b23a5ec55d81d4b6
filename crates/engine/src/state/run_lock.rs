//! One run at a time in one backup directory, whoever starts it.

use super::StateDir;
use super::error::StateError;
use super::file::{Access, open};
use hubvault_model::BackupId;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Held while a run is at work. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

/// How often the lock is asked for, and what is waited in between: whoever only looks whether a run
/// is at work holds it for an instant.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(50);
/// What is read of the text in it, in bytes.
const LONGEST: u64 = 200;

impl RunLock {
    /// Whether a run is at work. What cannot be asked counts as no.
    pub fn is_held(state: &StateDir) -> bool {
        is_locked(&path(state))
    }

    /// Whether this run is at work.
    pub fn is_held_by(state: &StateDir, run: BackupId) -> bool {
        let holder = holder(&path(state)).unwrap_or_default();
        holder.starts_with(&format!("run {run},")) && Self::is_held(state)
    }

    /// Since when the lock is held, as its holder wrote into it; `None` where that cannot be read.
    pub(crate) fn since(state: &StateDir) -> Option<Timestamp> {
        let holder = holder(&path(state))?;
        let (_, since) = holder.trim().rsplit_once("since ")?;
        since.parse().ok()
    }

    /// Takes the lock for a moment where no run is at work, and leaves no word of it. `None` also where it
    /// cannot be asked for.
    pub(crate) fn for_a_moment(state: &StateDir) -> Option<Self> {
        let file = open(&path(state), Access::ReadWrite).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(Self { _file: file })
    }

    /// Takes the lock of a state directory, or says within a moment who holds it.
    pub fn take(state: &StateDir, run: BackupId) -> Result<Self, StateError> {
        let file = take(&path(state), &format!("run {run}"))?;
        Ok(Self { _file: file })
    }
}

fn path(state: &StateDir) -> PathBuf {
    state.file("run.lock")
}

/// Whether a process holds a lock file.
pub(super) fn is_locked(path: &Path) -> bool {
    let Ok(file) = open(path, Access::Read) else {
        return false;
    };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

/// Takes a lock file and writes into it who holds it.
pub(super) fn take(path: &Path, who: &str) -> Result<File, StateError> {
    let mut file =
        open(path, Access::ReadWrite).map_err(StateError::io("opening the run lock", path))?;
    let mut locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
    for _ in 1..TRIES {
        if locked == Err(Errno::WOULDBLOCK) {
            std::thread::sleep(PAUSE);
            locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
    }
    if let Err(error) = locked {
        if error != Errno::WOULDBLOCK {
            return Err(StateError::io("locking", path)(error.into()));
        }
        let mut holder = String::new();
        // Best effort: the holder may be writing its name right now.
        let _ = Read::by_ref(&mut file)
            .take(LONGEST)
            .read_to_string(&mut holder);
        return Err(StateError::Locked {
            path: path.to_owned(),
            holder: holder.trim().to_owned(),
        });
    }
    let text = format!(
        "{who}, process {} on {}, since {:.0}\n",
        std::process::id(),
        // A directory may be that of several machines.
        rustix::system::uname().nodename().to_string_lossy(),
        Timestamp::now()
    );
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(StateError::io("writing the run lock", path))?;
    Ok(file)
}

/// What the holder wrote into the lock, also of one that is not held any more.
pub(super) fn holder(path: &Path) -> Option<String> {
    let file = open(path, Access::Read).ok()?;
    let mut holder = String::new();
    file.take(LONGEST).read_to_string(&mut holder).ok()?;
    Some(holder)
}
