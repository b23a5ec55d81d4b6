//! `hubvault prune`, `pin` and `unpin`: which archives stay.

use super::Exit;
use crate::answer;
use crate::text::{Align, columns, in_zone, local, print};
use anyhow::{Result, bail};
use clap::Args;
use hubvault_config::Settings;
use hubvault_engine::catalog;
use hubvault_engine::catalog::{BackupRecord, Catalog};
use hubvault_engine::retain::{self, Pruned};
use hubvault_engine::state::{RunLock, StateDir};
use hubvault_model::{BackupId, ByteSize};
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
    let state = StateDir::open(job.state_root())?;
    let catalog = catalog::current(job)?;
    // Not beside a run, which prunes at its end.
    let _lock = RunLock::take(&state, BackupId::random())?;
    let now = Timestamp::now();
    if args.gone {
        return missing(&catalog, &job.name, args, now);
    }
    let plan = retain::plan(
        &catalog,
        &job.name,
        &job.retention,
        args.after_failed_run,
        now,
        &settings.zone,
    )?;
    if answer::is_json() {
        answer::json(&plan.iter().map(as_json).collect::<Vec<_>>())?;
    } else {
        print(&plan_text(&plan, &settings.zone))?;
    }
    if args.dry_run {
        return Ok(Exit::Done);
    }
    let mut problems = retain::apply(&catalog, &job.destinations, &plan, now)?;
    let (removed, failed) = retain::remove_rejected(job.local_directory(), now)?;
    for path in removed {
        tracing::info!(
            "removed {}, an old archive that failed its proof",
            path.display()
        );
    }
    problems.extend(failed);
    for problem in &problems {
        tracing::warn!("{problem}");
    }
    Ok(if problems.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

/// Prints which archives are missing, and unless it is a dry run, accepts it.
fn missing(catalog: &Catalog, job: &str, args: &PruneArgs, now: Timestamp) -> Result<Exit> {
    let missing = retain::missing(catalog, job)?;
    let path = |record: &BackupRecord| record.file().map(ToOwned::to_owned).unwrap_or_default();
    if answer::is_json() {
        let of = |record: &BackupRecord| {
            json!({
                "id": record.id, "file": path(record), "decision": "gone",
                "reason": "the file is missing, and hubvault did not remove it",
            })
        };
        answer::json(&missing.records.iter().map(of).collect::<Vec<_>>())?;
    } else if missing.records.is_empty() {
        print("no archive is missing\n")?;
    } else {
        let verb = if args.dry_run { "would be" } else { "is" };
        for record in &missing.records {
            let (file, id) = (path(record), record.id.short());
            print(&format!(
                "{} (backup {id}) is missing; this {verb} accepted\n",
                file.display()
            ))?;
        }
    }
    for what in &missing.unclear {
        tracing::warn!("{what}");
    }
    if !args.dry_run {
        retain::accept_missing(catalog, &missing.records, now)?;
    }
    Ok(if missing.unclear.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

fn word(pruned: &Pruned) -> &'static str {
    if pruned.decision.keep {
        "keep"
    } else {
        "remove"
    }
}

fn plan_text(plan: &[Pruned], zone: &TimeZone) -> String {
    let rows: Vec<Vec<String>> = plan
        .iter()
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
        "file": pruned.record.file(),
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
    retain::pin(&catalog, &record, pinned)?;
    if answer::is_json() {
        answer::json(&json!({ "id": record.id, "file": record.file(), "pinned": pinned }))?;
        return Ok(Exit::Done);
    }
    let what = if pinned {
        "is kept, whatever the rules say"
    } else {
        "is subject to the rules again"
    };
    print(&format!("backup {} {what}\n", record.id.short()))?;
    Ok(Exit::Done)
}
