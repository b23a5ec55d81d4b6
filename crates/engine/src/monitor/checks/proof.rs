//! Whether archives were restored lately, not only written.

use super::super::{Finding, Look};
use crate::catalog::State;
use crate::job::ProofWhen;
use crate::overview::age;
use hubvault_model::{Cancel, counted};

pub(super) const NAME: &str = "proof";

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
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
    if when == ProofWhen::Always && newest.state == State::Unproven {
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
