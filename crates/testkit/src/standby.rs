//! A hot standby of a throwaway server.

use crate::waiting::wait_for;
use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, Session, ThrowawayServer};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A server that replays another's WAL; stopped and removed when dropped.
pub struct Standby {
    directory: TempDir,
    child: Child,
}

impl Standby {
    /// Copies `primary` and starts to follow it; returns once it answers.
    ///
    /// `primary` must run with `wal_level=replica` and senders.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn of(primary: &ThrowawayServer) -> Self {
        Self::with(primary, &[])
    }

    /// The same with further settings.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn with(primary: &ThrowawayServer, settings: &[(&str, &str)]) -> Self {
        let directory = TempDir::with_prefix("hv-standby-").unwrap_or_else(|e| panic!("{e}"));
        let owner =
            std::fs::metadata(primary.directory().join("data")).unwrap_or_else(|e| panic!("{e}"));
        let (uid, gid) = (owner.uid(), owner.gid());
        chown(directory.path(), Some(uid), Some(gid)).unwrap_or_else(|e| panic!("{e}"));
        let data = directory.path().join("data");
        let from = primary.settings("postgres");
        let copied = program(&primary.bin_dir().join("pg_basebackup"), &owner)
            .args([
                "-h", &from.host, "-U", &from.user, "-X", "stream", "-c", "fast", "-R", "-D",
            ])
            .arg(&data)
            .current_dir(directory.path())
            .output()
            .unwrap_or_else(|e| panic!("pg_basebackup: {e}"));
        assert!(
            copied.status.success(),
            "pg_basebackup: {}",
            String::from_utf8_lossy(&copied.stderr)
        );
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700))
            .unwrap_or_else(|e| panic!("{e}"));
        let child = program(&primary.bin_dir().join("postgres"), &owner)
            .arg("-D")
            .arg(&data)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "hot_standby=on",
                "-c",
            ])
            .arg(format!(
                "unix_socket_directories={}",
                directory.path().display()
            ))
            .args(
                settings
                    .iter()
                    .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]),
            )
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("postgres: {e}"));
        let standby = Self { directory, child };
        wait_for(
            || Session::connect(&standby.settings("postgres"), &Cancel::new()).is_ok(),
            || "the standby".to_owned(),
        );
        standby
    }

    /// How to reach one of its databases.
    pub fn settings(&self, dbname: &str) -> ConnectSettings {
        ConnectSettings {
            host: self.directory.path().display().to_string(),
            dbname: dbname.to_owned(),
            ..ConnectSettings::default()
        }
    }
}

/// A server program as the user that owns the primary.
fn program(path: &Path, owner: &std::fs::Metadata) -> Command {
    let mut command = Command::new(path);
    let me = std::fs::metadata("/proc/self").map_or(0, |meta| meta.uid());
    if me == 0 {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command
}

impl Drop for Standby {
    fn drop(&mut self) {
        // SIGQUIT would be kinder, but nothing here is worth it; its children end without it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
