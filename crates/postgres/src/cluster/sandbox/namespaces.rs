//! A view of the machine without its network, its other processes and its shared memory (namespaces(7)).

use crate::dump::tools::LANGUAGE;
use rustix::process::{DumpableBehavior, getegid, geteuid, set_dumpable_behavior};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Namespaces that root makes for what a thread of it starts. Dropped, all processes in them are killed by the kernel.
pub(in crate::cluster) struct Namespaces {
    /// The first process of the namespace: orphans become its children, and no process of it outlives it.
    init: Child,
}

impl Namespaces {
    /// Makes them for the calling thread, which must start nothing but the server.
    pub(in crate::cluster) fn enter(
        uid: u32,
        gid: u32,
        environment: &[(String, String)],
    ) -> io::Result<Self> {
        let flags = UnshareFlags::NEWPID | UnshareFlags::NEWNET | UnshareFlags::NEWIPC;
        // SAFETY: none of these flags takes descriptors or memory away from other threads.
        unsafe { unshare_unsafe(flags) }
            .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
        // It ends when its input does: with us, however we end.
        let mut command = Command::new("cat");
        only(&mut command, environment);
        command
            .uid(uid)
            .gid(gid)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self {
            init: command.spawn()?,
        })
    }

    /// The id of its first process.
    pub(in crate::cluster) fn init(&self) -> u32 {
        self.init.id()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // Returns once every process of the namespace is gone.
        let _ = self.init.kill();
        let _ = self.init.wait();
    }
}

/// Namespaces that a process makes for itself as the only user of its own user namespace (`user_namespaces(7)`).
pub(in crate::cluster) struct OwnUser {
    files: [(PathBuf, String); 3],
    flags: UnshareFlags,
}

impl OwnUser {
    /// A namespace in which this user has another id, and nothing else is different.
    pub(in crate::cluster) fn with_id(id: u32) -> Self {
        Self::seen_as(id, UnshareFlags::NEWUSER)
    }

    fn seen_as(id: u32, flags: UnshareFlags) -> Self {
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        let own = |name: &str, text: String| (Path::new("/proc/self").join(name), text);
        let files = [
            own("setgroups", "deny".to_owned()),
            own("uid_map", format!("{id} {user} 1")),
            own("gid_map", format!("{group} {group} 1")),
        ];
        Self { files, flags }
    }

    /// Whether this host lets an ordinary user make them.
    pub(super) fn probe(
        environment: &[(String, String)],
        missing: &mut Vec<String>,
    ) -> Option<Self> {
        let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWIPC;
        let make = || Self::seen_as(geteuid().as_raw(), flags);
        let tried = make();
        let mut command = Command::new("true");
        only(&mut command, environment);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // SAFETY: as in the sandbox itself.
        unsafe {
            command.pre_exec(move || tried.enter());
        }
        match command.status() {
            Ok(status) if status.success() => Some(make()),
            outcome => {
                let why =
                    outcome.map_or_else(|error| error.to_string(), |status| status.to_string());
                missing.push(format!(
                    "no namespaces for ordinary users ({why}): the drill's server shares process ids and shared memory \
                     with its user's other programs"
                ));
                None
            }
        }
    }

    pub(in crate::cluster) fn enter(&self) -> io::Result<()> {
        // A process that cannot be dumped may not write these files; it is another program in a moment.
        set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        // SAFETY: this process has one thread.
        unsafe { unshare_unsafe(self.flags)? };
        for (path, text) in &self.files {
            fs::write(path, text)?;
        }
        Ok(())
    }
}

/// Takes everything from a program's environment but this.
pub(in crate::cluster) fn only(command: &mut Command, environment: &[(String, String)]) {
    command.env_clear();
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.env(LANGUAGE.0, LANGUAGE.1);
}
