//! Whether a service keeps the schedule of a directory: a file that it holds locked while it is at work.

use super::StateDir;
use super::file::{Access, open};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};

/// Held by a service while it is at work; several may, while one takes over from another. The kernel lets go
/// of it when the process ends, however it ends.
#[derive(Debug)]
pub struct ServiceLock {
    file: File,
}

/// What is known of services in a state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// None is at work, and none is missing.
    Never,
    /// One was, and crashed.
    Gone {
        /// When the first one began.
        since: Timestamp,
    },
    /// One is at work.
    AtWork {
        /// When the first one began.
        since: Timestamp,
    },
}

const FILE: &str = "service.lock";
/// It holds one moment, in bytes.
const LONGEST: u64 = 100;

impl ServiceLock {
    /// Says that a service is at work from now on. An `Err` comes from the file.
    pub fn announce(state: &StateDir, now: Timestamp) -> io::Result<Self> {
        let mut file = open(&state.file(FILE), Access::Append)?;
        flock(&file, FlockOperation::LockShared)?;
        if file.metadata()?.len() == 0 {
            file.write_all(format!("{now}\n").as_bytes())?;
        }
        Ok(Self { file })
    }

    /// The service ends as it was asked to, and is not missed, unless another one is at work. An `Err` comes from the file.
    pub fn end(self) -> io::Result<()> {
        if flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            self.file.set_len(0)?;
        }
        Ok(())
    }

    /// Looks for one. What cannot be read counts as none.
    pub fn seen(state: &StateDir) -> Seen {
        let path = state.file(FILE);
        let Ok(file) = open(&path, Access::Read) else {
            return Seen::Never;
        };
        let mut text = String::new();
        let read = (&file).take(LONGEST).read_to_string(&mut text);
        let since = text.lines().next().and_then(|line| line.parse().ok());
        let (Ok(_), Some(since)) = (read, since) else {
            return Seen::Never;
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Seen::AtWork { since },
            _ => Seen::Gone { since },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_seen_while_it_is_at_work_and_missed_afterwards() {
        let state = tempfile::tempdir().unwrap();
        let since = Timestamp::from_second(1_800_000_000).unwrap();
        let later = Timestamp::from_second(1_900_000_000).unwrap();
        assert_eq!(ServiceLock::seen(&StateDir::at(state.path())), Seen::Never);
        let first = ServiceLock::announce(&StateDir::at(state.path()), since).unwrap();
        let second = ServiceLock::announce(&StateDir::at(state.path()), later).unwrap();
        drop(first);
        assert_eq!(
            ServiceLock::seen(&StateDir::at(state.path())),
            Seen::AtWork { since }
        );
        drop(second);
        assert_eq!(
            ServiceLock::seen(&StateDir::at(state.path())),
            Seen::Gone { since }
        );
        // One that ends as it was asked to is not missed, unless another one would be.
        let third = ServiceLock::announce(&StateDir::at(state.path()), later).unwrap();
        let fourth = ServiceLock::announce(&StateDir::at(state.path()), later).unwrap();
        third.end().unwrap();
        assert_eq!(
            ServiceLock::seen(&StateDir::at(state.path())),
            Seen::AtWork { since }
        );
        fourth.end().unwrap();
        assert_eq!(ServiceLock::seen(&StateDir::at(state.path())), Seen::Never);
        let fifth = ServiceLock::announce(&StateDir::at(state.path()), later).unwrap();
        assert_eq!(
            ServiceLock::seen(&StateDir::at(state.path())),
            Seen::AtWork { since: later }
        );
        drop(fifth);
    }
}
