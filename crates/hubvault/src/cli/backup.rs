//! `hubvault backup`: takes one backup, or says what it would take.

use super::Exit;
use super::seal::sealed_text;
use crate::config::Settings;
use crate::logging;
use crate::progress::{self, file::Published};
use crate::signals;
use crate::text::{self, Align, about, columns, duration, grouped, plain, print};
use anyhow::Result;
use clap::Args;
use hubvault_engine::backup::{self, BackupError, Plan, Run, describe_coverage, state_directory};
use hubvault_engine::catalog::{BackupRecord, ProofRecord, State, Untold};
use hubvault_engine::job::{Job, ProofWhen};
use hubvault_model::{BackupId, ByteSize, Cancel, Warning, indented};
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// `hubvault backup`
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Print the plan and touch nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// No progress bar and no progress lines
    #[arg(long)]
    no_progress: bool,
    #[command(flatten)]
    scheduled: ScheduledArgs,
}

/// What the service says about a run that it starts.
#[derive(Debug, Default, Args)]
struct ScheduledArgs {
    /// The id of the run
    #[arg(long, hide = true)]
    run_id: Option<BackupId>,
    /// When it was due; a run that began since stands for it
    #[arg(long, hide = true)]
    due: Option<Timestamp>,
    /// An earlier try of the same run
    #[arg(long = "earlier-try", hide = true)]
    earlier_tries: Vec<BackupId>,
    /// After how many seconds it is tried again where it fails
    #[arg(long, hide = true)]
    tried_again_in: Option<u64>,
    /// Nobody is told
    #[arg(long, hide = true)]
    untold: bool,
}

/// Runs the command and says how it ended.
pub(crate) fn run(settings: &Settings, args: &BackupArgs) -> Result<Exit> {
    let mut job = settings.job();
    let cancel = Cancel::new();
    if args.dry_run {
        let _signals = signals::watch(cancel.clone(), || {})?;
        let (plan, warnings) = backup::plan(&job, &cancel)?;
        let text = if args.json {
            serde_json::to_string_pretty(&plan_json(&job, &plan, &warnings))? + "\n"
        } else {
            plan_text(&job, &plan, &warnings)
        };
        print(&text)?;
        return Ok(if warnings.is_empty() {
            Exit::Done
        } else {
            Exit::Warnings
        });
    }
    let scheduled = &args.scheduled;
    let id = scheduled.run_id.unwrap_or_else(BackupId::random);
    let mut progress = progress::choose(args.no_progress);
    // A directory that cannot be made is the run's to complain about, as it tells those who must know.
    if let Ok(state) = state_directory(&job.directory) {
        logging::of_run(id, &state);
        progress = Arc::new(Published::new(progress, &state, id, &job.name));
    }
    let mut run = Run::new(settings.zone.clone(), cancel, progress);
    run.id = id;
    run.due = scheduled.due;
    run.earlier_tries.clone_from(&scheduled.earlier_tries);
    run.tried_again_in = scheduled.tried_again_in.map(Duration::from_secs);
    if scheduled.untold {
        job.delivery.mail = None;
        job.delivery.channels.clear();
        job.delivery.missing = None;
    }
    let record = match take(&job, run) {
        Ok(record) => record,
        Err(error) => return stands_aside(args, error),
    };
    if scheduled.run_id.is_some() {
        record_text(&record)
            .lines()
            .filter(|line| !line.is_empty())
            .for_each(|line| tracing::info!("{line}"));
    }
    let text = if args.json {
        // For the person behind the program that reads the JSON.
        record
            .warnings
            .iter()
            .for_each(|warning| tracing::warn!("{warning}"));
        serde_json::to_string_pretty(&record)? + "\n"
    } else {
        record_text(&record)
    };
    if let Err(error) = print(&text) {
        // The archive is there all the same.
        tracing::warn!("could not write the report to standard output: {error}");
        return Ok(Exit::Warnings);
    }
    Ok(exit_of(&record))
}

/// One backup with the signals watched while it runs.
pub(crate) fn take(job: &Job, mut run: Run) -> Result<BackupRecord> {
    run.log = logging::recent;
    run.give_up = give_up;
    let run = Arc::new(run);
    let (last_resort, of) = (Arc::clone(&run), job.clone());
    let _signals = signals::watch(run.cancel.clone(), move || last_resort.abandon(&of))?;
    Ok(backup::run(job, &run)?)
}

/// What a run that hangs has to say at last; the threads that wait end with the process.
fn give_up(error: &BackupError) {
    let text = indented(&logging::masked(&error.to_string()));
    text::complain(&format!("error: {text}"));
    std::process::exit(1);
}

/// A run that the schedule asks for waits for another at work, and is not needed where one was made; by
/// hand both are errors.
fn stands_aside(args: &BackupArgs, error: anyhow::Error) -> Result<Exit> {
    match error.downcast_ref() {
        Some(BackupError::AlreadyMade { .. }) => {
            tracing::info!("nothing to do: {error}");
            Ok(Exit::Done)
        }
        Some(BackupError::Locked { .. }) if args.scheduled.due.is_some() => {
            tracing::info!("{error}");
            Ok(Exit::Busy)
        }
        _ if args.scheduled.run_id.is_some() => {
            // In the form of the service's log.
            tracing::error!("{}", logging::masked(&text::chain(&error)));
            Ok(Exit::Failing)
        }
        _ => Err(error),
    }
}

/// 0 only for what is proven and without a warning.
pub(crate) fn exit_of(record: &BackupRecord) -> Exit {
    if record.state == State::Proven && record.warnings.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    }
}

/// What a run would do, for people.
pub(crate) fn plan_text(job: &Job, plan: &Plan, warnings: &[Warning]) -> String {
    let mut out = format!(
        "Plan for {} (PostgreSQL {}, database {})\n\n",
        job.name,
        plain(&plan.snapshot.server_version),
        plain(&plan.snapshot.database)
    );
    let rows: Vec<Vec<String>> = plan
        .tables
        .iter()
        .map(|table| {
            vec![
                table.name.to_string(),
                about(table.estimated_rows),
                ByteSize(table.estimated_bytes).to_string(),
                table.extents.to_string(),
                describe_coverage(table),
            ]
        })
        .collect();
    let header = [
        ("table", Align::Left),
        ("rows (about)", Align::Right),
        ("size (about)", Align::Right),
        ("extents", Align::Right),
        ("rows taken", Align::Left),
    ];
    out += &columns(&header, &rows);
    out += &format!(
        "\n  {} tables, {} extents, about {} on {} connections; {} sequences; the definitions of \
         the whole database\n",
        plan.tables.len(),
        plan.extents.len(),
        ByteSize(plan.estimated_bytes()),
        job.workers,
        plan.sequences.len()
    );
    out += "\nFiles\n";
    for file in &job.files {
        let required = if file.required { " (required)" } else { "" };
        out += &format!("  {} -> {}{required}\n", file.source.display(), file.name);
    }
    out += &commands_text(job);
    out += &left_out_text(plan);
    if !plan.privileges.is_empty() {
        out += "\nPrivileges missing; run as a superuser or the owner:\n";
        for privilege in &plan.privileges {
            out += &format!("  {}\n", plain(&privilege.statement));
        }
    }
    if !job.seal.is_empty() {
        let keys: Vec<String> = job.seal.iter().map(ToString::to_string).collect();
        out += &format!("\nThe archive is {}", sealed_text(&keys, true));
    }
    if job.proof.when != ProofWhen::Off {
        let place = job.proof.directory.display();
        out += &format!(
            "\nDrill: {}, in {place}, for at most {} s\n",
            job.proof.when.as_str(),
            job.proof.time_limit.as_secs()
        );
    }
    out + &warnings_text(warnings) + "\nNothing was written (dry run).\n"
}

fn commands_text(job: &Job) -> String {
    let mut out = String::new();
    if !job.sources.is_empty() {
        out += "\nSources\n";
    }
    for source in &job.sources {
        let command = source.command.to_string();
        let optional = if source.required { "" } else { " (optional)" };
        out += &format!("  {command} -> {}{optional}\n", source.name);
    }
    if !job.hooks.is_empty() {
        out += "\nHooks\n";
    }
    for hook in &job.hooks {
        let command = hook.command.to_string();
        let (when, stage) = (hook.when.as_str(), hook.stage_text());
        out += &format!("  {when} {stage}: {command}\n");
    }
    out
}

fn left_out_text(plan: &Plan) -> String {
    let mut out = String::from("\nLeft out (comes back empty)\n");
    for left in &plan.references.left_out {
        let rows = about(left.estimated_rows);
        let (name, reason) = (plain(&left.name), plain(&left.reason));
        out += &format!("  {name}, about {rows} rows, {reason}\n");
    }
    let others: Vec<String> = plan.outside.iter().map(plain).collect();
    if !others.is_empty() {
        out += &format!("  {}\n", others.join(", "));
    }
    if plan.references.left_out.is_empty() && others.is_empty() {
        out += "  nothing: every table is in\n";
    }
    if !plan.references.not_valid.is_empty() {
        out += "\nForeign keys that come back NOT VALID\n";
        for key in &plan.references.not_valid {
            let (name, table, reason) = (plain(&key.name), plain(&key.table), plain(&key.reason));
            out += &format!("  {name} on {table}: {reason}\n");
        }
    }
    out
}

/// All warnings, in words; empty text for none.
pub(crate) fn warnings_text(warnings: &[Warning]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let mut out = format!("\nWarnings ({})\n", warnings.len());
    for warning in warnings {
        out += &format!("  ! {}\n", text::entry(warning));
    }
    out
}

/// What came of a run, for people.
pub(crate) fn record_text(record: &BackupRecord) -> String {
    let mut out = String::new();
    if let (Some(file), Some(bytes)) = (&record.file, record.bytes) {
        out += &format!("{}  {}\n", file.display(), ByteSize(bytes));
    }
    let took = record.finished_at.map_or_else(String::new, |end| {
        format!(" in {}", duration(record.started_at, end))
    });
    out += &format!(
        "backup {}: {} tables, {} rows, {} files{took}\n",
        record.id.short(),
        record.tables.len(),
        grouped(record.rows()),
        record
            .files
            .iter()
            .filter(|file| !file.name.ends_with('/'))
            .count(),
    );
    out += &sealed_text(&record.sealed_to, true);
    out += &proof_text(&record.proof);
    out += &delivery_text(record);
    if let Some(error) = &record.error {
        out += &format!("error: {}\n", indented(error));
    }
    out + &warnings_text(&record.warnings)
}

/// Who was told, in a line; empty text where nobody was to be.
fn delivery_text(record: &BackupRecord) -> String {
    let Some(delivery) = &record.delivery else {
        return String::new();
    };
    let attachment = match delivery.attachment.as_str() {
        "" => String::new(),
        words => format!("; the archive: {words}"),
    };
    match (delivery.told.as_slice(), delivery.untold.as_slice()) {
        ([], []) => String::new(),
        (told, []) => format!("told {}{attachment}\n", told.join(", ")),
        ([], untold) => format!("UNDELIVERED: {} not told\n", names(untold)),
        (told, untold) => format!(
            "told {}{attachment}; UNDELIVERED to {}\n",
            told.join(", "),
            names(untold)
        ),
    }
}

fn names(untold: &[Untold]) -> String {
    let names: Vec<&str> = untold.iter().map(|untold| untold.to.as_str()).collect();
    names.join(", ")
}

/// What was proven, in a line.
pub(crate) fn proof_text(proof: &ProofRecord) -> String {
    let shown = proof.drill.as_ref().map(|drill| {
        format!(
            "{} tables, {} rows restored and equal on PostgreSQL {} in {:.1} s",
            drill.tables,
            grouped(drill.rows),
            drill.server_version,
            drill.seconds
        )
    });
    match (&proof.reason, shown) {
        (None, Some(shown)) => format!("proven: {shown}\n"),
        (reason, shown) => {
            let reason = indented(reason.as_deref().unwrap_or("not drilled"));
            let read = if proof.read_back {
                "read back whole"
            } else {
                "not read back"
            };
            let shown = shown.map_or_else(String::new, |shown| format!("; {shown}"));
            format!("unproven: {reason}; {read}{shown}\n")
        }
    }
}

fn plan_json(job: &Job, plan: &Plan, warnings: &[Warning]) -> serde_json::Value {
    json!({
        "job": job.name,
        "snapshot": {
            "database": plan.snapshot.database,
            "server_version": plan.snapshot.server_version,
            "taken_at": plan.snapshot.taken_at,
        },
        "tables": plan.tables.iter().map(|table| json!({
            "name": table.name.to_string(),
            "coverage": table.coverage,
            "filter": table.filter,
            "estimated_rows": table.estimated_rows,
            "estimated_bytes": table.estimated_bytes,
            "extents": table.extents,
        })).collect::<Vec<_>>(),
        "estimated_bytes": plan.estimated_bytes(),
        "sequences": plan.sequences.len(),
        "files": job.files.iter().map(|file| json!({
            "source": file.source, "name": file.name, "required": file.required,
        })).collect::<Vec<_>>(),
        "sources": job.sources.iter().map(|source| json!({
            "name": source.name, "required": source.required,
            "command": source.command.to_string(),
        })).collect::<Vec<_>>(),
        "hooks": job.hooks.iter().map(|hook| json!({
            "stage": hook.stage_text(), "when": hook.when.as_str(), "fails": hook.fails,
            "command": hook.command.to_string(),
        })).collect::<Vec<_>>(),
        "left_out": plan.references.left_out,
        "outside": plan.outside.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "not_valid": plan.references.not_valid,
        "privileges": plan.privileges.iter().map(|p| &p.statement).collect::<Vec<_>>(),
        "warnings": warnings,
    })
}
