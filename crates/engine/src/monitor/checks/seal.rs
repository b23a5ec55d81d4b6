//! Whether somebody can open what is sealed, and nobody else what travels.

use super::super::{Finding, Look};
use crate::catalog::standing;
use crate::overview::{SEAL_REMEDY, mail_risk};
use hubvault_model::Cancel;

pub(super) const NAME: &str = "seal";

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let job = look.job;
    if job.seal.is_empty() {
        if let Some(risk) = mail_risk(job) {
            return Finding::failing(NAME, risk.to_string(), SEAL_REMEDY);
        }
        return Finding::skipped(NAME, "archives are not sealed (BACKUP_RECIPIENTS)");
    }
    let shown = match look.catalog.shown_recipients() {
        Ok(shown) => shown,
        Err(error) => return Finding::skipped(NAME, error.to_string()),
    };
    let standing = standing(&job.seal, &shown);
    let never: Vec<String> = standing
        .iter()
        .filter(|one| one.shown_at.is_none())
        .map(|one| one.recipient.short())
        .collect();
    if never.is_empty() {
        let what = match standing.len() {
            1 => "the recipient was shown to open an archive".to_owned(),
            many => format!("all {many} recipients were shown to open an archive"),
        };
        return Finding::ok(NAME, what);
    }
    let what = format!(
        "{} never shown to be able to open an archive",
        match never.as_slice() {
            [one] => format!("{one} was"),
            many => format!("{} were", many.join(", ")),
        }
    );
    Finding::failing(NAME, what, "hubvault seal check says how")
}
