//! Files of the state directory, and whatever else is made where other users may write: never through a link, never
//! waited for, never somebody else's, and replaced as a whole.

use super::mounts;
use super::ownership::{ReadOnlyMount, Untrusted, is_own, is_unwritable, untrusted_file};
use crate::command::shell_word;
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// What a file that is being written ends with.
const FRESH: &str = ".new";
/// What others than the owner may do.
const FOR_OTHERS: u32 = 0o077;
/// The random part of its name, in hexadecimal digits.
const RANDOM: usize = 32;
/// A file that nobody finished in this time is a leftover of a crashed process.
const ABANDONED: Duration = Duration::from_hours(1);

/// What a file is opened for. Those that write make it where it is not there, for its owner alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading what is there.
    Read,
    /// Reading and writing.
    ReadWrite,
    /// Writing at its end.
    Append,
}

/// Opens a file of a state directory that was checked. What is there and is a link, a pipe, somebody else's, writable by
/// others, or has a second name, is refused.
pub fn open(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    match access {
        Access::Read => options.read(true),
        Access::ReadWrite => options.read(true).write(true).create(true).truncate(false),
        Access::Append => options.append(true).create(true),
    };
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = options
        .mode(0o600)
        .custom_flags(flags.bits() as i32)
        .open(path);
    let file = match opened {
        Err(error) => return Err(said_of_kind(path).map_or(error, io::Error::from)),
        Ok(file) => file,
    };
    let meta = file.metadata()?;
    // The directory's own owner was looked at before; see `check_state`.
    let of_directory = path.parent().and_then(|parent| fs::metadata(parent).ok());
    let us = of_directory.map(|of| of.uid());
    let is_of_us = is_own(meta.uid()) || us == Some(meta.uid());
    match untrusted_entry(path, &meta, us) {
        None => Ok(file),
        Some(_)
            if is_of_us
                && meta.is_file()
                && meta.nlink() == 1
                && path.parent().is_some_and(mounts::is_accepted) =>
        {
            Ok(file)
        }
        Some(untrusted) => Err(untrusted.into()),
    }
}

/// Reads a file of a state directory; one that is larger than `most_bytes` is an error.
pub fn read(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path, Access::Read)?
        .take(most_bytes + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most_bytes {
        return Err(io::Error::other(format!(
            "it has more than {most_bytes} bytes"
        )));
    }
    Ok(bytes)
}

/// Whether what is written must outlast a crash of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It must.
    Durable,
    /// It is old in a moment.
    Passing,
}

/// Replaces a file as a whole, through a new one under a name that nobody can foresee. A link of that name is replaced,
/// not followed.
pub fn replace(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    write(path, bytes, (mode, durability), put)
}

/// Makes a file as a whole, durable. Where anything has its name, also since a moment, nothing is done
/// ([`ErrorKind::AlreadyExists`]).
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write(path, bytes, (mode, Durability::Durable), put_new)
}

fn write(
    path: &Path,
    bytes: &[u8],
    (mode, durability): (u32, Durability),
    put: impl Fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let fresh = fresh_name(path);
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&fresh)?;
        if mode & FOR_OTHERS != 0 {
            // The umask may have taken it away. Where modes cannot be set, that of the mount holds.
            let _ = file.set_permissions(Permissions::from_mode(mode));
        }
        file.write_all(bytes)?;
        if durability == Durability::Durable {
            file.sync_all()?;
        }
        put(&fresh, path)
    };
    write().inspect_err(|_| {
        // The error says more than that this fails, too; what stays is swept.
        let _ = fs::remove_file(&fresh);
    })
}

/// Gives a file its name. An empty directory that has the name gives way.
fn put(fresh: &Path, path: &Path) -> io::Result<()> {
    match fs::rename(fresh, path) {
        Err(error) if error.kind() == ErrorKind::IsADirectory => {
            fs::remove_dir(path).map_err(|_| said_of_kind(path).map_or(error, io::Error::from))?;
            fs::rename(fresh, path)
        }
        done => done,
    }
}

/// Gives a file a name that nothing has.
fn put_new(fresh: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, fresh, CWD, path, RenameFlags::NOREPLACE) {
        // Not every file system can, such as NFS.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(fresh, path)?;
            fs::remove_file(fresh)
        }
        done => Ok(done?),
    }
}

fn fresh_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}{FRESH}", Uuid::new_v4().simple()));
    PathBuf::from(name)
}

/// The file that one with this name was to replace; `None` where it is no name of [`replace`].
pub(crate) fn replaces(path: &Path) -> Option<PathBuf> {
    let name = path.to_str()?.strip_suffix(FRESH)?;
    let (of, random) = name.rsplit_once('.')?;
    let is_random = random.len() == RANDOM && random.bytes().all(|c| c.is_ascii_hexdigit());
    is_random.then(|| PathBuf::from(of))
}

/// Looks at a state directory and at what is in it; `Ok` where there is none, or where it may not be looked into. It must
/// be the user's that hubvault runs as, or root's, and nobody else may write there.
pub fn check_state(state: &Path) -> Result<(), Untrusted> {
    let Ok(meta) = fs::symlink_metadata(state) else {
        return Ok(());
    };
    if is_unwritable(state, ReadOnlyMount::Trusted) {
        return Ok(());
    }
    if let Some(directory) = state.parent()
        && let Ok(link) = fs::symlink_metadata(directory)
        && link.is_symlink()
        && !is_own(link.uid())
    {
        let (shown, word) = (
            directory.display(),
            shell_word(&directory.to_string_lossy()),
        );
        return Err(Untrusted::new(
            format!("{shown} is a symbolic link of another user"),
            format!("run rm {word}, and make the directory there"),
        ));
    }
    if !meta.is_dir() {
        return said_of_kind(state).map_or(Ok(()), Err);
    }
    let us = Some(meta.uid()).filter(|uid| !is_own(*uid) && is_owner_of_new(state, *uid));
    let is_of_us = is_own(meta.uid()) || us.is_some();
    if let Some(untrusted) = untrusted_file(state, &meta, us) {
        if !is_of_us || mounts::keeps_modes(state) {
            return Err(untrusted);
        }
        if !mounts::is_accepted(state) {
            return Err(untrusted.with_fix(mounts::fix(state)));
        }
        return Ok(());
    }
    // What cannot be read is said where it is needed.
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        if let Ok(meta) = entry.metadata()
            && let Some(untrusted) = untrusted_entry(&entry.path(), &meta, us)
        {
            return Err(untrusted);
        }
    }
    Ok(())
}

/// Removes what crashed processes began to write in a state directory and did not finish.
pub(crate) fn sweep_state(state: &Path) {
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        let path = entry.path();
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let age = modified.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        if replaces(&path).is_some()
            && age.is_ok_and(|age| age > ABANDONED)
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!("removing the leftover {}: {error}", path.display());
        }
    }
}

fn untrusted_entry(path: &Path, meta: &Metadata, us: Option<u32>) -> Option<Untrusted> {
    if !meta.is_file() && !meta.is_dir() {
        return said_of_kind(path);
    }
    if meta.is_file() && meta.nlink() > 1 {
        let (shown, word) = (path.display(), shell_word(&path.to_string_lossy()));
        return Some(Untrusted::new(
            format!("{shown} has a second name (a hard link), through which it may be changed"),
            format!("run cp -p {word} {word}.copy && mv {word}.copy {word}"),
        ));
    }
    untrusted_file(path, meta, us)
}

/// What is wrong with a thing that should be a file of ours by what kind of thing it is.
fn said_of_kind(path: &Path) -> Option<Untrusted> {
    let meta = fs::symlink_metadata(path).ok()?;
    let kind = if meta.is_symlink() {
        "a symbolic link"
    } else if meta.is_dir() {
        "a directory"
    } else if meta.is_file() {
        return None;
    } else {
        "a pipe, a socket or a device"
    };
    let (shown, word) = (path.display(), shell_word(&path.to_string_lossy()));
    let command = if meta.is_dir() { "rm -r" } else { "rm" };
    Some(Untrusted::new(
        format!("{shown} is {kind}, which hubvault never makes there"),
        format!("run {command} {word}"),
    ))
}

/// A server of files may give everything that we make to another user (`root_squash`); then that user is us.
fn is_owner_of_new(directory: &Path, uid: u32) -> bool {
    let probe = fresh_name(&directory.join("owner"));
    let made = fs::DirBuilder::new().mode(0o700).create(&probe);
    let owner = made.and_then(|()| fs::symlink_metadata(&probe));
    // Where it cannot be removed it was not ours.
    let removed = fs::remove_dir(&probe);
    removed.is_ok() && owner.is_ok_and(|meta| meta.uid() == uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    #[test]
    fn what_has_the_name_of_a_file_of_ours_is_neither_followed_nor_waited_for() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("run.lock");
        let victim = state.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let all = [Access::Read, Access::ReadWrite, Access::Append];
        let refused = |words: &str| {
            for access in all {
                let error = open(&path, access).unwrap_err().to_string();
                assert!(
                    error.contains(words) || error.contains("No such device"),
                    "{access:?}: {error}"
                );
            }
            let error = check_state(state.path()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        symlink(&victim, &path).unwrap();
        refused("is a symbolic link");
        fs::remove_file(&path).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        refused("is a pipe");
        fs::remove_file(&path).unwrap();
        fs::hard_link(&victim, &path).unwrap();
        refused("has a second name");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o602)).unwrap();
        refused("run chmod go-w");
        fs::remove_file(&path).unwrap();
        assert!(open(&path, Access::Append).is_ok());
        assert!(check_state(state.path()).is_ok());
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_file_is_replaced_whatever_has_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mark");
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let put = || replace(&path, b"new", 0o644, Durability::Durable);
        symlink(&victim, &path).unwrap();
        put().unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        put().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        fs::remove_file(&path).unwrap();
        fs::create_dir_all(path.join("full")).unwrap();
        let error = put().unwrap_err().to_string();
        assert!(
            error.contains("is a directory") && error.contains("run rm -r"),
            "{error}"
        );
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            2,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_new_file_takes_no_name_that_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubvault.toml");
        create(&path, b"first", 0o600).unwrap();
        let taken = || create(&path, b"second", 0o600).unwrap_err().kind();
        assert_eq!(taken(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        fs::remove_file(&path).unwrap();
        symlink("nowhere", &path).unwrap();
        assert_eq!(taken(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_that_is_being_written_is_recognised() {
        let fresh = fresh_name(Path::new("/b/mark"));
        assert_eq!(replaces(&fresh), Some(PathBuf::from("/b/mark")));
        assert_eq!(replaces(Path::new("/b/mark.new")), None);
    }
}
