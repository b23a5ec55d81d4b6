//! The directory of one throwaway server. It stays ours: what the server may write to lies in two directories below,
//! so that no name that we open or remove can be changed by it.

use super::beneath::{self, open_directory, random_name};
use super::sweep::{PREFIX, owner};
use super::user::ServerUser;
use crate::error::PgError;
use rustix::fs::CWD;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, set_permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Files of a server that it does not own.
const OURS: [&str; 2] = ["log", "owner"];
/// Directories that it owns: its data, and its socket. Short, as a socket's path is limited to 107 bytes.
const ITS: [&str; 2] = ["data", "s"];

/// A server's directory.
pub(super) struct ServerDirectory {
    path: PathBuf,
    log: File,
}

impl ServerDirectory {
    /// Makes it: in a directory that others write to under a name that cannot be foretold, in a private one under a short
    /// name. Whatever we write is there before anything is given away.
    pub(super) fn make(
        parent: &Path,
        is_private: bool,
        makes: Option<&ServerUser>,
        runs: Option<&ServerUser>,
    ) -> Result<Self, PgError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| PgError::Io {
                doing: "making the throwaway server's directory",
                path,
                source,
            }
        };
        let name = match is_private {
            true => random_name(4),
            false => random_name(8).map(|name| format!("{PREFIX}{name}")),
        };
        let path = parent.join(name.map_err(io(parent))?);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(io(&path))?;
        let fill = || {
            let pid = std::process::id();
            let mut options = OpenOptions::new();
            options.append(true).read(true).create_new(true).mode(0o600);
            let mut file = options.open(path.join("owner"))?;
            io::Write::write_all(&mut file, owner(pid).unwrap_or_default().as_bytes())?;
            let log = options.open(path.join("log"))?;
            for name in ITS {
                DirBuilder::new().mode(0o700).create(path.join(name))?;
            }
            if let (Some(makes), Some(runs)) = (makes, runs) {
                let who = [makes, runs];
                for (name, user) in ITS.iter().zip(who) {
                    chown(path.join(name), Some(user.uid), Some(runs.gid))?;
                }
                let through: &[&Path] = if is_private {
                    &[parent, &path]
                } else {
                    &[&path]
                };
                for directory in through {
                    chown(directory, None, Some(runs.gid))?;
                    set_permissions(directory, Permissions::from_mode(0o710))?;
                }
            }
            Ok(log)
        };
        let log = fill()
            .inspect_err(|_| {
                // What stays is swept when this process is gone.
                let _ = remove(&path);
            })
            .map_err(io(&path))?;
        Ok(Self { path, log })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join(ITS[0])
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.path.join(ITS[1])
    }

    /// The log for the server to write to, as a descriptor: it cannot open the file.
    pub(super) fn log(&self) -> io::Result<File> {
        OpenOptions::new()
            .append(true)
            .open(self.path.join(OURS[0]))
    }

    /// The last lines of the log, however long it is.
    pub(super) fn log_tail(&self) -> String {
        const TAIL: u64 = 8192;
        let length = self.log.metadata().map_or(0, |meta| meta.len());
        let mut bytes = vec![0; TAIL.min(length) as usize];
        let read = self
            .log
            .read_at(&mut bytes, length.saturating_sub(TAIL))
            .unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// Gives the data that one user made to another.
    pub(super) fn give_data(&self, from: &ServerUser, to: &ServerUser) -> Result<(), PgError> {
        open_directory(CWD, self.data())
            .and_then(|data| beneath::give(data.as_fd(), from.uid, to.uid, to.gid))
            .map_err(|source| PgError::Io {
                doing: "giving the server's user",
                path: self.data(),
                source,
            })
    }

    /// Whether connections are accepted: the eighth line of `postmaster.pid` says so.
    pub(super) fn is_ready(&self, user: u32) -> bool {
        let text = open_directory(CWD, self.data())
            .and_then(|data| beneath::read_small(&data, "postmaster.pid", &[user]));
        text.is_ok_and(|text| {
            let status = text.lines().nth(7);
            status.is_some_and(|status| status.trim() == "ready")
        })
    }

    pub(super) fn remove(&self) -> Result<(), PgError> {
        remove(&self.path).map_err(|source| PgError::Io {
            doing: "removing the throwaway server's directory",
            path: self.path.clone(),
            source,
        })
    }
}

/// Removes a server's directory that lies where only we write.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let directory = match open_directory(CWD, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    for name in ITS {
        match open_directory(&directory, name) {
            Ok(below) => {
                beneath::empty(below.as_fd())?;
                std::fs::remove_dir(path.join(name))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for name in OURS {
        match std::fs::remove_file(path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // What a caller of ours put there.
    beneath::empty(directory.as_fd())?;
    std::fs::remove_dir(path)
}
