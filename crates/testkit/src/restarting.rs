//! A server that can be stopped and started again with its data.

use crate::database::Server;
use hubvault_postgres::ConnectSettings;
use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// How a server is shut down ("Shutting Down the Server").
#[derive(Clone, Copy, Debug)]
pub enum Shutdown {
    /// Sessions are ended, what they did is rolled back.
    Fast,
    /// As if it had crashed.
    Immediate,
}

/// A server of its own on a Unix socket; stopped and removed when dropped.
pub struct RestartingServer {
    directory: TempDir,
    pg_ctl: std::path::PathBuf,
    owner: Metadata,
}

impl RestartingServer {
    /// Makes a cluster with the programs and the user of `other` and starts it.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn like(other: &Server) -> Self {
        let directory = TempDir::with_prefix("hv-restarts-").unwrap_or_else(|e| panic!("{e}"));
        let theirs = other.settings("postgres").host;
        let owner = std::fs::metadata(&theirs).unwrap_or_else(|e| panic!("{theirs}: {e}"));
        chown(directory.path(), Some(owner.uid()), Some(owner.gid()))
            .unwrap_or_else(|e| panic!("{e}"));
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700))
            .unwrap_or_else(|e| panic!("{e}"));
        let this = Self {
            directory,
            pg_ctl: other.bin_dir().join("pg_ctl"),
            owner,
        };
        this.control(&["initdb", "-o", "-A trust -U postgres --no-sync"]);
        this.start();
        this
    }

    /// How to reach its database `postgres`.
    pub fn settings(&self) -> ConnectSettings {
        ConnectSettings {
            host: self.directory.path().display().to_string(),
            ..ConnectSettings::default()
        }
    }

    /// Starts it; returns when it takes connections.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&self) {
        let directory = self.directory.path().display();
        let options = format!("-c listen_addresses= -c fsync=off -k {directory}");
        let log = format!("{directory}/log");
        self.control(&["start", "-w", "-l", &log, "-o", &options]);
    }

    /// Stops it; returns when it has ended.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(&self, how: Shutdown) {
        let mode = match how {
            Shutdown::Fast => "fast",
            Shutdown::Immediate => "immediate",
        };
        self.control(&["stop", "-w", "-m", mode]);
    }

    fn control(&self, arguments: &[&str]) {
        let status = self.command(arguments).status();
        assert!(
            status.as_ref().is_ok_and(std::process::ExitStatus::success),
            "pg_ctl {arguments:?}: {status:?}"
        );
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.pg_ctl);
        command
            .args(arguments)
            .arg("-D")
            .arg(self.directory.path().join("data"))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if std::fs::metadata("/proc/self").map_or(0, |meta| meta.uid()) == 0 {
            command.uid(self.owner.uid()).gid(self.owner.gid());
        }
        command
    }
}

impl Drop for RestartingServer {
    fn drop(&mut self) {
        // It may be stopped already.
        let _ = self.command(&["stop", "-w", "-m", "immediate"]).status();
    }
}
