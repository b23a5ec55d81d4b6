//! Runs of hubvault on a failing disk (`preload.c`).

use crate::hub::Hub;
use crate::preload;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EIO: i32 = 5;
pub(crate) const EACCES: i32 = 13;
pub(crate) const EROFS: i32 = 30;
pub(crate) const EDQUOT: i32 = 122;

/// Calls that are made, or fail, together.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    /// The program that makes them, by its short name.
    pub(crate) program: &'static str,
    /// Of `write`, `sync`, `rename`, `create`, `open`, `unlink` some, with commas.
    pub(crate) kinds: &'static str,
    /// A pattern of their paths.
    pub(crate) place: String,
}

/// What happens to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Which one fails, from 1.
    pub(crate) at: usize,
    /// What it fails with.
    pub(crate) errno: i32,
    /// Every later one fails, too.
    pub(crate) stays: bool,
    /// A write first takes half of its bytes.
    pub(crate) is_short: bool,
}

/// A run on such a disk.
pub(crate) struct Ran {
    /// The calls that were made, or the one that failed: `kind path`.
    pub(crate) calls: Vec<String>,
    pub(crate) output: Output,
}

/// Where the library is; other users may read it.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| preload::library("preload"))
}

/// The variables and files of one run.
pub(crate) struct Disk {
    directory: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Disk {
    /// A disk on which these calls are counted, and fail as the fault says.
    pub(crate) fn new(calls: &Calls, fault: Option<Fault>) -> Self {
        // The drill's server belongs to another user, who counts here, too.
        let directory = tempfile::Builder::new()
            .prefix("hv-disk-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in("/tmp")
            .unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::copy(library(), path("preload.so")).unwrap();
        File::create(path("count")).unwrap().set_len(16).unwrap();
        File::create(path("log")).unwrap();
        for name in ["count", "log"] {
            fs::set_permissions(path(name), fs::Permissions::from_mode(0o666)).unwrap();
        }
        let shown = |name: &str| path(name).display().to_string();
        let mut variables = vec![
            ("LD_PRELOAD", shown("preload.so")),
            ("LD_DISK_COUNT", shown("count")),
            ("LD_DISK_LOG", shown("log")),
            ("LD_DISK_PROGRAM", calls.program.to_owned()),
            ("LD_DISK_KINDS", calls.kinds.to_owned()),
            ("LD_DISK_PLACE", calls.place.clone()),
        ];
        if let Some(fault) = fault {
            variables.push(("LD_DISK_AT", fault.at.to_string()));
            variables.push(("LD_DISK_ERRNO", fault.errno.to_string()));
            let flags = [
                ("LD_DISK_STAYS", fault.stays),
                ("LD_DISK_SHORT", fault.is_short),
            ];
            for (name, _) in flags.into_iter().filter(|(_, set)| *set) {
                variables.push((name, String::new()));
            }
        }
        Self {
            directory,
            variables,
        }
    }

    /// Runs a command of a hub on it.
    pub(crate) fn run(&self, hub: &Hub, arguments: &[&str]) -> Ran {
        self.run_with(hub, arguments, |_| {})
    }

    /// The same with a command that is changed first.
    pub(crate) fn run_with(
        &self,
        hub: &Hub,
        arguments: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Ran {
        let mut command = hub.command(arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        change(&mut command);
        let output = command.output().unwrap();
        let text = fs::read(self.directory.path().join("log")).unwrap();
        let text = String::from_utf8_lossy(&text);
        let mut calls: Vec<(usize, String)> = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(number, call)| (number.parse().unwrap(), call.to_owned()))
            .collect();
        calls.sort();
        Ran {
            calls: calls.into_iter().map(|(_, call)| call).collect(),
            output,
        }
    }
}

/// Every such call of an undisturbed run.
pub(crate) fn count(hub: &Hub, calls: &Calls, arguments: &[&str]) -> Ran {
    Disk::new(calls, None).run(hub, arguments)
}

/// The same with a fault.
pub(crate) fn inject(hub: &Hub, calls: &Calls, fault: Fault, arguments: &[&str]) -> Ran {
    Disk::new(calls, Some(fault)).run(hub, arguments)
}
