//! `hubvault backup`: takes one backup, or says what it would take.

use super::Exit;
use super::plan::{plan_json, plan_text};
use super::proof::proof_text;
use super::seal::sealed_text;
use crate::progress;
use crate::signals;
use crate::text::{self, duration, grouped, print};
use anyhow::Result;
use clap::Args;
use hubvault_config::Settings;
use hubvault_engine::backup;
use hubvault_engine::catalog::{BackupRecord, State, Untold};
use hubvault_engine::job::Job;
use hubvault_engine::run::{BackupError, Run};
use hubvault_engine::state::progress_file::ProgressFile;
use hubvault_engine::state::{StateDir, StateError};
use hubvault_model::{BackupId, ByteSize, Cancel, Warning, indented};
use hubvault_service::logging;
use jiff::Timestamp;
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
    if let Ok(state) = StateDir::open(&job.directory) {
        logging::of_run(id, &state);
        progress = Arc::new(ProgressFile::new(progress, &state, id, &job.name));
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
    let _signals = signals::watch(run.cancel.clone(), move || {
        backup::abandon(&of, &last_resort);
    })?;
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
        Some(BackupError::State(StateError::Locked { .. })) if args.scheduled.due.is_some() => {
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
