//! Creates files, directories and links below one directory, safely against hostile names and concurrent changes.
//!
//! Every part of a path is opened from the directory before it, and never through a link (`openat(2)`,
//! `O_NOFOLLOW`). That is what `openat2(2)` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS` does for a whole path, on
//! every kernel and under every seccomp filter. Mode and owner are set by descriptor: a name may be replaced meanwhile.

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::fs::{chownat, fchmod, fchown, fstat, mkdirat, open, openat, readlinkat, symlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// The mode until the final one is set: no access for others.
const PRIVATE: Mode = Mode::RWXU;

/// Permission bits and owner of something restored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights {
    pub(super) mode: u32,
    /// Only root can set it.
    pub(super) owner: Option<(u32, u32)>,
}

/// A directory that confines everything that is created in it.
pub(super) struct TargetDirectory {
    root: OwnedFd,
    /// The directory that was opened last, with its path: entries of one directory come together.
    last: Option<(String, OwnedFd)>,
}

impl TargetDirectory {
    /// Opens a directory, which is created when it is missing. A link of another user in its place is not followed.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let root = root(directory)?;
        Ok(Self { root, last: None })
    }

    /// Creates a directory and its parents; an existing one is kept.
    pub(super) fn directory(&mut self, name: &str) -> io::Result<()> {
        self.walk(name).map(|_| ())
    }

    /// Creates a file that must not exist; [`finish`] sets its rights.
    pub(super) fn file(&mut self, name: &str) -> io::Result<File> {
        let (parent, name) = self.parent(name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(
            parent,
            name,
            flags,
            Mode::RUSR | Mode::WUSR,
        )?))
    }

    /// Creates a symbolic link, which is never followed here.
    pub(super) fn link(
        &mut self,
        name: &str,
        target: &str,
        owner: Option<(u32, u32)>,
    ) -> io::Result<()> {
        let (parent, name) = self.parent(name)?;
        symlinkat(target, parent, name)?;
        let Some((user, group)) = owner else {
            return Ok(());
        };
        let made = openat(
            parent,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let found = fstat(&made)?;
        let ours = found.st_uid == rustix::process::geteuid().as_raw();
        if FileType::from_raw_mode(found.st_mode) != FileType::Symlink
            || !ours
            || found.st_nlink != 1
        {
            return Err(io::Error::other("another process replaced it meanwhile"));
        }
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        Ok(chownat(
            &made,
            c"",
            Some(user),
            Some(group),
            AtFlags::EMPTY_PATH,
        )?)
    }

    /// Sets the rights of a directory.
    pub(super) fn settle(&mut self, name: &str, rights: Rights) -> io::Result<()> {
        finish(self.walk(name)?, rights)
    }

    fn parent<'a>(&mut self, name: &'a str) -> io::Result<(&OwnedFd, &'a str)> {
        let (parents, name) = name
            .rsplit_once('/')
            .map_or((None, name), |(parents, name)| (Some(parents), name));
        plain(name)?;
        let parent = match parents {
            Some(parents) => self.walk(parents)?,
            None => &self.root,
        };
        Ok((parent, name))
    }

    /// Opens the directory of this path, which is created when it is missing.
    fn walk(&mut self, path: &str) -> io::Result<&OwnedFd> {
        let kept = self.last.take().filter(|(last, _)| last == path);
        let opened = match kept {
            Some((_, opened)) => opened,
            None => open_each_part(&self.root, path)?,
        };
        Ok(&self.last.insert((path.to_owned(), opened)).1)
    }
}

/// Whether [`TargetDirectory::open`] would open or make it; makes nothing.
pub(super) fn check(directory: &Path) -> io::Result<()> {
    if directory.symlink_metadata().is_ok() {
        return root(directory).map(|_| ());
    }
    let mut above = directory.ancestors().skip(1);
    let above = above.find(|it| it.symlink_metadata().is_ok());
    match above {
        Some(above) if !above.is_dir() => Err(io::Error::other(format!(
            "{} is not a directory",
            above.display()
        ))),
        _ => Ok(()),
    }
}

/// Opens the directory that a user named. It may be a link, but not one of another user, who could change it meanwhile.
fn root(directory: &Path) -> io::Result<OwnedFd> {
    let mut path = directory.to_owned();
    for _ in 0..8 {
        match open(&path, DIRECTORY, Mode::empty()) {
            Err(Errno::LOOP | Errno::NOTDIR) => {}
            opened => return Ok(opened?),
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = open(&path, flags, Mode::empty())?;
        let owner = fstat(&link)?.st_uid;
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other(format!(
                "it is a link that belongs to another user (uid {owner}); name the directory itself"
            )));
        }
        let target = readlinkat(&link, c"", Vec::new())?;
        let above = path.parent().unwrap_or(Path::new(""));
        path = above.join(OsStr::from_bytes(target.as_bytes()));
    }
    Err(Errno::LOOP.into())
}

fn open_each_part(root: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let mut at = root.try_clone()?;
    for part in path.split('/') {
        plain(part)?;
        match mkdirat(&at, part, PRIVATE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        at = openat(&at, part, DIRECTORY, Mode::empty()).map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => io::Error::other(format!(
                "{part:?} in the path is a link or not a directory; links are not followed"
            )),
            other => other.into(),
        })?;
    }
    Ok(at)
}

/// Checks that a part of a path is an ordinary name.
fn plain(part: &str) -> io::Result<()> {
    let mut parts = Path::new(part).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) if name == part && !part.contains('\0') => Ok(()),
        _ => Err(io::Error::other(format!("{part:?} is not a file name"))),
    }
}

/// Sets the owner and then the mode of what was just created: only the bits for read, write and execute.
pub(super) fn finish(made: impl AsFd, rights: Rights) -> io::Result<()> {
    if let Some((user, group)) = rights.owner {
        fchown(&made, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    Ok(fchmod(&made, Mode::from_raw_mode(rights.mode & 0o777))?)
}
