//! Whether this machine's clock can be believed: ages and rules go by it.

use super::super::{Finding, Look};
use crate::catalog::CLOCK_TOLERANCE;
use crate::overview::moment;
use hubvault_model::Cancel;
use jiff::Timestamp;
use rustix::system::uname;

pub(super) const NAME: &str = "clock";

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let is_ahead = |at: Timestamp| at.duration_since(look.now) > CLOCK_TOLERANCE;
    let next = "set the clock right (NTP) before the next run: ages and retention go by it";
    let say = |at| moment(at, look.zone);
    let host = uname();
    let host = host.nodename().to_string_lossy();
    let newest = look.overview.last_run.as_ref();
    if let Some(newest) = newest.filter(|record| is_ahead(record.started_at)) {
        let of_another = look.job.lease.is_some() && newest.local_copy().is_none();
        let (maker, next) = if of_another && newest.was_published() {
            let next = "set the clock of each machine with this lease right (NTP): this one, or the one that made it, is \
                        wrong; until then it counts as no run of the schedule";
            (" on another machine", next)
        } else {
            ("", next)
        };
        let copy = newest.copies.iter().find(|_| !maker.is_empty());
        let stored = copy.map(|copy| format!(" and stored {}", copy.key));
        let what = format!(
            "it is {} here ({host}), and the newest run began{maker} at {}{}",
            say(look.now),
            say(newest.started_at),
            stored.unwrap_or_default()
        );
        return Finding::failing(NAME, what, next);
    }
    if let Some((at, path)) = look.files.newest().filter(|(at, _)| is_ahead(*at)) {
        let what = format!(
            "{} is of {}, which is yet to come by the clock of {host}",
            path.display(),
            say(at)
        );
        return Finding::failing(NAME, what, next);
    }
    if let Some(error) = look.files.error() {
        let what = format!("reading {}: {error}", look.job.local_directory().display());
        return Finding::skipped(NAME, what);
    }
    Finding::ok(NAME, "no run and no file is from the future")
}
