//! How old the newest proven archive is.

use super::super::{Finding, Look};
use crate::job::ProofWhen;
use crate::overview::{Risk, age, age_risk};
use hubvault_model::Cancel;

pub(super) const NAME: &str = "time";

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let newest = look.overview.newest_proven.as_ref();
    let Some(risk) = age_risk(newest, look.job.monitor.max_age_hours, look.now) else {
        let old = newest.map_or_else(String::new, |record| age(record.started_at, look.now));
        return Finding::ok(NAME, format!("the newest proven backup is {old} old"));
    };
    let next = match (&risk, look.job.proof.when) {
        (Risk::NeverProven, ProofWhen::Off) => {
            "hubvault drill latest proves the newest one; set PROOF=always, so that every one is"
        }
        (Risk::NeverProven, _) => "hubvault backup takes one",
        _ => "hubvault backup takes one; hubvault list shows why the last ones did not count",
    };
    Finding::failing(NAME, risk.to_string(), next)
}
