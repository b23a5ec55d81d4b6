//! The one answer to "am I safe?": what the quick checks find now, what the others last found, and what the history says.
//! `status`, HTTP, metrics and the digest give this one.

use super::{CheckState, Finding, Look, examine};
use crate::catalog::{BackupCopy, CatalogError};
use crate::overview::{Risk, age};
use hubvault_model::Cancel;

/// The checks that ask neither the server nor a command of the user's, and read no archive.
const QUICK: [&str; 11] = [
    "time", "size", "copies", "disk", "rows", "restore", "proof", "delivery", "schedule", "seal",
    "clock",
];
/// Warnings of a run that a check reports as they are now.
const SAID_BY_CHECKS: [&str; 3] = ["nobody-told", "undelivered", "rows"];

/// What is at risk as of now, in sentences; empty where nothing is.
pub fn risks(look: &Look<'_>) -> Result<Vec<String>, CatalogError> {
    let findings = failing(look);
    risks_of(look, &findings)
}

/// The same, each with what to do next; empty where the sentence says that, or nobody knows.
pub fn advice(look: &Look<'_>) -> Result<Vec<(String, String)>, CatalogError> {
    let findings = failing(look);
    let advised = |what: String| {
        let mut found = findings.iter().filter(|finding| finding.what == what);
        let next = found.next().map(|finding| finding.next.clone());
        (what, next.unwrap_or_default())
    };
    let risks = risks_of(look, &findings)?;
    Ok(risks.into_iter().map(advised).collect())
}

/// What the checks find that ask neither the server nor a command of the user's, and read no archive.
pub fn quick(look: &Look<'_>) -> Vec<Finding> {
    examine(look, &Cancel::new(), &|name| QUICK.contains(&name))
}

/// Those of them that fail.
fn failing(look: &Look<'_>) -> Vec<Finding> {
    let mut findings = quick(look);
    findings.retain(|finding| finding.state == CheckState::Failing);
    findings
}

fn risks_of(look: &Look<'_>, failing: &[Finding]) -> Result<Vec<String>, CatalogError> {
    let mut risks: Vec<String> = failing.iter().map(in_words).collect();
    risks.extend(remembered(look)?);
    let is_said = |risk: &&Risk| match risk {
        Risk::NeverProven | Risk::TooOld { .. } | Risk::Failed(_) | Risk::MailedUnsealed => true,
        Risk::Unproven(_) | Risk::Disproved(_) => {
            failing.iter().any(|finding| finding.check == "proof")
        }
        Risk::Warned(warning) => SAID_BY_CHECKS.contains(&warning.code.as_str()),
        Risk::Unconfigured(_) => false,
        Risk::Missing(lost) => {
            // One on this machine that is only found missing by looking is said by no check of copies.
            let mut records = look.runs.iter().map(|summary| &summary.run);
            let record = records.find(|record| record.id == lost.backup);
            let copy = record.and_then(|record| record.copy_at(&lost.destination));
            let is_recorded = lost.path.is_none() || copy.is_some_and(BackupCopy::is_lost);
            is_recorded && failing.iter().any(|finding| finding.check == "copies")
        }
    };
    let max_age_hours = look.job.monitor.max_age_hours;
    let others = look.overview.risks(max_age_hours, look.now);
    let others = others.iter().filter(|risk| !is_said(risk));
    risks.extend(others.map(ToString::to_string));
    Ok(risks)
}

/// What is wrong; for some checks also what to do next.
fn in_words(finding: &Finding) -> String {
    match finding.check.as_str() {
        "seal" | "rows" => format!("{}; {}", finding.what, finding.next),
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
            && !is_of_failure(look, alert)
    });
    let in_words = |alert: super::AlertState| {
        let ago = age(alert.looked_at, look.now);
        format!("the check {} failed {ago} ago: {}", alert.check, alert.what)
    };
    Ok(failing.map(in_words).collect())
}

/// The failure of the last run has the same cause, and was named with it.
fn is_of_failure(look: &Look<'_>, alert: &super::AlertState) -> bool {
    let failure = look.overview.failure().map(|risk| risk.to_string());
    failure.is_some_and(|failure| failure.contains(&alert.what))
}

/// The history names each archive that is missing.
fn is_of_missing(look: &Look<'_>, check: &str) -> bool {
    let mut missing = look.overview.missing.iter();
    check == "files" && missing.any(|lost| lost.path.is_some())
}
