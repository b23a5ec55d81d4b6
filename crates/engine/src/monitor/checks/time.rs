//! How old the newest proven archive is, and, where not every one is drilled, how old the newest one is.

use super::super::{Finding, Look};
use crate::job::ProofWhen;
use crate::overview::{Risk, age, age_risk};
use hubvault_model::{Cancel, counted};
use jiff::SignedDuration;

pub(super) const NAME: &str = "time";
const NEXT: &str = "hubvault backup takes one; hubvault list shows why the last ones did not count";

/// The newest archive is too old, although the newest proven one is not yet.
fn unproven_risk(look: &Look<'_>) -> Option<String> {
    let newest = look.archives().next()?;
    let limit = look.job.monitor.max_archive_age_hours;
    let old = look.since(newest.started_at) > SignedDuration::from_hours(i64::from(limit));
    old.then(|| {
        format!(
            "the newest backup is {} old, more than the {} that BACKUP_MAX_AGE_HOURS allows",
            age(newest.started_at, look.now),
            counted(u64::from(limit), "hour")
        )
    })
}

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let newest = look.overview.newest_proven.as_ref();
    let Some(risk) = age_risk(newest, look.job.monitor.max_age_hours, look.now) else {
        if let Some(what) = unproven_risk(look) {
            return Finding::failing(NAME, what, NEXT);
        }
        let old = newest.map_or_else(String::new, |record| age(record.started_at, look.now));
        return Finding::ok(NAME, format!("the newest proven backup is {old} old"));
    };
    let next = match (&risk, look.job.proof.when) {
        (Risk::NeverProven, ProofWhen::Off) => {
            "hubvault drill latest proves the newest one; set PROOF=always, so that every one is"
        }
        (Risk::NeverProven, _) => "hubvault backup takes one",
        _ => NEXT,
    };
    Finding::failing(NAME, risk.to_string(), next)
}
