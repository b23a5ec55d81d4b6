//! The one answer to "am I safe?": what the quick checks find now, what the others last found, and what the history says.
//! `status`, HTTP, metrics and the digest give this one.

use super::{CheckState, Finding, Look, examine};
use crate::catalog::CatalogError;
use crate::overview::{Risk, age};
use hubvault_model::Cancel;

/// The checks that ask neither the server nor a command of the user's, and read no archive.
const QUICK: [&str; 9] = [
    "time", "size", "disk", "rows", "proof", "delivery", "schedule", "seal", "clock",
];
/// Warnings of a run that a check reports as they are now.
const SAID_BY_CHECKS: [&str; 3] = ["nobody-told", "undelivered", "rows"];

/// What is at risk as of now, in sentences; empty where nothing is.
pub fn risks(look: &Look<'_>) -> Result<Vec<String>, CatalogError> {
    let findings = examine(look, &Cancel::new(), &|name| QUICK.contains(&name));
    let is_failing = |finding: &&Finding| finding.state == CheckState::Failing;
    let failing: Vec<&Finding> = findings.iter().filter(is_failing).collect();
    let mut risks: Vec<String> = failing.iter().copied().map(in_words).collect();
    risks.extend(remembered(look)?);
    let is_said = |risk: &&Risk| match risk {
        Risk::NeverProven | Risk::TooOld { .. } | Risk::Failed(_) | Risk::MailedUnsealed => true,
        Risk::Unproven(_) => failing.iter().any(|finding| finding.check == "proof"),
        Risk::Warned(warning) => SAID_BY_CHECKS.contains(&warning.code.as_str()),
        Risk::Missing(_) => false,
    };
    let max_age_hours = look.job.monitor.max_age_hours;
    let others = look.overview.risks(max_age_hours, look.now);
    let others = others.iter().filter(|risk| !is_said(risk));
    risks.extend(others.map(ToString::to_string));
    Ok(risks)
}

/// What is wrong; how a seal is put right is not in the manual of checks alone.
fn in_words(finding: &Finding) -> String {
    match finding.check.as_str() {
        "seal" => format!("{}; {}", finding.what, finding.next),
        _ => finding.what.clone(),
    }
}

/// What the other checks found when they were last made.
fn remembered(look: &Look<'_>) -> Result<Vec<String>, CatalogError> {
    let alerts = look.catalog.alerts(&look.job.name)?;
    let known = super::checks(look.job);
    let failing = alerts.into_iter().filter(|alert| {
        alert.state == CheckState::Failing
            && !QUICK.contains(&alert.check.as_str())
            && known.iter().any(|check| check.name() == alert.check)
            && !is_of_missing(look, &alert.check)
    });
    let in_words = |alert: super::AlertState| {
        let ago = age(alert.looked_at, look.now);
        format!("the check {} failed {ago} ago: {}", alert.check, alert.what)
    };
    Ok(failing.map(in_words).collect())
}

/// The history names each archive that is missing.
fn is_of_missing(look: &Look<'_>, check: &str) -> bool {
    check == "files" && !look.overview.missing.is_empty()
}
