//! Whether the archive of a backup is there.

use crate::catalog::BackupRecord;
use std::path::Path;

/// Where the archive of a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The run published none, or has not yet.
    NeverMade,
    /// At its place.
    Present,
    /// It should be there and is not.
    Missing,
    /// Removed by retention, or its absence was accepted. It counts as removed even where the file still is there, as
    /// it is about to go.
    Removed,
}

/// How presence is found out: [`presence()`], or [`by_record`] where nothing may be looked at.
pub type LookFn = fn(&BackupRecord) -> Presence;

/// Looks for the archive of a backup.
pub fn presence(record: &BackupRecord) -> Presence {
    match (by_record(record), &record.file) {
        (Presence::Present, Some(file)) if !file.is_file() => Presence::Missing,
        (recorded, _) => recorded,
    }
}

/// What the record alone says: an archive that was not removed is there.
pub fn by_record(record: &BackupRecord) -> Presence {
    match &record.file {
        None => Presence::NeverMade,
        Some(_) if record.removed_at.is_some() => Presence::Removed,
        Some(_) => Presence::Present,
    }
}

/// The archive of a backup, where it is there.
pub fn archive(record: &BackupRecord) -> Option<&Path> {
    let file = record.file.as_deref()?;
    (presence(record) == Presence::Present).then_some(file)
}
