//! What is stored in the clear beside a sealed archive: nothing that may quote rows, as messages of servers and programs
//! do. The catalog keeps all of it.

use super::record::{DrillRecord, ProofRecord};
use hubvault_archive::Manifest;
use hubvault_model::{Warning, grouped};
use std::borrow::Cow;

/// What the proof of an archive says that a drill rejected.
pub(super) const REJECTED: &str = "rejected by a drill";
/// Where the rest is.
const DETAILS: &str = "the record and the log of the machine that drilled it have the details";
/// How reasons end that are hubvault's own words.
const OWN: [&str; 2] = [
    "the drill is switched off",
    ", and the last drill is not that old",
];
/// Warnings with messages of other programs.
const QUOTING: [&str; 4] = ["pg_dump", "source-failed", "hook-failed", "not-compared"];
/// What the messages of those are replaced with.
const INSIDE: &str = "the message is inside the archive";

impl ProofRecord {
    /// The same for people who may not open the archive.
    pub(crate) fn in_the_clear(&self) -> Self {
        let is_own = |reason: &str| OWN.iter().any(|own| reason.ends_with(own));
        let reason = self.reason.as_deref().map(|reason| {
            if self.is_rejected() {
                format!("{REJECTED}; {DETAILS}")
            } else if self.drill.is_some() {
                format!("not everything came back as it was; {DETAILS}")
            } else if is_own(reason) {
                reason.to_owned()
            } else {
                format!("not proven; {DETAILS}")
            }
        });
        Self {
            reason,
            drill: self.drill.as_ref().map(DrillRecord::in_the_clear),
            ..self.clone()
        }
    }

    /// Whether a drill rejected it.
    pub(super) fn is_rejected(&self) -> bool {
        let reason = self.reason.as_deref();
        self.drill.is_none() && reason.is_some_and(|reason| reason.starts_with(REJECTED))
    }

    /// What another record says of the same drill, which may be more; else this one.
    #[must_use]
    pub fn or_same(self, other: &Self) -> Self {
        let at = |proof: &Self| proof.drill.as_ref().map(|drill| drill.drilled_at);
        let is_same = match at(&self) {
            Some(drilled) => at(other) == Some(drilled) && other.proven == self.proven,
            None => self.is_rejected() && other.is_rejected(),
        };
        if is_same { other.clone() } else { self }
    }
}

impl DrillRecord {
    fn in_the_clear(&self) -> Self {
        // What follows the constraint's name quotes keys of rows.
        let name = |constraint: &String| {
            let name = constraint.split(" (").next();
            name.unwrap_or_default().to_owned()
        };
        Self {
            not_rebuilt: counted_only(&self.not_rebuilt),
            not_valid: self.not_valid.iter().map(name).collect(),
            notes: counted_only(&self.notes),
            ..self.clone()
        }
    }
}

/// How many there are, in place of their texts.
fn counted_only(texts: &[String]) -> Vec<String> {
    match texts {
        [] => Vec::new(),
        [one] if one.ends_with(DETAILS) => vec![one.clone()],
        many => vec![format!("{} in all; {DETAILS}", grouped(many.len() as u64))],
    }
}

/// A manifest for people who may not open the archive.
pub(super) fn in_the_clear(manifest: &Manifest) -> Cow<'_, Manifest> {
    let is_quoting = |warning: &Warning| QUOTING.contains(&warning.code.as_str());
    if !manifest.warnings.iter().any(is_quoting) {
        return Cow::Borrowed(manifest);
    }
    let mut manifest = manifest.clone();
    for warning in manifest.warnings.iter_mut().filter(|it| is_quoting(it)) {
        warning.message = format!("{} ({}): {INSIDE}", warning.code, warning.subject);
    }
    Cow::Owned(manifest)
}
