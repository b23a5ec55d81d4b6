//! `hubvault prune`, `pin` and `unpin`: which archives stay.

use super::Exit;
use crate::answer;
use crate::text::{Align, columns, in_zone, local, print};
use anyhow::{Context, Result, bail};
use clap::Args;
use hubvault_config::Settings;
use hubvault_engine::catalog;
use hubvault_engine::catalog::{Catalog, CopyState, Pin};
use hubvault_engine::job::{Destination, Job};
use hubvault_engine::publish;
use hubvault_engine::retain::{self, MissingCopy, Pruned};
use hubvault_engine::state::RunLock;
use hubvault_model::{BackupId, ByteSize, Cancel};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

/// `hubvault prune`
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Print every decision and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Apply the rules even if the newest run failed, for example because the disk is full
    #[arg(long, alias = "even-though-the-last-run-failed")]
    pub(crate) after_failed_run: bool,
    /// Remove nothing; accept that archives were removed by hand
    #[arg(long)]
    pub(crate) gone: bool,
}

/// Decides, prints, and unless it is a dry run, removes.
pub(crate) fn run(settings: &Settings, args: &PruneArgs) -> Result<Exit> {
    let job = settings.job();
    let catalog = catalog::current(job)?;
    // Not beside a run, which prunes at its end.
    let _lock = RunLock::take(catalog.state(), BackupId::random(), &Cancel::new())?;
    let now = Timestamp::now();
    if args.gone {
        return missing(&catalog, &job.name, args, now);
    }
    let zone = &settings.zone;
    publish::adopt(job, &catalog, &Cancel::new())
        .context("could not look for what is there, so that retention removed nothing")?;
    let decide = || retain::plan(&catalog, job, args.after_failed_run, now, zone);
    let decided = retain::decided(&catalog, &job.destinations, decide, zone, args.dry_run)?;
    let plan = &decided.plan;
    if answer::is_json() {
        answer::json(&plan.iter().map(as_json).collect::<Vec<_>>())?;
    } else if plan.is_empty() {
        print(&format!(
            "no archives in {}\n",
            job.local_directory().display()
        ))?;
    } else {
        print(&plan_text(job, plan, zone))?;
    }
    if args.dry_run {
        return Ok(warn(&decided.problems));
    }
    let applied = retain::apply(&catalog, decided, now, zone)?;
    for locked in &applied.locked {
        tracing::info!("{locked}");
    }
    let mut problems = applied.problems;
    let (removed, failed) = retain::remove_rejected(job.local_directory(), now)?;
    for path in removed {
        tracing::info!(
            "removed {}, an old archive that failed its proof",
            path.display()
        );
    }
    problems.extend(failed);
    Ok(warn(&problems))
}

fn warn(problems: &[String]) -> Exit {
    for problem in problems {
        tracing::warn!("{problem}");
    }
    if problems.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    }
}

/// Prints which archives are missing, and unless it is a dry run, accepts it.
fn missing(catalog: &Catalog, job: &str, args: &PruneArgs, now: Timestamp) -> Result<Exit> {
    let missing = retain::missing(catalog, job)?;
    if answer::is_json() {
        answer::json(&missing.copies.iter().map(missing_json).collect::<Vec<_>>())?;
    } else if missing.copies.is_empty() {
        print("no archive is missing\n")?;
    } else {
        let verb = if args.dry_run { "would be" } else { "is" };
        for lost in &missing.copies {
            let (id, state) = (lost.record.id.short(), state_of(lost));
            let place = place_of(lost);
            print(&format!(
                "{place} (backup {id}) is {state}; this {verb} accepted\n"
            ))?;
        }
    }
    for what in &missing.unclear {
        tracing::warn!("{what}");
    }
    if !args.dry_run {
        retain::accept_missing(catalog, &missing.copies, now)?;
    }
    Ok(if missing.unclear.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

fn is_damaged(lost: &MissingCopy) -> bool {
    lost.copy()
        .is_some_and(|copy| copy.state == CopyState::Damaged)
}

fn state_of(lost: &MissingCopy) -> &'static str {
    if is_damaged(lost) {
        "damaged"
    } else {
        "missing"
    }
}

/// Its path, or its key and destination.
fn place_of(lost: &MissingCopy) -> String {
    let copy = lost.copy();
    let path = copy.and_then(|copy| copy.path());
    path.map_or_else(
        || {
            let key = copy.map_or("", |copy| copy.key.as_str());
            format!("{key} at {}", lost.destination)
        },
        |path| path.display().to_string(),
    )
}

fn missing_json(lost: &MissingCopy) -> serde_json::Value {
    let reason = if is_damaged(lost) {
        "the file is damaged, and hubvault did not change it"
    } else {
        "the file is missing, and hubvault did not remove it"
    };
    json!({
        "id": lost.record.id, "destination": lost.destination,
        "file": lost.copy().and_then(|copy| copy.path()), "decision": "gone", "reason": reason,
    })
}

fn word(pruned: &Pruned) -> &'static str {
    if pruned.decision.keep {
        "keep"
    } else {
        "remove"
    }
}

/// A table; one for each destination where there are several.
fn plan_text(job: &Job, plan: &[Pruned], zone: &TimeZone) -> String {
    if job.destinations.others().is_empty() {
        return table(plan.iter(), zone);
    }
    let one = |destination: &Destination| {
        let name = &destination.name;
        let here = plan.iter().filter(|it| it.destination == *name);
        format!("{name}: {}\n{}", destination.location, table(here, zone))
    };
    let all: Vec<String> = job.destinations.configured().map(one).collect();
    all.join("\n")
}

fn table<'a>(plan: impl Iterator<Item = &'a Pruned>, zone: &TimeZone) -> String {
    let rows: Vec<Vec<String>> = plan
        .map(|pruned| {
            vec![
                word(pruned).to_owned(),
                pruned.record.id.short(),
                local(pruned.record.started_at, zone),
                pruned.record.state.as_str().to_owned(),
                pruned
                    .record
                    .bytes
                    .map_or_else(String::new, |bytes| ByteSize(bytes).to_string()),
                pruned.decision.reason.clone(),
            ]
        })
        .collect();
    let started = in_zone("started", zone);
    let header = [
        ("", Align::Left),
        ("id", Align::Left),
        (started.as_str(), Align::Left),
        ("state", Align::Left),
        ("size", Align::Right),
        ("reason", Align::Wrap),
    ];
    columns(&header, &rows)
}

fn as_json(pruned: &Pruned) -> serde_json::Value {
    json!({
        "id": pruned.record.id,
        "destination": pruned.destination,
        "file": pruned.copy().and_then(|copy| copy.path()),
        "decision": word(pruned),
        "reason": pruned.decision.reason,
    })
}

/// Pins or unpins one backup.
pub(crate) fn pin(settings: &Settings, backup: &str, pinned: bool) -> Result<Exit> {
    let job = settings.job();
    let catalog = catalog::current(job)?;
    let Some(record) = catalog.find(backup)? else {
        bail!(
            "no backup {backup:?} in {}; `hubvault list` lists them",
            job.local_directory().display()
        );
    };
    if pinned && !record.is_kept() {
        bail!(
            "backup {} has no archive that could be kept; `hubvault list` shows which exist",
            record.id.short()
        );
    }
    let reason = "hubvault pin";
    let unstored = retain::pin(job, &catalog, &record, pinned.then(|| Pin::now(reason)))?;
    for pin in &unstored {
        tracing::warn!(
            "{}: {}; the next run or hubvault copies sync tries again",
            pin.destination,
            pin.problem
        );
    }
    let exit = if unstored.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    };
    if answer::is_json() {
        answer::json(&json!({ "id": record.id, "file": record.file(), "pinned": pinned }))?;
        return Ok(exit);
    }
    let what = if pinned {
        "is kept, whatever the rules say"
    } else {
        "is subject to the rules again"
    };
    print(&format!("backup {} {what}\n", record.id.short()))?;
    Ok(exit)
}
