//! How old the newest proven archive is.

use super::super::{Finding, Look};
use crate::delivery::age;
use crate::job::ProofWhen;
use hubvault_model::Cancel;

pub(super) const NAME: &str = "time";

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let limit = look.job.monitor.max_age_hours;
    let Some(newest) = look.newest_proven() else {
        let next = if look.job.proof.when == ProofWhen::Off {
            "hubvault drill latest proves the newest one; set PROOF=always, so that every one is"
        } else {
            "hubvault backup takes one"
        };
        return Finding::failing(NAME, "there is no proven backup", next);
    };
    let old = age(newest.started_at, look.now);
    if look.since(newest.started_at).as_hours() >= i64::from(limit) {
        let what = format!(
            "the newest proven backup is {old} old, more than the {limit} hours that \
             BACKUP_MAX_AGE_HOURS allows"
        );
        let next = "hubvault backup takes one; hubvault list shows why the last ones did not count";
        return Finding::failing(NAME, what, next);
    }
    Finding::ok(NAME, format!("the newest proven backup is {old} old"))
}
