//! Spans and differences as people read them.

use crate::catalog::BackupRecord;
use hubvault_model::{ByteSize, grouped};

/// `+12`, `-3`, `same`.
pub(super) fn change(before: u64, now: u64) -> String {
    match now.cmp(&before) {
        std::cmp::Ordering::Equal => "same".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", grouped(now - before)),
        std::cmp::Ordering::Less => format!("-{}", grouped(before - now)),
    }
}

/// `+1.2 MB`, `-3.0 kB`, `same`.
pub(super) fn size_change(before: u64, now: u64) -> String {
    match now.cmp(&before) {
        std::cmp::Ordering::Equal => "same".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", ByteSize(now - before)),
        std::cmp::Ordering::Less => format!("-{}", ByteSize(before - now)),
    }
}

pub(super) fn took(record: &BackupRecord) -> String {
    let Some(seconds) = record.seconds() else {
        return String::new();
    };
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!(
            "{} min {} s",
            (seconds / 60.0) as u64,
            (seconds % 60.0) as u64
        )
    }
}
