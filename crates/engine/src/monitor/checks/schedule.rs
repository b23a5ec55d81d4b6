//! Whether runs happen when they should, and end well.

use super::super::{Finding, Look};
use crate::overview::moment;
use crate::state::service_lock::Seen;
use hubvault_model::Cancel;
use jiff::SignedDuration;

pub(super) const NAME: &str = "schedule";
/// A run may begin so much later than it is due.
const GRACE: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let last = look.overview.last_run.as_ref();
    if let Some(risk) = look.overview.failure() {
        let next = "correct what it names, then: hubvault backup";
        return Finding::failing(NAME, risk.to_string(), next);
    }
    let say = |at| moment(at, look.zone);
    if let Seen::Gone { .. } = look.service {
        let what = "the service that ran the schedule crashed or was killed";
        let next = "start hubvault serve again, and see its log; where cron calls hubvault backup now, remove \
                    .hubvault/service.lock in the backup directory";
        return Finding::failing(NAME, what, next);
    }
    if let Some(due) = look.last_due
        && look.since(due) > GRACE
        && last.is_none_or(|record| record.started_at < due)
    {
        let what = format!("the run that was due at {} did not begin", say(due));
        let next = "see that the service runs and what it logged; hubvault backup takes one now";
        return Finding::failing(NAME, what, next);
    }
    match (look.next_due, look.last_due, last) {
        (Some(next), _, _) => Finding::ok(NAME, format!("the next run is due at {}", say(next))),
        (None, Some(due), _) => Finding::ok(NAME, format!("the run due at {} began", say(due))),
        (None, None, Some(_)) => Finding::ok(
            NAME,
            "the last run did not fail; no service runs here, so that only the age of the newest backup shows a missed run",
        ),
        (None, None, None) => Finding::skipped(NAME, "nothing ran yet, and no service runs here"),
    }
}
