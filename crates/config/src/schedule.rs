//! When runs are due.

use super::keys;
use super::resolve::Found;
use super::text;
use hubvault_engine::schedule::{CatchUp, Schedule};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// The zone of schedules, of names and of days. A mistake in it was reported when it was found.
pub(super) fn zone(found: &BTreeMap<&'static str, Found>) -> TimeZone {
    keys::zone(text(found, "schedule.timezone")).unwrap_or(TimeZone::UTC)
}

/// The schedule; `None` only where a mistake in it was reported when it was found.
pub(super) fn schedule(found: &BTreeMap<&'static str, Found>) -> Option<Schedule> {
    let duration = |key| keys::duration(text(found, key)).unwrap_or_default();
    let mut schedule = Schedule::new(text(found, "schedule.cron"), zone(found)).ok()?;
    schedule.jitter = duration("schedule.jitter");
    schedule.catch_up = match text(found, "schedule.catch_up") {
        "none" => CatchUp::None,
        _ => CatchUp::Once,
    };
    schedule.tries = text(found, "schedule.tries").parse().unwrap_or(1);
    schedule.pause = duration("schedule.pause");
    Some(schedule)
}
