//! A finished file gets the name of its object.

use super::failure::Failure;
use super::session::{FSYNC, HARDLINK, POSIX_RENAME, Session};
use super::tree::is_directory;
use crate::error::ErrorKind;
use crate::key::UNFINISHED;
use futures_util::future::join_all;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use uuid::Uuid;

/// How often a name is tried for that others take meanwhile.
const TRIES: u8 = 10;

/// What a file is called that nobody finished.
pub(super) fn unfinished(path: &str) -> String {
    format!("{path}.{}{UNFINISHED}", Uuid::new_v4().simple())
}

/// Renames, in place of what has that name. An empty directory gives way.
pub(super) async fn replace(session: &Session, from: &str, to: &str) -> Result<(), Failure> {
    if !session.has(POSIX_RENAME) {
        return exchange(session, from, to).await;
    }
    match session.posix_rename(from, to).await {
        Err(failure) if failure.code == Some(StatusCode::Failure) => {
            match session.ask(session.sftp.rmdir(to)).await {
                Ok(_) => session.posix_rename(from, to).await,
                Err(_) => Err(failure),
            }
        }
        done => done,
    }
}

/// The same on a server whose rename replaces nothing: what has the name is moved away first. For a moment there is no
/// object; where the connection breaks in it, the object before is left under an unfinished name.
async fn exchange(session: &Session, from: &str, to: &str) -> Result<(), Failure> {
    let rename = |from: String, to: String| session.ask(session.sftp.rename(from, to));
    let mut tried = 0;
    loop {
        tried += 1;
        let Err(failure) = rename(from.to_owned(), to.to_owned()).await else {
            return Ok(());
        };
        if failure.is_lost || tried == TRIES {
            return Err(failure);
        }
        match session.lstat(to).await? {
            None if failure.code == Some(StatusCode::NoSuchFile) => return Err(failure),
            // Somebody else has just moved it away.
            None => {}
            Some(there) if is_directory(&there) => {
                session
                    .ask(session.sftp.rmdir(to))
                    .await
                    .map_err(|_| failure)?;
            }
            Some(_) => {
                let aside = unfinished(to);
                match rename(to.to_owned(), aside.clone()).await {
                    Err(other) if other.code == Some(StatusCode::NoSuchFile) => continue,
                    moved => moved?,
                };
                let named = rename(from.to_owned(), to.to_owned()).await;
                if named.is_err() && rename(aside.clone(), to.to_owned()).await.is_ok() {
                    continue;
                }
                // It was replaced, by this object or by that of somebody else.
                let _ = session.ask(session.sftp.remove(aside)).await;
                if named.is_ok() {
                    return Ok(());
                }
            }
        }
    }
}

/// Gives the file the name unless something has it; says whether it did.
pub(super) async fn link(session: &Session, from: &str, to: &str) -> Result<bool, Failure> {
    let failure = match session.ask(session.sftp.hardlink(from, to)).await {
        Ok(_) => return Ok(true),
        Err(failure) if failure.code.is_none() => return Err(failure),
        Err(failure) => failure,
    };
    if session.lstat(to).await?.is_some() {
        return Ok(false);
    }
    match failure.code {
        Some(StatusCode::Failure | StatusCode::OpUnsupported) => Err(cannot_link(
            "the file system there has no hard links, which are needed to store only if nothing is there",
        )),
        _ => Err(failure),
    }
}

/// Whether the server can do that at all.
pub(super) fn may_link(session: &Session) -> Result<(), Failure> {
    if session.has(HARDLINK) {
        return Ok(());
    }
    Err(cannot_link(
        "this server cannot store only if nothing is there (it has no hardlink@openssh.com)",
    ))
}

fn cannot_link(why: &str) -> Failure {
    Failure::new(ErrorKind::Unsupported, why)
}

/// Makes the names in these directories durable, where the server can: `OpenSSH` opens a directory as it opens a file.
pub(super) async fn sync(session: &Session, directories: &[String]) -> Result<(), Failure> {
    if !session.has(FSYNC) {
        return Ok(());
    }
    let synced = directories.iter().map(|directory| async move {
        let attributes = FileAttributes::default();
        let opened = session.sftp.open(directory, OpenFlags::READ, attributes);
        let handle = session.ask(opened).await?.handle;
        let (synced, closed) = tokio::join!(
            session.ask_disk(session.sftp.fsync(&handle)),
            session.ask_disk(session.sftp.close(&handle))
        );
        synced.and(closed)
    });
    for synced in join_all(synced).await {
        match synced {
            Err(failure) if failure.is_lost => return Err(failure),
            // Not every server and not every file system can.
            _ => {}
        }
    }
    Ok(())
}
