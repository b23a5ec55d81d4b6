//! Whether somebody can open what is sealed, and nobody else what travels.

use super::super::{Finding, Look};
use crate::catalog::standing;
use crate::job::AttachWhen;
use hubvault_model::Cancel;

pub(super) const NAME: &str = "seal";

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let job = look.job;
    if job.seal.is_empty() {
        let mail = job.delivery.mail.as_ref();
        if mail.is_some_and(|mail| mail.attach == AttachWhen::Always) {
            let what = "archives travel by mail unsealed, with secrets and password hashes";
            let next = "set BACKUP_RECIPIENTS to an age or SSH public key of each administrator";
            return Finding::failing(NAME, what, next);
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
        let what = format!(
            "all {} recipients were shown to open an archive",
            standing.len()
        );
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
