//! A directory as a store.
//!
//! The directory is opened once. Everything in it is opened below it, step by step and never through a link (`openat(2)`,
//! `O_NOFOLLOW`), so that nobody who may write there can lead a copy out of it.

use crate::error::{ErrorKind, StoreError};
use crate::key::{Key, UNFINISHED, is_unfinished, wrong};
use crate::store::{Filesystem, Object, Store, Stored, Unfinished};
use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::fs::{fstatvfs, fsync, linkat, mkdirat, open, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use uuid::Uuid;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
const BELOW: OFlags = DIRECTORY.union(OFlags::NOFOLLOW);
/// How much is copied at once.
const BUFFER: usize = 256 << 10;

/// A directory, of which every regular file is an object. Objects are readable by their owner only.
#[derive(Debug)]
pub struct LocalDirectory {
    path: PathBuf,
    root: OwnedFd,
}

impl LocalDirectory {
    /// Opens a directory, which must exist.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // The current directory is called so in paths of one part.
        let named = if path == Path::new("") {
            Path::new(".")
        } else {
            path
        };
        let root = open(named, DIRECTORY, Mode::empty()).map_err(|error| {
            StoreError::new("opening", path.display().to_string(), error.into())
        })?;
        Ok(Self {
            path: path.to_owned(),
            root,
        })
    }

    /// The path of an object, whether it is there or not.
    pub fn path(&self, key: &Key) -> PathBuf {
        self.path.join(key.as_str())
    }

    fn failed(&self, doing: &'static str, key: &Key) -> impl Fn(Errno) -> StoreError {
        let place = self.path(key).display().to_string();
        move |errno| StoreError::new(doing, place.clone(), errno.into())
    }

    /// Opens the directory of these parts, made where it is missing if `make` says so.
    fn directory(&self, parts: &str, make: bool) -> Result<OwnedFd, Errno> {
        let mut at = rustix::io::fcntl_dupfd_cloexec(&self.root, 0)?;
        for part in parts.split('/').filter(|part| !part.is_empty()) {
            if make {
                match mkdirat(&at, part, Mode::RWXU) {
                    // A new name is durable once its directory is.
                    Ok(()) => fsync(&at)?,
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
            }
            at = openat(&at, part, BELOW, Mode::empty())?;
        }
        Ok(at)
    }

    /// Writes an unfinished object beside its key, and gives it the name as `name` does.
    fn store<T>(
        &self,
        key: &Key,
        content: &mut dyn Read,
        name: impl Fn(&OwnedFd, &str, &str) -> Result<T, Errno>,
    ) -> Result<(Object, T), StoreError> {
        let failed = self.failed("writing", key);
        let (parts, last) = key.split();
        let parent = self.directory(parts, true).map_err(&failed)?;
        let fresh = format!("{last}.{}{UNFINISHED}", Uuid::new_v4().simple());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(openat(&parent, &fresh, flags, mode).map_err(&failed)?);
        let stored = self.copy(key, content, file).and_then(|bytes| {
            let named = name(&parent, &fresh, last).map_err(self.failed("naming", key))?;
            let key = key.clone();
            Ok((Object::plain(key, bytes), named))
        });
        let stored = stored.inspect_err(|_| {
            // The error says more than that this fails, too; nothing counts what is left.
            let _ = unlinkat(&parent, &fresh, AtFlags::empty());
        })?;
        fsync(&parent)
            .map_err(self.failed("making the new name durable of", key))
            .map_err(StoreError::uncertain)?;
        Ok(stored)
    }

    fn copy(&self, key: &Key, content: &mut dyn Read, mut file: File) -> Result<u64, StoreError> {
        let place = || self.path(key).display().to_string();
        let mut buffer = vec![0; BUFFER];
        let mut bytes = 0;
        loop {
            let read = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let error = StoreError::new("reading what is to be stored as", place(), error);
                    return Err(error.of_kind(ErrorKind::Content));
                }
            };
            file.write_all(&buffer[..read])
                .map_err(|error| StoreError::new("writing", place(), error))?;
            bytes += read as u64;
        }
        file.sync_all()
            .map_err(|error| StoreError::new("writing", place(), error))?;
        Ok(bytes)
    }
}

impl Store for LocalDirectory {
    fn put(&self, key: &Key, content: &mut dyn Read) -> Result<Stored, StoreError> {
        let (object, ()) = self.store(key, content, |parent, fresh, last| {
            match renameat(parent, fresh, parent, last) {
                // An empty directory of that name gives way.
                Err(Errno::ISDIR) if unlinkat(parent, last, AtFlags::REMOVEDIR).is_ok() => {
                    renameat(parent, fresh, parent, last)
                }
                done => done,
            }
        })?;
        Ok(Stored {
            object,
            // A disk says nothing of what it holds.
            is_confirmed: false,
        })
    }

    fn put_if_absent(
        &self,
        key: &Key,
        content: &mut dyn Read,
    ) -> Result<Option<Object>, StoreError> {
        let (object, is_new) = self.store(key, content, |parent, fresh, last| {
            let linked = linkat(parent, fresh, parent, last, AtFlags::empty());
            let is_new = match linked {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(error),
            };
            // The object has its own name now, or will never have one; nothing counts this one.
            let _ = unlinkat(parent, fresh, AtFlags::empty());
            Ok(is_new)
        })?;
        Ok(is_new.then_some(object))
    }

    fn adopt(&self, key: &Key, file: &Path) -> Result<Object, StoreError> {
        let failed = self.failed("naming", key);
        let (parts, last) = key.split();
        let parent = self.directory(parts, true).map_err(&failed)?;
        match renameat(CWD, file, &parent, last) {
            Ok(()) => {}
            Err(Errno::XDEV) => {
                let content = File::open(file).map_err(|source| {
                    StoreError::new("reading", file.display().to_string(), source)
                });
                let stored = self.put(key, &mut content?)?;
                let _ = std::fs::remove_file(file);
                return Ok(stored.object);
            }
            Err(error) => return Err(failed(error)),
        }
        let stat = statat(&parent, last, AtFlags::SYMLINK_NOFOLLOW);
        let durable = fsync(&parent).map_err(|error| {
            let place = self.path.join(parts).display().to_string();
            StoreError::new("making the new name durable in", place, error.into())
        });
        match (durable, stat) {
            (Ok(()), Ok(stat)) => Ok(object(key.clone(), &stat)),
            (Ok(()), Err(error)) => Err(failed(error).uncertain()),
            // No object may have the name that may be lost, even where it could last.
            (Err(error), _) => Err(match renameat(&parent, last, CWD, file) {
                Ok(()) => error,
                Err(_) => error.uncertain(),
            }),
        }
    }

    fn read_range(
        &self,
        key: &Key,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        let failed = self.failed("reading", key);
        let (parts, last) = key.split();
        let parent = self.directory(parts, false).map_err(&failed)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(&parent, last, flags, Mode::empty());
        let mut file = File::from(opened.map_err(&failed)?);
        let place = || self.path(key).display().to_string();
        let meta = file.metadata().and_then(|meta| {
            file.seek(SeekFrom::Start(offset))?;
            Ok(meta)
        });
        match meta {
            Ok(meta) if meta.is_file() => Ok(Box::new(file.take(length))),
            Ok(_) => Err(failed(Errno::NOENT)),
            Err(error) => Err(StoreError::new("reading", place(), error)),
        }
    }

    fn head(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let (parts, last) = key.split();
        let stat = self
            .directory(parts, false)
            .and_then(|parent| statat(&parent, last, AtFlags::SYMLINK_NOFOLLOW));
        match stat {
            Ok(stat) => Ok(is_regular(&stat).then(|| object(key.clone(), &stat))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(self.failed("looking for", key)(error)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let mut found = Vec::new();
        // Reading moves a descriptor's position: one of its own for each.
        openat(&self.root, ".", BELOW, Mode::empty())
            .and_then(|root| collect(&root, "", prefix, &mut found))
            .map_err(|error| {
                StoreError::new("listing", self.path.display().to_string(), error.into())
            })?;
        found.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let (parts, last) = key.split();
        let deleted = self
            .directory(parts, false)
            .and_then(|parent| unlinkat(&parent, last, AtFlags::empty()));
        match deleted {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(error) => Err(self.failed("removing", key)(error)),
        }
    }

    fn remove_unfinished(&self, before: Timestamp) -> Result<Vec<Unfinished>, StoreError> {
        let mut removed = Vec::new();
        openat(&self.root, ".", BELOW, Mode::empty())
            .and_then(|root| sweep(&root, "", before, &mut removed))
            .map_err(|error| {
                let place = self.path.display().to_string();
                StoreError::new("removing unfinished files in", place, error.into())
            })?;
        Ok(removed)
    }

    fn filesystem(&self) -> Result<Option<Filesystem>, StoreError> {
        let stat = fstatvfs(&self.root).map_err(|error| {
            let place = self.path.display().to_string();
            StoreError::new("asking for the filesystem of", place, error.into())
        })?;
        let free = (stat.f_bavail, stat.f_frsize);
        Ok(Some(Filesystem::new(stat.f_fsid, stat.f_blocks, free)))
    }

    fn check(&self) -> Result<(), StoreError> {
        Dir::read_from(&self.root).map(drop).map_err(|error| {
            StoreError::new("listing", self.path.display().to_string(), error.into())
        })
    }
}

/// Opens a directory that was found in another one; `None` when it is gone, or closed and not ours: `lost+found`, or one
/// that somebody put in the way. Nothing in it is an object.
fn open_below(directory: &OwnedFd, name: &str, found: &Stat) -> Result<Option<OwnedFd>, Errno> {
    match openat(directory, name, BELOW, Mode::empty()) {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
        Err(Errno::ACCESS) if found.st_uid != geteuid().as_raw() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes the unfinished objects of a directory and of those below it.
fn sweep(
    directory: &OwnedFd,
    above: &str,
    before: Timestamp,
    removed: &mut Vec<Unfinished>,
) -> Result<(), Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        let path = format!("{above}{name}");
        match FileType::from_raw_mode(stat.st_mode) {
            // No key is deeper, whatever others made here.
            FileType::Directory if Key::parse(&path).is_ok() => {
                if let Some(opened) = open_below(directory, name, &stat)? {
                    sweep(&opened, &format!("{path}/"), before, removed)?;
                }
            }
            FileType::RegularFile if is_unfinished(name) => {
                let began = Timestamp::from_second(stat.st_mtime).unwrap_or(Timestamp::MIN);
                if began < before {
                    unlinkat(directory, name, AtFlags::empty())?;
                    removed.push(Unfinished {
                        name: path,
                        began,
                        bytes: u64::try_from(stat.st_size).ok(),
                    });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Adds the objects of a directory and of those below it.
fn collect(
    directory: &OwnedFd,
    above: &str,
    prefix: &str,
    found: &mut Vec<Object>,
) -> Result<(), Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if wrong(name).is_some() {
            continue;
        }
        let Ok(key) = Key::parse(&format!("{above}{name}")) else {
            continue;
        };
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if key.as_str().starts_with(prefix) => {
                found.push(object(key, &stat));
            }
            FileType::Directory => {
                let below = format!("{key}/");
                if (below.starts_with(prefix) || prefix.starts_with(&below))
                    && let Some(opened) = open_below(directory, name, &stat)?
                {
                    collect(&opened, &below, prefix, found)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn object(key: Key, stat: &Stat) -> Object {
    Object::plain(key, u64::try_from(stat.st_size).unwrap_or_default())
}
