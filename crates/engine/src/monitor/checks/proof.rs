//! Whether archives were restored lately, not only written, and whether a later drill disproved one.

use super::super::{Finding, Look};
use crate::catalog::State;
use crate::job::ProofWhen;
use crate::monitor::CheckState;
use crate::overview::age;
use hubvault_model::{Cancel, counted};

pub(super) const NAME: &str = "proof";
/// So many are named.
const NAMED: usize = 3;

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let lately = lately(look);
    let disproved = &look.overview.disproved;
    let Some(newest) = disproved.first() else {
        return lately;
    };
    let named = disproved.iter().take(NAMED);
    let mut wrong: Vec<String> = named.map(|it| it.text(look.zone)).collect();
    if let Some(more) = disproved.len().checked_sub(NAMED).filter(|more| *more > 0) {
        wrong.push(format!("and {more} more"));
    }
    if lately.state == CheckState::Failing {
        wrong.push(lately.what);
    }
    let id = newest.backup.short();
    let next = format!(
        "hubvault drill {id} drills it again; if it is not proven then either, restore from another backup and make a new \
         one (hubvault backup)"
    );
    Finding::failing(NAME, wrong.join("; "), next)
}

/// Whether the newest archive was restored, and whether any was lately.
fn lately(look: &Look<'_>) -> Finding {
    let Some(newest) = look.archives().next() else {
        return Finding::skipped(NAME, "there is no archive yet");
    };
    let when = look.job.proof.when;
    if when == ProofWhen::Off {
        let why = "drills are switched off (proof.when); hubvault drill does one by hand";
        return Finding::skipped(NAME, why);
    }
    let limit = look.job.monitor.max_drill_age_hours;
    let next = "hubvault drill latest";
    let mut disproved = look.overview.disproved.iter();
    let is_named = disproved.any(|it| it.backup == newest.id);
    if when == ProofWhen::Always && newest.state == State::Unproven && !is_named {
        let why = newest.proof.reason.as_deref().unwrap_or("not drilled");
        let what = format!("the newest archive is unproven: {why}");
        return Finding::failing(NAME, what, next);
    }
    let Some(last) = look.overview.last_drill else {
        return Finding::failing(NAME, "no archive was ever drilled", next);
    };
    let old = age(last, look.now);
    if look.since(last).as_hours() >= i64::from(limit) {
        let what = format!(
            "the last drill was {old} ago, more than the {} that monitor.max_drill_age_hours allows",
            counted(u64::from(limit), "hour")
        );
        return Finding::failing(NAME, what, next);
    }
    Finding::ok(NAME, format!("the last drill was {old} ago"))
}
