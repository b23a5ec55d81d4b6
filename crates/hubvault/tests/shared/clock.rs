//! Another wall clock for hubvault (libfaketime).

use crate::hub::Hub;
use jiff::Timestamp;
use std::fs;
use std::path::PathBuf;

/// What is waited for is waited for really, and files keep their real times.
pub(crate) const UNCHANGED: [(&str, &str); 2] =
    [("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")];

/// A wall clock that the test sets and that goes on from there.
pub(crate) struct Clock {
    file: PathBuf,
}

impl Clock {
    /// The clock of every command of this hub from now on.
    pub(crate) fn of(hub: &mut Hub, at: &str) -> Self {
        let clock = Self {
            file: hub.config().join("clock"),
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
