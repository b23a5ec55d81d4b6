//! Copies what `initdb` made, sparse, with a digest of all of it.

use super::nofollow::{is_directory, look_at, names_in, open_directory};
use super::user::ServerUser;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::fs::{FileType, Mode, OFlags, fchown, fstat, ftruncate, mkdirat, openat};
use rustix::process::{Gid, Uid};
use sha2::{Digest, Sha256};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::thread::ScopedJoinHandle;

/// `initdb` makes no larger file than a WAL segment, 4 MiB.
const LARGEST: i64 = 64 << 20;
/// What is written at once. A block of zeros is left out: most of the WAL segment is.
const BLOCK: usize = 64 << 10;

/// Copies a tree of directories and regular files; `user` gets what is made. Returns the digest of names and contents.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd, user: Option<ServerUser>) -> io::Result<String> {
    let digest = copy_tree(from.as_fd(), to.as_fd(), user, 0)?;
    Ok(BASE64_STANDARD.encode(digest))
}

/// Where the directories of the databases are, which hold nearly all files: these are copied side by side.
const OF_DATABASES: &CStr = c"base";
/// `initdb` makes three.
const MOST_DATABASES: usize = 8;

fn copy_tree(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    user: Option<ServerUser>,
    depth: u8,
) -> io::Result<[u8; 32]> {
    let mut copy = Copy {
        user,
        digest: Sha256::new(),
        content: Vec::new(),
    };
    copy.directory(from, to, depth)?;
    Ok(copy.digest.finalize().into())
}

struct Copy {
    user: Option<ServerUser>,
    digest: Sha256,
    content: Vec<u8>,
}

impl Copy {
    /// Copies each directory in a directory in a thread of its own.
    fn side_by_side(&mut self, from: &OwnedFd, to: &OwnedFd, depth: u8) -> io::Result<()> {
        let mut names = names_in(from.as_fd())?;
        names.sort_unstable();
        if names.len() > MOST_DATABASES {
            return Err(io::Error::other("it has more databases than initdb makes"));
        }
        let user = self.user;
        let one = |name: &CStr| {
            let below = open_directory(from, name)?;
            mkdirat(to, name, Mode::RWXU)?;
            let copy = open_directory(to, name)?;
            let digest = copy_tree(below.as_fd(), copy.as_fd(), user, depth + 1)?;
            give(&copy, user)?;
            Ok::<_, io::Error>(digest)
        };
        let digests = std::thread::scope(|scope| {
            let threads: Vec<_> = (names.iter())
                .map(|name| scope.spawn(|| one(name)))
                .collect();
            let join = |thread: ScopedJoinHandle<'_, io::Result<[u8; 32]>>| {
                thread.join().unwrap_or_else(|panic| resume_unwind(panic))
            };
            threads.into_iter().map(join).collect::<Vec<_>>()
        });
        for (name, digest) in names.iter().zip(digests) {
            self.digest.update(name.as_bytes_with_nul());
            self.digest.update(digest?);
        }
        self.digest.update(b"\0");
        Ok(())
    }

    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u8) -> io::Result<()> {
        if depth > 8 {
            return Err(io::Error::other("it is too deep"));
        }
        let mut names = names_in(from)?;
        names.sort_unstable();
        for name in names {
            let is_below = is_directory(&look_at(from, name.as_c_str())?);
            self.digest.update(name.as_bytes_with_nul());
            self.digest.update([u8::from(is_below)]);
            if is_below {
                mkdirat(to, name.as_c_str(), Mode::RWXU)?;
                let below = open_directory(from, name.as_c_str())?;
                let copy = open_directory(to, name.as_c_str())?;
                if depth == 0 && name.as_c_str() == OF_DATABASES {
                    self.side_by_side(&below, &copy, depth + 1)?;
                } else {
                    self.directory(below.as_fd(), copy.as_fd(), depth + 1)?;
                }
                give(&copy, self.user)?;
            } else {
                self.file(from, to, &name)?;
            }
        }
        self.digest.update(b"\0");
        Ok(())
    }

    fn file(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = openat(from, name, flags, Mode::empty())?;
        let stat = fstat(&source)?;
        let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_regular || stat.st_size > LARGEST {
            return Err(io::Error::other("a file in it is none of initdb's"));
        }
        self.content.clear();
        File::from(source)
            .take(LARGEST as u64)
            .read_to_end(&mut self.content)?;
        self.digest
            .update((self.content.len() as u64).to_le_bytes());
        self.digest.update(&self.content);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let copy = openat(to, name, flags | OFlags::NOFOLLOW, Mode::RUSR | Mode::WUSR)?;
        let copy = File::from(copy);
        ftruncate(&copy, self.content.len() as u64)?;
        for (number, block) in self.content.chunks(BLOCK).enumerate() {
            if block.iter().any(|byte| *byte != 0) {
                copy.write_all_at(block, (number * BLOCK) as u64)?;
            }
        }
        give(&copy, self.user)
    }
}

/// Makes a user the owner, where there is one.
pub(super) fn give(to: impl AsFd, user: Option<ServerUser>) -> io::Result<()> {
    let Some(user) = user else {
        return Ok(());
    };
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    Ok(fchown(to, Some(uid), Some(gid))?)
}
