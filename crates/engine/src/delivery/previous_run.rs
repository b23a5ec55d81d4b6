//! The values of an earlier run in a message.

use super::phrases::took;
use crate::catalog::BackupRecord;
use crate::overview::{age, moment};
use hubvault_model::ByteSize;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// An earlier run.
#[derive(Clone, Debug, Serialize)]
pub struct PreviousFacts {
    /// When.
    pub when: String,
    /// How long ago, `23 hours`.
    pub age: String,
    /// The archive's name.
    pub name: String,
    /// The archive's size.
    pub size: String,
    /// Its rows.
    pub rows: u64,
    /// How long it took.
    pub took: String,
}

/// The facts of an earlier run.
pub(super) fn previous(record: &BackupRecord, now: Timestamp, zone: &TimeZone) -> PreviousFacts {
    PreviousFacts {
        when: moment(record.started_at, zone),
        age: age(record.started_at, now),
        name: record.archive_name().unwrap_or_default().to_owned(),
        size: ByteSize(record.bytes.unwrap_or_default()).to_string(),
        rows: record.rows(),
        took: took(record),
    }
}
