//! Moments and spans as people read them.

use hubvault_model::counted;
use jiff::Timestamp;
use jiff::tz::TimeZone;

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
    counted(number as u64, unit)
}
