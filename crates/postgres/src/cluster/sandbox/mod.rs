//! The sandbox of a server that runs foreign code: the owners of an archive's tables may be able to run code inside the
//! server, which therefore can reach next to nothing.

mod readable;
mod files;
mod calls;
mod namespaces;

pub(super) use namespaces::{Namespaces, OwnUser, only};

use crate::dump::tools::find_server;
use crate::error::PgError;
use landlock::RulesetCreated;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// How far the server of a drill was confined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// What the host does not offer, in sentences; empty when nothing is missing.
    pub missing: Vec<String>,
    /// Processes that code of the database had started and that were still there at the end. They were killed.
    #[serde(default)]
    pub processes_left: usize,
}

/// Restrictions that a process puts on itself before it becomes the server, and that all its children inherit.
pub(super) struct Sandbox {
    files: Option<RulesetCreated>,
    calls: Vec<calls::Filter>,
    namespaces: Option<namespaces::OwnUser>,
    /// Whether the server's user runs nothing else, so that its processes can be counted.
    counts_processes: bool,
    pub(super) missing: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
}

/// What this host does not offer to confine the server of a drill, in sentences.
pub fn sandbox_lacks(environment: &[(String, String)]) -> Result<Vec<String>, PgError> {
    let server = find_server(0)?;
    let is_root = rustix::process::geteuid().is_root();
    let sandbox = Sandbox::prepare(&server.path, &[], environment, is_root, is_root)?;
    Ok(sandbox.missing)
}

impl Sandbox {
    /// Prepares the restrictions that this host offers. `writable` are the only directories that the server may write to.
    pub(super) fn prepare(
        postgres: &Path,
        writable: &[&Path],
        environment: &[(String, String)],
        has_own_user: bool,
        is_root: bool,
    ) -> Result<Self, PgError> {
        let mut missing = Vec::new();
        let files = files::restrict(postgres, writable, environment, !is_root, &mut missing)
            .map_err(|error| PgError::Throwaway {
                doing: "confining it to its files".into(),
                why: error.to_string(),
            })?;
        let calls = calls::filters(&mut missing);
        let namespaces = if is_root {
            None
        } else {
            namespaces::OwnUser::probe(environment, &mut missing)
        };
        Ok(Self {
            files,
            calls,
            namespaces,
            counts_processes: has_own_user,
            missing,
            environment: environment.to_vec(),
        })
    }

    /// Whether the server's processes can be told from others by their filters.
    pub(super) fn filters_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Has the command enter it just before it becomes another program.
    pub(super) fn wrap(mut self, command: &mut Command) {
        // SAFETY: only system calls on values that were made before the fork.
        unsafe {
            command.pre_exec(move || self.enter());
        }
    }

    fn enter(&mut self) -> io::Result<()> {
        if let Some(namespaces) = &self.namespaces {
            namespaces.enter()?;
        }
        limit(Resource::Core, 0);
        if self.counts_processes {
            limit(Resource::Nproc, 512);
        }
        calls::close_inherited();
        rustix::thread::set_no_new_privs(true)?;
        if let Some(files) = self.files.take() {
            files
                .restrict_self()
                .map_err(|_| io::ErrorKind::PermissionDenied)?;
        }
        for filter in &self.calls {
            filter.apply()?;
        }
        Ok(())
    }
}

/// Lowers a limit where that is allowed.
fn limit(resource: Resource, to: u64) {
    let hard = getrlimit(resource).maximum.map_or(to, |hard| hard.min(to));
    let _ = setrlimit(
        resource,
        Rlimit {
            current: Some(hard),
            maximum: Some(hard),
        },
    );
}
