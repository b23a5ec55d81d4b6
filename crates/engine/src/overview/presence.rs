//! Whether the copies of a backup are there.

use crate::catalog::{BackupCopy, BackupRecord};
use std::path::Path;

/// Where the archive of a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The run published none, or has not yet.
    NeverMade,
    /// A copy of it is there.
    Present,
    /// Copies should be there, and none is.
    Missing,
    /// Removed by retention, or its absence was accepted. It counts as removed even where the file still is there, as
    /// it is about to go.
    Removed,
}

/// How it is found out whether a copy is there: [`looked_for`], or [`recorded`] where nothing may be looked at.
pub type LookFn = fn(&BackupCopy) -> bool;

/// Looks for a copy on this machine; one elsewhere is there as far as the record knows.
pub fn looked_for(copy: &BackupCopy) -> bool {
    copy.is_there()
}

/// What the record alone says.
pub fn recorded(copy: &BackupCopy) -> bool {
    copy.is_present()
}

/// Looks for the copies of a backup: it is there where one of them is.
pub fn presence(record: &BackupRecord) -> Presence {
    presence_by(record, looked_for)
}

/// What the record alone says of a backup.
pub fn by_record(record: &BackupRecord) -> Presence {
    presence_by(record, recorded)
}

fn presence_by(record: &BackupRecord, look: LookFn) -> Presence {
    presence_of(record, || record.copies.iter().any(look))
}

/// `is_there` says whether one of its copies is there.
pub(super) fn presence_of(record: &BackupRecord, is_there: impl FnOnce() -> bool) -> Presence {
    if !record.is_kept() {
        return if record.was_published() {
            Presence::Removed
        } else {
            Presence::NeverMade
        };
    }
    if is_there() {
        Presence::Present
    } else {
        Presence::Missing
    }
}

/// The archive of a backup on this machine, where it is there.
pub fn archive(record: &BackupRecord) -> Option<&Path> {
    record.archive()
}
