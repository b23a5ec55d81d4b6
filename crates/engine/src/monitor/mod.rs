//! What is watched between two runs: checks that say what is wrong and what to do about it.

mod alert;
mod rows;
mod inspect;
mod checks;
mod of_runs;
mod risks;
mod watch;

pub use crate::catalog::{AlertState, CheckState};
pub use alert::Notice;
pub use checks::{Check, NAMES, checks};
pub use inspect::{KnownArchive, Look};
pub use risks::{advice, quick, risks};
pub use rows::{Change, RowChange, compare_rows, proven_before};
pub use watch::{Noticed, Watched, watch};

use hubvault_model::Cancel;
use serde::{Deserialize, Serialize};

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's name.
    pub check: String,
    /// Whether all is well.
    pub state: CheckState,
    /// One sentence that says what was found, or why nothing was looked at.
    pub what: String,
    /// What to do about it; empty where nothing is to be done.
    pub next: String,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &str, what: impl Into<String>) -> Self {
        Self::new(check, CheckState::Ok, what.into(), String::new())
    }

    /// Something is wrong, and `next` is to be done about it.
    pub fn failing(check: &str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(check, CheckState::Failing, what.into(), next.into())
    }

    /// Nothing was looked at, because of `why`.
    pub fn skipped(check: &str, why: impl Into<String>) -> Self {
        Self::new(check, CheckState::Skipped, why.into(), String::new())
    }

    fn new(check: &str, state: CheckState, what: String, next: String) -> Self {
        Self {
            check: check.to_owned(),
            state,
            what,
            next,
        }
    }
}

/// Runs the checks for which `wanted` holds, one after the other.
pub fn examine(look: &Look<'_>, cancel: &Cancel, wanted: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let all = checks(look.job);
    let chosen = all.iter().filter(|check| wanted(check.name()));
    chosen
        .map(|check| {
            let mut finding = check.run(look, cancel);
            finding.what = look.job.delivery.masks.mask(&finding.what);
            finding.next = look.job.delivery.masks.mask(&finding.next);
            finding
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
