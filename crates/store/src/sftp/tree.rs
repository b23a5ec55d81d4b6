//! The directories of a server, and what is in them. No link is followed.

use super::failure::Failure;
use super::session::Session;
use crate::bounds::Bounds;
use crate::error::ErrorKind;
use crate::key::{Key, is_unfinished};
use futures_util::future::{join_all, try_join_all};
use russh_sftp::protocol::{FileAttributes, StatusCode};
use rustix::fs::FileType;

/// What is at the end of a path.
pub(super) enum Found {
    /// A file.
    File(FileAttributes),
    /// A directory, a link, a device.
    Other,
    /// Nothing.
    Nothing,
}

/// What kind of thing it is. (The library's own answers take a link for a file: they compare single bits.)
fn kind(attributes: &FileAttributes) -> FileType {
    FileType::from_raw_mode(attributes.permissions.unwrap_or_default())
}

fn is_file(attributes: &FileAttributes) -> bool {
    kind(attributes) == FileType::RegularFile
}

/// Whether it is a directory itself, and no link to one.
pub(super) fn is_directory(attributes: &FileAttributes) -> bool {
    kind(attributes) == FileType::Directory
}

/// A file that was found.
pub(super) struct Entry {
    /// Its path below the root.
    pub(super) path: String,
    pub(super) attributes: FileAttributes,
}

/// The directories above a key, from the top down: `a`, `a/b`.
fn above(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('/').map(|(at, _)| &key[..at])
}

/// The path of a key.
pub(super) fn join(root: &str, key: &str) -> String {
    format!("{root}/{key}")
}

/// The root and the directories above a key.
pub(super) fn directories(root: &str, key: &str) -> Vec<String> {
    let below = above(key).map(|part| join(root, part));
    std::iter::once(root.to_owned()).chain(below).collect()
}

/// Whether the root is there and can be listed.
pub(super) async fn check(session: &Session, root: &str) -> Result<(), Failure> {
    has_root(session, root).await?;
    let handle = session.ask(session.sftp.opendir(root)).await?.handle;
    session.ask(session.sftp.close(handle)).await.map(drop)
}

/// The root must be there: a disk that is not mounted is not an empty one.
async fn has_root(session: &Session, root: &str) -> Result<(), Failure> {
    let missing = |what| {
        let text =
            format!("the directory {root} {what} on the server; create it there, or mount it");
        Err(Failure::new(ErrorKind::Failed, text))
    };
    match session.ask(session.sftp.stat(root)).await {
        Ok(answer) if answer.attrs.permissions.is_none() || is_directory(&answer.attrs) => Ok(()),
        Ok(_) => missing("is no directory"),
        Err(failure) if failure.code == Some(StatusCode::NoSuchFile) => missing("does not exist"),
        Err(failure) => Err(failure),
    }
}

/// What is there by this key. All questions are asked at once.
pub(super) async fn find(session: &Session, root: &str, key: &str) -> Result<Found, Failure> {
    let path = join(root, key);
    let parents = above(key).map(|part| async move { session.lstat(&join(root, part)).await });
    let (root, parents, last) = tokio::join!(
        has_root(session, root),
        try_join_all(parents),
        session.lstat(&path)
    );
    root?;
    let are_directories = parents?
        .iter()
        .all(|parent| parent.as_ref().is_some_and(is_directory));
    if !are_directories {
        return Ok(Found::Nothing);
    }
    Ok(match last? {
        None => Found::Nothing,
        Some(attributes) if is_file(&attributes) => Found::File(attributes),
        Some(_) => Found::Other,
    })
}

/// Makes the directories above a key where they are missing.
pub(super) async fn make_above(session: &Session, root: &str, key: &str) -> Result<(), Failure> {
    let parts: Vec<String> = above(key).map(|part| join(root, part)).collect();
    let seen = join_all(parts.iter().map(|part| session.lstat(part)));
    let (root, seen) = tokio::join!(has_root(session, root), seen);
    root?;
    for (part, seen) in parts.iter().zip(seen) {
        let mut seen = seen?;
        if seen.is_none() {
            let private = FileAttributes {
                permissions: Some(0o700),
                ..FileAttributes::default()
            };
            match session.ask(session.sftp.mkdir(part, private)).await {
                Ok(_) => continue,
                // Somebody else made it.
                Err(failure) => match session.lstat(part).await? {
                    None => return Err(failure),
                    there => seen = there,
                },
            }
        }
        if !seen.as_ref().is_some_and(is_directory) {
            let text = format!("{part} is in the way: it is no directory");
            return Err(Failure::new(ErrorKind::Failed, text));
        }
    }
    Ok(())
}

/// Every file below the root whose path may begin with `prefix`. Hidden ones are left out, and names that no key has.
pub(super) async fn walk(
    session: &Session,
    root: &str,
    prefix: &str,
) -> Result<Vec<Entry>, Failure> {
    has_root(session, root).await?;
    let mut bounds = Bounds::new(session.patience);
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(directory) = open.pop() {
        let path = join(root, &directory);
        for (name, attributes) in entries(session, path.trim_end_matches('/'), &mut bounds).await? {
            // What is no name could lead out of the directory.
            if name.starts_with('.') || name.is_empty() || name.contains(['/', '\0']) {
                continue;
            }
            let path = format!("{directory}{name}");
            // Not every server says what it is; a name that is not UTF-8 is not there under this one.
            let is_known = attributes.permissions.is_some() && !name.contains('\u{fffd}');
            let attributes = if is_known {
                attributes
            } else {
                bounds.add(1, 0)?;
                let Some(attributes) = session.lstat(&join(root, &path)).await? else {
                    continue;
                };
                attributes
            };
            if is_directory(&attributes) {
                let below = format!("{path}/");
                if Key::parse(&path).is_ok()
                    && (below.starts_with(prefix) || prefix.starts_with(&below))
                {
                    open.push(below);
                }
            } else if is_file(&attributes) && path.starts_with(prefix) {
                found.push(Entry { path, attributes });
            }
        }
    }
    Ok(found)
}

/// What is in a directory; nothing where it went away meanwhile.
async fn entries(
    session: &Session,
    path: &str,
    bounds: &mut Bounds,
) -> Result<Vec<(String, FileAttributes)>, Failure> {
    let handle = match session.ask(session.sftp.opendir(path)).await {
        Ok(opened) => opened.handle,
        Err(failure) if failure.code == Some(StatusCode::NoSuchFile) => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    let mut found = Vec::new();
    let listed = loop {
        match session.ask(session.sftp.readdir(&handle)).await {
            Ok(names) => {
                let files = names.files.into_iter();
                let text = files
                    .as_slice()
                    .iter()
                    .map(|file| file.filename.len())
                    .sum();
                if let Err(endless) = bounds.add(files.len(), text) {
                    break Err(endless.into());
                }
                found.extend(files.map(|file| (file.filename, file.attrs)));
            }
            Err(failure) if failure.code == Some(StatusCode::Eof) => break Ok(found),
            Err(failure) => break Err(failure),
        }
    };
    let _ = session.ask(session.sftp.close(handle)).await;
    listed
}

impl Entry {
    /// Whether nobody finished it.
    pub(super) fn is_unfinished(&self) -> bool {
        is_unfinished(self.path.rsplit('/').next().unwrap_or_default())
    }
}
