//! The directory of a throwaway server. The server writes only to two directories below it, so that it cannot change
//! any name that hubvault opens or removes.

use super::nofollow::{self, open_directory, random_name};
use super::sweep::{PREFIX, owner};
use super::user::ServerUser;
use crate::error::PgError;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, chownat, fchmod, fchown, fstat, mkdirat, openat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The directories that the server owns. The socket's name is short, as its path is limited to 107 bytes.
const DATA: &str = "data";
const SOCKET: &str = "s";

/// A server's directory.
pub(super) struct ServerDirectory {
    path: PathBuf,
    parent: OwnedFd,
    home: OwnedFd,
    log: File,
}

impl ServerDirectory {
    /// Creates it: with an unpredictable name in a shared directory, with a short name in a private one. Everything that
    /// hubvault writes is there before the server's directories change their owner.
    pub(super) fn make(
        parent: &Path,
        is_private: bool,
        makes: Option<ServerUser>,
        runs: Option<ServerUser>,
    ) -> Result<Self, PgError> {
        let name = if is_private {
            random_name(4)
        } else {
            random_name(8).map(|name| format!("{PREFIX}{name}"))
        };
        let make = |name: String| {
            let path = parent.join(&name);
            let parent = open_parent(parent, is_private)?;
            mkdirat(&parent, &name, Mode::RWXU)?;
            let home = open_directory(&parent, &name)?;
            if fstat(&home)?.st_uid != geteuid().as_raw() {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            // What is left after an error is swept once this process has ended.
            let log = fill(&home)?;
            if let (Some(makes), Some(runs)) = (makes, runs) {
                give(&home, makes, runs)?;
                let through = [Some(&home), is_private.then_some(&parent)];
                for directory in through.into_iter().flatten() {
                    fchown(directory, None, Some(Gid::from_raw(runs.gid)))?;
                    fchmod(directory, Mode::RWXU | Mode::XGRP)?;
                }
            }
            Ok(Self {
                path,
                parent,
                home,
                log,
            })
        };
        name.and_then(make).map_err(|source| PgError::Io {
            doing: "making the throwaway server's directory in",
            path: parent.to_owned(),
            source,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join(DATA)
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// The log for the server to write to, as a descriptor: it cannot open the file.
    pub(super) fn log(&self) -> io::Result<File> {
        self.log.try_clone()
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

    /// The directory of its data.
    pub(super) fn open_data(&self) -> io::Result<OwnedFd> {
        open_directory(&self.home, DATA)
    }

    /// Gives the data that one user made to another.
    pub(super) fn give_data(&self, from: ServerUser, to: ServerUser) -> Result<(), PgError> {
        self.open_data()
            .and_then(|data| nofollow::give(data.as_fd(), from.uid, to.uid, to.gid))
            .map_err(|source| PgError::Io {
                doing: "giving the server's user",
                path: self.data(),
                source,
            })
    }

    /// Whether connections are accepted: the eighth line of `postmaster.pid` says so.
    pub(super) fn is_ready(&self, user: u32) -> bool {
        let text = self
            .open_data()
            .and_then(|data| nofollow::read_small(&data, "postmaster.pid", &[user]));
        text.is_ok_and(|text| {
            let status = text.lines().nth(7);
            status.is_some_and(|status| status.trim() == "ready")
        })
    }

    /// Removes it, once.
    pub(super) fn remove(&self) -> Result<(), PgError> {
        let name = self.path.file_name().unwrap_or_default();
        let remove = || {
            nofollow::empty(self.home.as_fd())?;
            match unlinkat(&self.parent, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOENT) => Ok(()),
                removed => Ok(removed?),
            }
        };
        remove().map_err(|source: io::Error| PgError::Io {
            doing: "removing the throwaway server's directory",
            path: self.path.clone(),
            source,
        })
    }
}

/// Checks that a private directory is a directory of our own.
fn open_parent(parent: &Path, is_private: bool) -> io::Result<OwnedFd> {
    if !is_private {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        return Ok(openat(CWD, parent, flags, Mode::empty())?);
    }
    let directory = open_directory(CWD, parent)?;
    let stat = fstat(&directory)?;
    if stat.st_uid != geteuid().as_raw() || stat.st_mode & 0o067 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is not private",
        ));
    }
    Ok(directory)
}

/// Creates what the server needs in it, and returns its log.
fn fill(home: &OwnedFd) -> io::Result<File> {
    let who = owner(std::process::id()).unwrap_or_default();
    nofollow::create(home, "owner")?.write_all(who.as_bytes())?;
    let log = nofollow::create(home, "log")?;
    for name in [DATA, SOCKET] {
        mkdirat(home, name, Mode::RWXU)?;
    }
    Ok(log)
}

/// Makes the server's users the owners of their directories.
fn give(home: &OwnedFd, makes: ServerUser, runs: ServerUser) -> io::Result<()> {
    for (name, user) in [(DATA, makes), (SOCKET, runs)] {
        let (user, group) = (Uid::from_raw(user.uid), Gid::from_raw(runs.gid));
        chownat(
            home,
            name,
            Some(user),
            Some(group),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    Ok(())
}
