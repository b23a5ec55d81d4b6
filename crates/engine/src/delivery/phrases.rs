//! Moments, spans and differences as people read them.

use crate::catalog::BackupRecord;
use hubvault_model::{ByteSize, grouped};
use jiff::Timestamp;
use jiff::tz::TimeZone;

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
    let Some(end) = record.finished_at else {
        return String::new();
    };
    let seconds = end.duration_since(record.started_at).as_secs_f64().max(0.0);
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

/// `2026-11-23 02:00 CET`.
pub fn moment(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M %Z")
        .to_string()
}

/// `5 minutes`, `23 hours`, `3 days`.
pub fn age(from: Timestamp, now: Timestamp) -> String {
    let minutes = now.duration_since(from).as_secs().max(0) / 60;
    let (number, unit) = match minutes {
        0..120 => (minutes, "minute"),
        120..2_880 => (minutes / 60, "hour"),
        _ => (minutes / 1_440, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}
