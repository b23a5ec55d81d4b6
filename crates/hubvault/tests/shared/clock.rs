//! Another wall clock for hubvault (libfaketime).

use crate::hub::Hub;
use jiff::Timestamp;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What is waited for is waited for really, and files keep their real times.
pub(crate) const UNCHANGED: [(&str, &str); 2] =
    [("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")];

/// A wall clock that the test sets and that goes on from there.
pub(crate) struct Clock {
    file: PathBuf,
    _semaphore: Semaphore,
}

impl Clock {
    /// The clock of every command of this hub from now on.
    pub(crate) fn of(hub: &mut Hub, at: &str) -> Self {
        let clock = Self {
            file: hub.config().join("clock"),
            _semaphore: Semaphore::of(hub),
        };
        clock.set(at);
        hub.set("LD_PRELOAD", library());
        hub.set("FAKETIME_TIMESTAMP_FILE", clock.file.display().to_string());
        hub.set("FAKETIME_NO_CACHE", "1");
        for (name, value) in UNCHANGED {
            hub.set(name, value);
        }
        clock
    }

    pub(crate) fn set(&self, at: &str) {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{}\n", offset(at))).unwrap();
        fs::rename(next, &self.file).unwrap();
    }
}

/// The semaphore that all processes with a clock share. The library makes one for a single holder: after a process is
/// killed that has it, at its start, every other one waits for ever. This one lets in as many as there are.
struct Semaphore([PathBuf; 2]);

impl Semaphore {
    fn of(hub: &mut Hub) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hubvault-clock-{}-{number}", std::process::id());
        // As sem_open(3) and shm_open(3) find them: the number comes first in the file (glibc, `struct new_sem`).
        let files =
            [format!("sem.{name}"), name.clone()].map(|name| Path::new("/dev/shm").join(name));
        for (file, first) in files.iter().zip([1_000_000_u32, 0]) {
            let mut content = [0; 4096];
            content[..4].copy_from_slice(&first.to_ne_bytes());
            fs::write(file, content).unwrap();
            // Drills have a user of their own.
            fs::set_permissions(file, Permissions::from_mode(0o666)).unwrap();
        }
        hub.set("FAKETIME_SHARED", format!("/{name} /{name}"));
        Self(files)
    }
}

impl Drop for Semaphore {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = fs::remove_file(file);
        }
    }
}

/// The library that gives a process another clock.
pub(crate) fn library() -> String {
    ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|platform| format!("/usr/lib/{platform}/faketime/libfaketimeMT.so.1"))
        .into_iter()
        .find(|path| fs::exists(path).unwrap())
        .unwrap_or_else(|| panic!("libfaketime is needed: make tools installs it"))
}

/// The seconds from the real time to `at`, with their sign.
pub(crate) fn offset(at: &str) -> String {
    let at: Timestamp = at.parse().unwrap();
    format!("{:+}", at.as_second() - Timestamp::now().as_second())
}
