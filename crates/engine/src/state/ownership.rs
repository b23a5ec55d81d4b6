//! Who can write a file, or put another one in its place. What hubvault believes (its state, its configuration) must be
//! in the hands of its own user and of root alone.

use crate::command::shell_word;
pub use hubvault_archive::open_regular;
use rustix::fs::{StatVfsMountFlags, lgetxattr, statvfs};
use rustix::process::geteuid;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Of a file or directory: its group may write, all others may.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// Of a directory: nobody but an entry's owner and its own may remove and rename the entry.
const STICKY: u32 = 0o1000;
/// As the kernel has it (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
const ROOT: u32 = 0;

/// Another user can write or replace something that hubvault would believe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {fix}")]
pub struct Untrusted {
    what: String,
    fix: String,
}

impl Untrusted {
    pub(crate) fn new(what: String, fix: String) -> Self {
        Self { what, fix }
    }

    /// The same with another cure.
    pub(super) fn with_fix(self, fix: String) -> Self {
        Self { fix, ..self }
    }
}

impl From<Untrusted> for io::Error {
    fn from(untrusted: Untrusted) -> Self {
        Self::other(untrusted)
    }
}

/// Whether what cannot be written at all, as its file system is mounted read-only, may be of any owner: a container
/// gets its configuration so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOnlyMount {
    /// It may.
    Trusted,
    /// It must be hubvault's user's or root's all the same: whoever sits at the machine may mount a disk of theirs.
    Untrusted,
}

/// Reads a text that only hubvault's user and root can have written: the file, its directories, and every link on the
/// way. Never waits for a pipe; a larger file than `most_bytes` is an error.
pub fn read_trusted(path: &Path, most_bytes: u64, mount: ReadOnlyMount) -> io::Result<String> {
    check_path(path, mount)?;
    let file = open_regular(path)?;
    check_file(path, &file.metadata()?, mount)?;
    let mut bytes = Vec::new();
    file.take(most_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most_bytes {
        return Err(io::Error::other(format!(
            "it has more than {most_bytes} bytes"
        )));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// The same without reading it.
pub fn check_trusted(path: &Path, mount: ReadOnlyMount) -> io::Result<()> {
    check_path(path, mount)?;
    check_file(path, &fs::metadata(path)?, mount)?;
    Ok(())
}

/// What a path leads to, if nobody but hubvault's user and root can make it lead elsewhere.
pub(crate) fn trusted_way(path: &Path) -> io::Result<PathBuf> {
    let mount = ReadOnlyMount::Trusted;
    let real = check_path(path, mount).map_err(|error| {
        let untrusted = error.get_ref().and_then(|it| it.downcast_ref());
        match untrusted {
            Some(Untrusted { what, .. }) => io::Error::other(what.clone()),
            None => error,
        }
    })?;
    let above = real.parent().unwrap_or(&real);
    let owner = fs::symlink_metadata(&real)?.uid();
    let sticky = fs::metadata(above)?.mode() & STICKY != 0;
    if sticky && !is_own(owner) && !is_unwritable(above, mount) {
        let (who, shown) = (user(owner), real.display());
        return Err(io::Error::other(format!("{who} may replace {shown}")));
    }
    Ok(real)
}

/// Every directory and every link on the way to a file, whose resolved path is returned.
fn check_path(path: &Path, mount: ReadOnlyMount) -> io::Result<PathBuf> {
    let mut done = PathBuf::from("/");
    let mut rest = components(&std::path::absolute(path)?);
    let mut links = 0;
    check_directory(&done, path, mount)?;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&name);
        let meta = fs::symlink_metadata(&next)?;
        if meta.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(rustix::io::Errno::LOOP.into());
            }
            check_link(&next, &meta, mount)?;
            let target = fs::read_link(&next)?;
            if target.is_absolute() {
                done = PathBuf::from("/");
            }
            for name in components(&target).into_iter().rev() {
                rest.push_front(name);
            }
            continue;
        }
        if meta.is_dir() {
            check_directory(&next, path, mount)?;
        }
        done = next;
    }
    Ok(done)
}

fn components(path: &Path) -> VecDeque<OsString> {
    let named = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    });
    named.collect()
}

fn check_link(path: &Path, meta: &Metadata, mount: ReadOnlyMount) -> Result<(), Untrusted> {
    if is_own(meta.uid()) || is_unwritable(path, mount) {
        return Ok(());
    }
    let (shown, word) = (path.display(), shell_word(&path.to_string_lossy()));
    Err(Untrusted::new(
        format!("the symbolic link {shown} belongs to {}", user(meta.uid())),
        format!("remove it (rm {word}) or name the file itself"),
    ))
}

fn check_directory(directory: &Path, of: &Path, mount: ReadOnlyMount) -> io::Result<()> {
    let meta = fs::metadata(directory)?;
    let (shown, place) = (directory.display(), of.display());
    let untrusted = if !is_own(meta.uid()) {
        let (file, us) = (shell_word(&of.to_string_lossy()), geteuid().as_raw());
        Untrusted::new(
            format!(
                "{} owns {shown} and may put another file in the place of {place}",
                user(meta.uid())
            ),
            format!(
                "move it to a directory of root: install -D -o {us} -m 600 {file} -t /etc/hubvault"
            ),
        )
    } else if meta.mode() & STICKY != 0 {
        return Ok(());
    } else if let Some(who) = other_writers(directory, &meta) {
        let (mode, word) = (
            meta.mode() & 0o7777,
            shell_word(&directory.to_string_lossy()),
        );
        Untrusted::new(
            format!(
                "{who} may put another file in the place of {place} ({shown} has mode {mode:04o})"
            ),
            format!("run chmod go-w {word}"),
        )
    } else {
        return Ok(());
    };
    if is_unwritable(directory, mount) {
        return Ok(());
    }
    Err(untrusted.into())
}

fn check_file(path: &Path, meta: &Metadata, mount: ReadOnlyMount) -> Result<(), Untrusted> {
    match untrusted_file(path, meta, None) {
        Some(untrusted) if !is_unwritable(path, mount) => Err(untrusted),
        _ => Ok(()),
    }
}

/// What makes a file or directory untrusted by itself: its owner, or who else may write it. `us` is one more user that is
/// hubvault's.
pub(crate) fn untrusted_file(path: &Path, meta: &Metadata, us: Option<u32>) -> Option<Untrusted> {
    let (shown, word) = (path.display(), shell_word(&path.to_string_lossy()));
    if !is_own(meta.uid()) && us != Some(meta.uid()) {
        let (who, us) = (user(meta.uid()), geteuid().as_raw());
        return Some(Untrusted::new(
            format!(
                "{shown} belongs to {who}, and hubvault runs as {}",
                user(us)
            ),
            format!(
                "run hubvault as that user, or, if what is in it is yours, chown -R {us} {word}"
            ),
        ));
    }
    let who = other_writers(path, meta)?;
    let mode = meta.mode() & 0o7777;
    Some(Untrusted::new(
        format!("{who} may write {shown} (mode {mode:04o})"),
        format!("look at what is in it, then run chmod go-w {word}"),
    ))
}

/// Whether it is the user's that hubvault runs as, or root's, who can do anything anyway.
pub(crate) fn is_own(uid: u32) -> bool {
    uid == ROOT || uid == geteuid().as_raw()
}

/// Who besides its owner may write something; `None` where nobody may.
pub(crate) fn other_writers(path: &Path, meta: &Metadata) -> Option<String> {
    if meta.mode() & OTHERS_WRITE != 0 {
        return Some("everybody".to_owned());
    }
    if meta.mode() & GROUP_WRITES == 0 {
        return None;
    }
    // With an access control list the group's bits say what the most is that anybody named there may do (acl(5)).
    if lgetxattr(path, "system.posix_acl_access", &mut [0_u8; 4096]).is_ok() {
        return Some("whoever its access control list names".to_owned());
    }
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (users, groups) = (read("/etc/passwd"), read("/etc/group"));
    let own = [meta.uid(), ROOT, geteuid().as_raw()];
    let ours = rustix::process::getgroups().unwrap_or_default();
    let ours = ours.iter().map(|gid| gid.as_raw());
    let is_ours = ours
        .chain([rustix::process::getegid().as_raw()])
        .any(|gid| gid == meta.gid());
    let is_private = is_private(meta.gid(), &own, is_ours, &users, &groups);
    (!is_private).then(|| format!("the group {}", meta.gid()))
}

/// Whether a group has no members but `own`. A container's group (`fsGroup`, an arbitrary user id in group 0) is in no
/// file; it counts where the process is in it.
fn is_private(gid: u32, own: &[u32], is_ours: bool, users: &str, groups: &str) -> bool {
    if gid == ROOT {
        return true;
    }
    let users: Vec<(&str, u32, u32)> = users.lines().filter_map(account).collect();
    let is_own = |name: &str| {
        let mut known = users.iter().filter(|(known, ..)| *known == name);
        known.any(|(_, uid, _)| own.contains(uid))
    };
    let mut primary = users.iter().filter(|(.., group)| *group == gid);
    if primary.any(|(_, uid, _)| !own.contains(uid)) {
        return false;
    }
    let named = groups.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(gid)).then(|| fields.next().unwrap_or_default())
    });
    match named {
        Some(members) => members
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .all(is_own),
        None => is_ours,
    }
}

/// The name, user id and group id of a line of `/etc/passwd`.
fn account(line: &str) -> Option<(&str, u32, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    Some((
        name,
        fields.nth(1)?.parse().ok()?,
        fields.next()?.parse().ok()?,
    ))
}

/// A user as people call them.
fn user(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut known = users.lines().filter_map(account);
    match known.find(|(_, known, _)| *known == uid) {
        Some((name, ..)) => format!("user {name} (uid {uid})"),
        None => format!("the user with uid {uid}"),
    }
}

pub(crate) fn is_unwritable(path: &Path, mount: ReadOnlyMount) -> bool {
    mount == ReadOnlyMount::Trusted
        && statvfs(path).is_ok_and(|of| of.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const USERS: &str =
        "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/:/bin/sh\nbob:x:1001:100::/:/bin/sh\n";
    const GROUPS: &str =
        "root:x:0:\nada:x:1000:\nusers:x:100:\nstaff:x:50:ada,bob\nadas:x:60:ada\n";

    #[test]
    fn a_group_of_the_owner_alone_is_no_other_user() {
        let private = |gid, ours| is_private(gid, &[1000, 0], ours, USERS, GROUPS);
        assert!(private(1000, false) && private(60, false) && private(0, false));
        assert!(!private(100, true), "bob's primary group");
        assert!(!private(50, true), "bob is a member");
        assert!(private(5000, true) && !private(5000, false));
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn every_directory_and_link_on_the_way_counts() {
        let directory = tempfile::tempdir().unwrap();
        let (open, closed) = (
            directory.path().join("open"),
            directory.path().join("closed"),
        );
        fs::create_dir(&open).unwrap();
        fs::create_dir(&closed).unwrap();
        let file = closed.join("file");
        fs::write(&file, "text").unwrap();
        set(&file, 0o644);
        let read = |path: &Path| read_trusted(path, 100, ReadOnlyMount::Untrusted);
        assert_eq!(read(&file).unwrap(), "text");
        // As Kubernetes mounts it, and through a directory that others may write.
        symlink("closed/file", directory.path().join("link")).unwrap();
        assert_eq!(read(&directory.path().join("link")).unwrap(), "text");
        set(&open, 0o777);
        symlink("../closed/file", open.join("link")).unwrap();
        symlink("open/link", directory.path().join("twice")).unwrap();
        let refused = read(&directory.path().join("twice"))
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("everybody") && refused.contains("run chmod go-w "),
            "{refused}"
        );
        set(&open, 0o1777);
        assert_eq!(read(&directory.path().join("twice")).unwrap(), "text");
        set(&file, 0o646);
        assert!(read(&file).unwrap_err().to_string().contains("(mode 0646)"));
        set(&file, 0o644);
        assert!(read_trusted(&file, 3, ReadOnlyMount::Trusted).is_err());
        assert!(read(&closed).is_err());
    }
}
