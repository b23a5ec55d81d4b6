//! `hubvault backup`: takes one backup, or says what it would take.

use super::Exit;
use super::plan::{plan_json, plan_text, warnings_text};
use super::proof::proof_lines;
use super::seal::sealed_text;
use crate::answer::{self, Kind};
use crate::progress::{self, Of};
use crate::text::{self, duration, paragraph, plain, print};
use crate::{failure, signals};
use anyhow::Result;
use clap::Args;
use hubvault_config::Settings;
use hubvault_engine::backup;
use hubvault_engine::catalog::{BackupRecord, Catalog, State, Undelivered};
use hubvault_engine::job::Job;
use hubvault_engine::logical::coverage_of_plan;
use hubvault_engine::run::{BackupError, Run, RunRequest};
use hubvault_engine::state::progress_file::ProgressFile;
use hubvault_engine::state::{StateDir, StateError};
use hubvault_model::{BackupId, ByteSize, Cancel, counted, indented};
use hubvault_service::child::RunResult;
use hubvault_service::logging;
use serde_json::{Value, json};
use std::sync::Arc;

/// `hubvault backup`
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Print the plan and touch nothing
    #[arg(long)]
    dry_run: bool,
    /// No progress bar and no progress lines
    #[arg(long)]
    no_progress: bool,
}

/// Runs the command and says how it ended.
pub(crate) fn run(settings: &Settings, args: &BackupArgs) -> Result<Exit> {
    log_notices(settings);
    if args.dry_run {
        return dry_run(settings.job());
    }
    let request = RunRequest::by_hand();
    let id = request.id;
    let record = match take_for(settings, request, args.no_progress) {
        Ok(record) => record,
        Err(error) => {
            let more = json!({ "backup": recorded(settings, id) });
            return Ok(Exit::Code(failure::report_with(&error, more)));
        }
    };
    let printed = if answer::is_json() {
        // For the person behind the program that reads the JSON.
        record
            .warnings
            .iter()
            .for_each(|warning| tracing::warn!("{warning}"));
        answer::json(&record)
    } else {
        print(&record_text(&record))
    };
    if let Err(error) = printed {
        // The archive is there all the same.
        tracing::warn!("could not write the report to standard output: {error}");
        return Ok(Exit::Warnings);
    }
    Ok(exit_of(&record))
}

/// The record of a run that failed, unless it was not recorded either.
fn recorded(settings: &Settings, id: BackupId) -> Option<BackupRecord> {
    let state = StateDir::of(settings.job().state_root());
    if !state.path().is_dir() {
        return None;
    }
    let catalog = Catalog::open(&state).ok()?;
    catalog.find(&id.to_string()).ok().flatten()
}

fn dry_run(job: &Job) -> Result<Exit> {
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let (plan, warnings) = backup::plan(job, &cancel)?;
    if answer::is_json() {
        answer::json(&plan_json(job, &plan, &warnings))?;
    } else {
        print(&plan_text(job, &plan, &warnings))?;
    }
    Ok(if warnings.is_empty() && plan.privileges.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

/// What a run would take now, for the service.
pub(crate) fn planned(job: &Job) -> Result<Value> {
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let (plan, _) = backup::plan(job, &cancel)?;
    Ok(json!({
        "tables": coverage_of_plan(&plan, &job.scope),
        "grants": plan.grants(&job.database.user),
    }))
}

/// Takes the backup that the service asked for. The report goes to the service's log.
pub(crate) fn run_requested(settings: &Settings, request: RunRequest) -> RunResult {
    log_notices(settings);
    match take_for(settings, request, false) {
        Ok(record) => {
            record_text(&record)
                .lines()
                .filter(|line| !line.is_empty())
                .for_each(|line| tracing::info!("{line}"));
            match exit_of(&record) {
                Exit::Done => RunResult::Proven,
                _ => RunResult::Warnings,
            }
        }
        Err(error) => {
            let (text, cause) = (logging::masked(&text::chain(&error)), error.downcast_ref());
            match cause {
                Some(BackupError::AlreadyMade { .. }) => {
                    tracing::info!("{text}");
                    RunResult::AlreadyDone
                }
                Some(
                    BackupError::State(StateError::Locked { .. }) | BackupError::LeaseHeld { .. },
                ) => {
                    tracing::warn!("{text}");
                    RunResult::Locked
                }
                _ => {
                    tracing::error!("{text}");
                    RunResult::Failed
                }
            }
        }
    }
}

fn log_notices(settings: &Settings) {
    for notice in &settings.notices {
        tracing::warn!("{notice}");
    }
}

/// Makes the requested run, with its log and its progress where other processes find them.
fn take_for(settings: &Settings, request: RunRequest, no_progress: bool) -> Result<BackupRecord> {
    let mut job = Arc::clone(settings.job());
    let mut progress = progress::choose_for(settings, Of::Backup, no_progress);
    if !request.notify {
        let delivery = &mut Arc::make_mut(&mut job).delivery;
        delivery.mail = None;
        delivery.channels.clear();
        delivery.missing = None;
    }
    let cancel = Cancel::new();
    if !job.state_root().exists() {
        let progress = Arc::clone(&progress);
        let first = Run::new(
            request.clone(),
            settings.zone.clone(),
            cancel.clone(),
            progress,
        );
        let _signals = signals::watch(cancel.clone(), || {})?;
        backup::reach_first(&job, &first)?;
    }
    // A directory that cannot be created fails the run, which notifies the recipients.
    if let Ok(state) = StateDir::open(job.state_root()) {
        logging::of_run(request.id, &state);
        progress = Arc::new(ProgressFile::new(progress, &state, request.id, &job.name));
    }
    let run = Run::new(request, settings.zone.clone(), cancel, progress);
    take(&job, run)
}

/// One backup with the signals watched while it runs.
pub(crate) fn take(job: &Arc<Job>, mut run: Run) -> Result<BackupRecord> {
    run.log = logging::recent;
    run.give_up = give_up;
    let run = Arc::new(run);
    let (last_resort, of) = (Arc::clone(&run), Arc::clone(job));
    let _signals = signals::watch(run.cancel.clone(), move || {
        backup::abandon(&of, &last_resort);
    })?;
    Ok(backup::run(job, &run)?)
}

/// What a run that hangs has to say at last; the threads that wait end with the process.
fn give_up(error: &BackupError) {
    let text = indented(&logging::masked(&error.to_string()));
    text::complain(&format!("error: {text}"));
    answer::failed(Kind::Failed, &text, 1, json!({}));
    std::process::exit(1);
}

/// 0 only for what is proven and without a warning.
pub(crate) fn exit_of(record: &BackupRecord) -> Exit {
    if record.state == State::Proven && record.warnings.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    }
}

/// The result of a run, for people.
pub(crate) fn record_text(record: &BackupRecord) -> String {
    let mut out = String::new();
    if let (Some(file), Some(bytes)) = (record.file(), record.bytes) {
        out += &format!("{}  {}\n", file.display(), ByteSize(bytes));
    }
    let took = record.finished_at.map_or_else(String::new, |end| {
        format!(" in {}", duration(record.started_at, end))
    });
    let files = record.files.iter();
    let files = files.filter(|file| !file.name.ends_with('/'));
    out += &format!(
        "backup {}: {}, {}, {}{took}\n",
        record.id.short(),
        counted(record.tables.len() as u64, "table"),
        counted(record.rows(), "row"),
        counted(files.count() as u64, "file"),
    );
    if let Some(outside) = &record.outside {
        out += &paragraph(&format!("not inside: {}", plain(outside.text(record.id))));
    }
    out += &sealed_text(&record.sealed_to, true);
    out += &proof_lines(&record.proof);
    out += &paragraph_of(&delivery_text(record));
    if let Some(error) = &record.error {
        out += &format!("error: {}\n", indented(error));
    }
    out + &warnings_text(&record.warnings)
}

/// A line as wide as the terminal; empty text stays empty.
fn paragraph_of(line: &str) -> String {
    if line.is_empty() {
        String::new()
    } else {
        paragraph(line)
    }
}

/// Who was notified, in a line; empty text where nobody was to be.
fn delivery_text(record: &BackupRecord) -> String {
    let Some(delivery) = &record.delivery else {
        return String::new();
    };
    let attachment = match delivery.attachment.as_str() {
        "" => String::new(),
        words => match words.strip_prefix("not attached: ") {
            Some(why) => format!("; archive not attached ({why})"),
            None => format!("; the archive: {words}"),
        },
    };
    match (
        delivery.notified.as_slice(),
        delivery.undelivered.as_slice(),
    ) {
        ([], []) => String::new(),
        (notified, []) => format!("notified {}{attachment}\n", notified.join(", ")),
        ([], undelivered) => format!("UNDELIVERED: {} not notified\n", names(undelivered)),
        (notified, undelivered) => format!(
            "notified {}{attachment}; UNDELIVERED to {}\n",
            notified.join(", "),
            names(undelivered)
        ),
    }
}

fn names(undelivered: &[Undelivered]) -> String {
    let names: Vec<&str> = undelivered.iter().map(|one| one.to.as_str()).collect();
    names.join(", ")
}
