//! Whether this machine's clock can be believed: ages and rules go by it.

use super::super::{Finding, Look};
use crate::overview::moment;
use hubvault_model::Cancel;
use jiff::{SignedDuration, Timestamp};
use std::fs;

pub(super) const NAME: &str = "clock";
/// Two machines may differ so much.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let is_ahead = |at: Timestamp| at.duration_since(look.now) > TOLERANCE;
    let next = "set the clock right (NTP) before the next run: ages and retention go by it";
    let say = |at| moment(at, look.zone);
    if let Some(newest) = look
        .records
        .first()
        .filter(|record| is_ahead(record.started_at))
    {
        let what = format!(
            "it is {} here, and the newest run began at {}",
            say(look.now),
            say(newest.started_at)
        );
        return Finding::failing(NAME, what, next);
    }
    let entries = match fs::read_dir(look.job.local_directory()) {
        Ok(entries) => entries,
        Err(error) => {
            let what = format!("reading {}: {error}", look.job.local_directory().display());
            return Finding::skipped(NAME, what);
        }
    };
    for entry in entries.flatten() {
        let changed = entry.metadata().and_then(|meta| meta.modified()).ok();
        let changed = changed.and_then(|at| Timestamp::try_from(at).ok());
        if let Some(at) = changed.filter(|at| is_ahead(*at)) {
            let what = format!(
                "{} is of {}, which is yet to come",
                entry.path().display(),
                say(at)
            );
            return Finding::failing(NAME, what, next);
        }
    }
    Finding::ok(NAME, "no run and no file is from the future")
}
