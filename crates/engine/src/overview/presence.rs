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
    match by_record(record) {
        Presence::Present if record.archive().is_none() => Presence::Missing,
        recorded => recorded,
    }
}

/// What the record alone says: an archive that was not removed is there.
pub fn by_record(record: &BackupRecord) -> Presence {
    if record.is_kept() {
        Presence::Present
    } else if record.was_published() {
        Presence::Removed
    } else {
        Presence::NeverMade
    }
}

/// The archive of a backup, where it is there.
pub fn archive(record: &BackupRecord) -> Option<&Path> {
    record.archive()
}
