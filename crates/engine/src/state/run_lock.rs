//! One run at a time in one backup directory, whoever starts it.

use super::StateDir;
use super::error::StateError;
use super::file::{Access, open};
use hubvault_model::{BackupId, Cancel};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Held while a run is at work. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

/// What is waited between two tries.
const PAUSE: Duration = Duration::from_millis(50);
/// So long a run waits for those who only make the catalog current, which no run holds up.
const FOR_READERS: Duration = Duration::from_mins(1);
/// So often a lock counts as held by another run before that is believed.
const TRIES: u32 = 4;
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

    /// Keeps runs from starting for a moment, where none is at work, and leaves no word of it. Several may do so at
    /// once, and to others it is no run at work. `None` also where the lock cannot be asked for.
    pub(crate) fn for_a_moment(state: &StateDir) -> Option<Self> {
        let file = open(&path(state), Access::ReadWrite).ok()?;
        flock(&file, FlockOperation::NonBlockingLockShared).ok()?;
        Some(Self { _file: file })
    }

    /// Takes the lock of a state directory, or says within a moment who holds it. A wait for readers ends with `cancel`.
    pub fn take(state: &StateDir, run: BackupId, cancel: &Cancel) -> Result<Self, StateError> {
        let file = take(&path(state), &format!("run {run}"), cancel)?;
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
pub(super) fn take(path: &Path, who: &str, cancel: &Cancel) -> Result<File, StateError> {
    let mut file =
        open(path, Access::ReadWrite).map_err(StateError::io("opening the run lock", path))?;
    if let Err(error) = lock_alone(&file, cancel) {
        if error == Errno::CANCELED {
            return Err(StateError::Cancelled);
        }
        // What is written there is of a run that has ended.
        if error == Errno::TIMEDOUT {
            let path = path.to_owned();
            return Err(StateError::Read { path });
        }
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

/// Locks for one process alone. Those who hold it together with others are waited for: after that it is `TIMEDOUT`, and
/// `CANCELED` where the wait was.
fn lock_alone(file: &File, cancel: &Cancel) -> Result<(), Errno> {
    let (began, mut held) = (Instant::now(), 0);
    loop {
        let locked = flock(file, FlockOperation::NonBlockingLockExclusive);
        if locked != Err(Errno::WOULDBLOCK) {
            return locked;
        }
        // Nobody shares it with one who has it alone.
        match flock(file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => flock(file, FlockOperation::Unlock)?,
            Err(_) => held += 1,
        }
        if held >= TRIES {
            return Err(Errno::WOULDBLOCK);
        }
        if began.elapsed() > FOR_READERS {
            return Err(Errno::TIMEDOUT);
        }
        if cancel.wait(PAUSE) {
            return Err(Errno::CANCELED);
        }
    }
}

/// What the holder wrote into the lock, also of one that is not held any more.
pub(super) fn holder(path: &Path) -> Option<String> {
    let file = open(path, Access::Read).ok()?;
    let mut holder = String::new();
    file.take(LONGEST).read_to_string(&mut holder).ok()?;
    Some(holder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn those_who_make_the_catalog_current_are_no_run_and_a_run_waits_for_them() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDir::at(place.path());
        let (one, other) = (RunLock::for_a_moment(&state), RunLock::for_a_moment(&state));
        assert!(one.is_some() && other.is_some());
        assert!(!RunLock::is_held(&state));

        let (taken, waits) = mpsc::channel();
        thread::scope(|scope| {
            let state = &state;
            scope.spawn(move || {
                let lock = RunLock::take(state, BackupId::random(), &Cancel::new());
                taken.send(lock.is_ok()).unwrap();
                lock
            });
            // Longer than a run believes another run for.
            assert!(waits.recv_timeout(PAUSE * (TRIES + 4)).is_err());
            drop((one, other));
            assert_eq!(waits.recv(), Ok(true));
        });
    }

    #[test]
    fn a_wait_for_those_who_make_the_catalog_current_ends_with_the_run() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDir::at(place.path());
        let reader = RunLock::for_a_moment(&state).unwrap();
        let cancel = Cancel::new();
        let (ended, waits) = mpsc::channel();
        thread::scope(|scope| {
            let (state, cancel) = (&state, &cancel);
            scope.spawn(move || {
                let taken = RunLock::take(state, BackupId::random(), cancel);
                ended.send(taken.map(drop)).unwrap();
            });
            assert!(waits.recv_timeout(PAUSE * (TRIES + 4)).is_err());
            cancel.request();
            assert!(matches!(waits.recv(), Ok(Err(StateError::Cancelled))));
        });
        drop(reader);
    }

    #[test]
    fn beside_a_run_nobody_is_alone_and_a_second_run_hears_of_the_first() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDir::at(place.path());
        let id = BackupId::random();
        let _lock = RunLock::take(&state, id, &Cancel::new()).unwrap();
        assert!(RunLock::is_held(&state));
        assert!(RunLock::for_a_moment(&state).is_none());
        let second = RunLock::take(&state, BackupId::random(), &Cancel::new()).unwrap_err();
        assert!(second.to_string().contains(&id.to_string()), "{second}");
    }
}
