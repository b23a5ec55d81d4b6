//! `hubvault copies sync`: what a destination does not have is copied there.

use super::Exit;
use crate::text::print;
use crate::{answer, progress, signals};
use anyhow::{Result, bail};
use hubvault_config::Settings;
use hubvault_engine::catalog::Catalog;
use hubvault_engine::job::LOCAL;
use hubvault_engine::publish::{self, AbsentCopy, Copier, CopyOutcome, Copying, find_absent};
use hubvault_model::{Cancel, counted};
use serde_json::json;

/// Looks for what is not there any more, and copies it with all else that is missing.
pub(super) fn sync(
    settings: &Settings,
    catalog: &Catalog,
    only: Option<&str>,
    no_progress: bool,
) -> Result<Exit> {
    let job = settings.job();
    if job.destinations.others().is_empty() {
        bail!(
            "there is no destination to copy to; set BACKUP_DESTINATIONS or add a [[destination]] (docs/destinations.md)"
        );
    }
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let absent = find_absent(job, catalog, only, &cancel)?;
    let mut is_wrong = !absent.problems.is_empty();
    for problem in &absent.problems {
        tracing::warn!("{problem}");
    }
    let copier = Copier {
        job,
        catalog,
        zone: &settings.zone,
        cancel: &cancel,
        progress: progress::choose(no_progress),
        limit: None,
        only,
        lease: None,
    };
    let outcomes = copier.copy(Copying::Everything)?;
    if !job.destinations.keeps_local() {
        for problem in publish::leave_spool(job, catalog)? {
            tracing::warn!("{problem}");
        }
    }
    is_wrong |= outcomes.iter().any(|it| it.error.is_some());
    let is_wanted = |name: &str| {
        let failed = |it: &CopyOutcome| it.destination == name && !it.is_stored;
        only.is_none_or(|only| only == name) && !outcomes.iter().any(failed)
    };
    if !cancel.is_requested() {
        // A destination that cannot be used is found out by this where nothing is to be copied.
        for problem in publish::remove_unfinished(job, catalog, &is_wanted) {
            is_wrong = true;
            tracing::warn!("{problem}");
        }
    }
    if answer::is_json() {
        let of = |outcome: &CopyOutcome| {
            json!({
                "id": outcome.backup, "destination": outcome.destination, "copied": outcome.is_stored,
                "found": outcome.was_there, "was_missing": find(&absent.copies, outcome).is_some(), "error": outcome.error,
            })
        };
        answer::json(&outcomes.iter().map(of).collect::<Vec<_>>())?;
    } else {
        outcomes.iter().for_each(warn_of);
        print(&text(&absent.copies, &outcomes))?;
    }
    Ok(if is_wrong { Exit::Warnings } else { Exit::Done })
}

/// Says what is wrong with a copy.
pub(super) fn warn_of(outcome: &CopyOutcome) {
    if let Some(problem) = outcome.problem() {
        tracing::warn!("{problem}");
    }
}

fn find<'a>(absent: &'a [AbsentCopy], outcome: &CopyOutcome) -> Option<&'a AbsentCopy> {
    let is_it =
        |it: &&AbsentCopy| it.backup == outcome.backup && it.destination == outcome.destination;
    absent.iter().find(is_it)
}

/// A line for each destination at which copies were missing, then one for all.
fn text(absent: &[AbsentCopy], outcomes: &[CopyOutcome]) -> String {
    let mut out = String::new();
    let mut names: Vec<&str> = absent.iter().map(|it| it.destination.as_str()).collect();
    names.dedup();
    for name in names {
        for (is_damaged, word) in [(false, "missing"), (true, "damaged")] {
            let is_such = |it: &AbsentCopy| it.destination == name && it.is_damaged == is_damaged;
            let lost = absent.iter().filter(|it| is_such(it)).count();
            let again = |it: &&CopyOutcome| it.is_stored && find(absent, it).is_some_and(is_such);
            let again = outcomes.iter().filter(again).count();
            out += &match (lost, again) {
                (0, _) => continue,
                (1, 1) => format!("{name}: 1 copy was {word}: made again\n"),
                (lost, again) if lost == again => {
                    format!("{name}: {lost} copies were {word}: made again\n")
                }
                (1, _) => format!("{name}: 1 copy was {word}: not made again\n"),
                (lost, again) => {
                    format!("{name}: {lost} copies were {word}: {again} made again\n")
                }
            };
        }
    }
    let is_back = |it: &&CopyOutcome| it.destination == LOCAL && it.is_stored && !it.was_there;
    let back = outcomes.iter().filter(is_back).count() as u64;
    if back > 0 {
        out += &format!(
            "{LOCAL}: {} brought back from copies elsewhere\n",
            counted(back, "archive")
        );
    }
    let failed = outcomes.iter().filter(|it| !it.is_stored).count();
    let found = (outcomes.iter())
        .filter(|it| it.is_stored && it.was_there)
        .count();
    let made = counted((outcomes.len() - failed - found) as u64, "copy");
    let found = match found {
        0 => String::new(),
        found => format!(", {found} found there"),
    };
    out + &format!("{made} made{found}, {failed} failed\n")
}
