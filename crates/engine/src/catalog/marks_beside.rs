//! Which marks of drills beside an archive are read: so many, the latest first, and of a directory only those that no other
//! user made.

use super::copy::BackupCopy;
use super::drill_mark::{ENDING, sort, split};
use super::found_mark::FoundMark;
use super::is_archive_name;
use super::pin;
use super::record::BackupRecord;
use super::sidecar::is_trusted;
use hubvault_model::{BackupId, counted};
use rustix::fs::OFlags;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The largest one that is read, in bytes.
pub(crate) const LIMIT: u64 = 256 << 10;
/// So many of a backup are read at once.
const MOST: usize = 64;
/// So many are tried for that: whoever may write there can store what is no mark.
const TRIED: usize = 2 * MOST;
/// So many names of what is no mark are remembered for a copy.
const REMEMBERED: usize = 1024;

/// What was read beside one archive.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub(crate) found: Vec<FoundMark>,
    /// The names of those that are none of this backup.
    pub(crate) unreadable: Vec<String>,
    /// How many there are besides, which were not read.
    pub(crate) unread: usize,
}

/// What one name is.
pub(crate) enum Looked {
    Mark(Box<FoundMark>),
    Unreadable,
    /// It could not be read now.
    Denied,
    Gone,
}

impl Looked {
    /// What a text says of a backup.
    pub(crate) fn parse(name: &str, text: &[u8], id: BackupId) -> Self {
        FoundMark::parse(name, text, id).map_or(Self::Unreadable, |it| Self::Mark(Box::new(it)))
    }
}

impl Marks {
    /// Reads those of these names, the latest first. What is no mark takes no other one's place.
    pub(crate) fn read<E>(
        mut names: Vec<String>,
        mut look: impl FnMut(&str) -> Result<Looked, E>,
    ) -> Result<Self, E> {
        sort(&mut names);
        let mut marks = Self::default();
        for (tried, name) in names.into_iter().enumerate() {
            if marks.found.len() == MOST || tried >= TRIED {
                marks.unread += 1;
                continue;
            }
            match look(&name)? {
                Looked::Mark(mark) => marks.found.push(*mark),
                Looked::Unreadable => marks.unreadable.push(name),
                Looked::Denied => marks.unread += 1,
                Looked::Gone => {}
            }
        }
        Ok(marks)
    }

    /// Those beside an archive of this machine, which have these names. One that another user made says nothing.
    pub(crate) fn beside(archive: &Path, mut names: Vec<String>, id: BackupId) -> Self {
        names.retain(|name| !is_strange(&path_of(archive, name), archive));
        let look = |name: &str| Ok::<_, Infallible>(look_at(&path_of(archive, name), name, id));
        let Ok(marks) = Self::read(names, look);
        marks
    }
}

fn path_of(archive: &Path, name: &str) -> PathBuf {
    let mut path = archive.as_os_str().to_owned();
    path.push(format!(".{name}{ENDING}"));
    PathBuf::from(path)
}

/// Whether another user made it, who is not believed. The first of each directory and user is a warning.
fn is_strange(mark: &Path, archive: &Path) -> bool {
    static WARNED: Mutex<BTreeSet<(PathBuf, u32)>> = Mutex::new(BTreeSet::new());
    let Ok(meta) = fs::symlink_metadata(mark) else {
        return false;
    };
    if is_trusted(&meta, archive) {
        return false;
    }
    let directory = archive.parent().unwrap_or(Path::new("")).to_owned();
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.insert((directory, meta.uid())) {
        tracing::warn!(
            "{} belongs to another user (uid {}): this mark of a drill, and all others of that user there, are ignored; \
             remove them, and let only hubvault write there",
            mark.display(),
            meta.uid()
        );
    }
    true
}

fn look_at(path: &Path, name: &str, id: BackupId) -> Looked {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let read = || -> io::Result<Looked> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits() as i32)
            .open(path)?;
        let meta = file.metadata()?;
        // Whose it is was asked before it was opened.
        if !meta.is_file() || meta.len() > LIMIT || !is_trusted(&meta, path) {
            return Ok(Looked::Unreadable);
        }
        let mut text = Vec::new();
        file.take(LIMIT).read_to_end(&mut text)?;
        Ok(Looked::parse(name, &text, id))
    };
    read().unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Looked::Gone,
        io::ErrorKind::PermissionDenied => Looked::Denied,
        _ => Looked::Unreadable,
    })
}

/// Whether this is our own mark or pin of an archive that is not there: an earlier version removed only that.
pub(crate) fn is_stray(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name else { return false };
    let archive = split(name).map(|(archive, _)| archive);
    let archive = archive.or_else(|| name.strip_suffix(pin::ENDING));
    let Some(archive) = archive.map(|name| path.with_file_name(name)) else {
        return false;
    };
    let is_gone =
        fs::symlink_metadata(&archive).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let own = rustix::process::geteuid().as_raw();
    is_archive_name(&archive)
        && is_gone
        && fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.uid() == own)
}

/// The names of the marks beside an archive of this machine.
pub(crate) fn names_beside(archive: &Path) -> Vec<String> {
    let (Some(directory), Some(name)) = (archive.parent(), archive.file_name()) else {
        return Vec::new();
    };
    let directory = match directory {
        empty if empty == Path::new("") => Path::new("."),
        directory => directory,
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mark = |entry: fs::DirEntry| {
        let found = entry.file_name();
        let (of, mark) = split(found.to_str()?)?;
        (*of == *name).then(|| mark.to_owned())
    };
    entries.filter_map(mark).collect()
}

impl BackupRecord {
    /// Records which of the marks beside a copy need not be read again, and how many were not read. That is a warning once.
    pub(crate) fn note_marks(&mut self, destination: &str, marks: &Marks) {
        let Some(copy) = self.copy_at_mut(destination) else {
            return;
        };
        for name in &marks.unreadable {
            if copy.unreadable_marks.len() < REMEMBERED && !copy.unreadable_marks.contains(name) {
                copy.unreadable_marks.push(name.clone());
            }
        }
        if marks.unread > 0 && marks.unread != copy.unread_marks {
            tracing::warn!(
                "{} of drills beside {} at {destination} could not be read or are too many, so that a drill that failed may \
                 be missed; remove those that hubvault did not make",
                counted(marks.unread as u64, "mark"),
                copy.key
            );
        }
        copy.unread_marks = marks.unread;
    }

    /// How many marks of drills beside its copies were not read.
    pub fn unread_marks(&self) -> usize {
        let there = self.copies.iter().filter(|copy| copy.is_expected());
        there.map(|copy: &BackupCopy| copy.unread_marks).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::BackupCopy;
    use jiff::Timestamp;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    /// Counts what is said.
    struct Counter(Arc<AtomicUsize>);

    impl Subscriber for Counter {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn marks_that_were_not_read_are_said_once_and_again_when_there_are_others() {
        let said = Arc::new(AtomicUsize::new(0));
        let mut record = BackupRecord::begun(BackupId::random(), "hub", Timestamp::now());
        let copy = BackupCopy::pending("far", "a.tar.gz", None, Timestamp::now());
        record.copies.push(copy);
        tracing::subscriber::with_default(Counter(Arc::clone(&said)), || {
            for (unread, expected) in [(3, 1), (3, 1), (3, 1), (4, 2), (0, 2), (0, 2), (4, 3)] {
                let marks = Marks {
                    unread,
                    unreadable: vec!["1-00000000".to_owned()],
                    ..Marks::default()
                };
                record.note_marks("far", &marks);
                assert_eq!(said.load(Ordering::Relaxed), expected, "{unread}");
            }
        });
        assert_eq!(record.unread_marks(), 4);
        // What is no mark is remembered, and not read again.
        assert_eq!(record.copies[0].unreadable_marks, ["1-00000000"]);
    }
}
