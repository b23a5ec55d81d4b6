//! What must be there before a run, and what must hold before its first byte.

use crate::catalog::{BackupRecord, Catalog, catch_up, is_archive_or_sidecar};
use crate::disk::free_bytes;
use crate::job::Job;
use crate::logical::Plan;
use crate::proof::sweep_leftovers;
use crate::publish;
use crate::run::{BackupError, Run};
use crate::state::file::sweep_state;
use crate::state::{RunLock, StateDir, permissions};
use hubvault_model::{ByteSize, Warning, counted};
use hubvault_postgres::Snapshot;
use jiff::SignedDuration;
use std::path::{Path, PathBuf};

/// What must be there before a run.
pub(super) struct Prepared {
    pub(super) state: StateDir,
    pub(super) catalog: Catalog,
    /// Earlier runs whose process crashed before it notified anybody.
    pub(super) notification_pending: Vec<BackupRecord>,
    /// What they left behind.
    pub(super) swept: Vec<PathBuf>,
    /// What others can read or replace.
    pub(super) exposed: Vec<Warning>,
}

/// Takes the run lock, makes the catalog current and removes leftovers of crashed runs.
pub(super) fn prepare(job: &Job, run: &Run) -> Result<(Prepared, RunLock), BackupError> {
    let state = StateDir::open(job.state_root())?;
    let lock = RunLock::take(&state, run.id)?;
    permissions::close_all(state.path());
    sweep_state(state.path());
    let catalog = Catalog::open(&state)?;
    let found = catch_up(&catalog, job.local_directory(), true, run.started_at)?;
    found.warn_unreadable();
    let day_ago = run.started_at - SignedDuration::from_hours(24);
    if let Some(due) = run.request.due
        && let Some(made) = catalog.made_since(&job.name, due)?
    {
        return Err(BackupError::AlreadyMade { id: made.id, due });
    }
    let mut notification_pending = catalog.notification_pending(&job.name, day_ago)?;
    notification_pending.retain(|record| !run.request.failed_attempts.contains(&record.id));
    let swept = publish::sweep(job.local_directory())?;
    publish::remove_rejected(job.local_directory(), run.started_at);
    // The next drill would do it, too, and may be weeks away.
    sweep_leftovers(&job.proof.directory);
    let prepared = Prepared {
        state,
        catalog,
        notification_pending,
        swept,
        exposed: exposed(job)?,
    };
    Ok((prepared, lock))
}

/// The job whose sessions bear the run's id in `pg_stat_activity`.
pub(super) fn named_after(job: &Job, run: &Run) -> Job {
    let mut job = job.clone();
    job.database.application_name = hubvault_postgres::name_of_run(run.id);
    job
}

/// Ends what crashed runs left on the server. Under the run lock every other run of this catalog is over.
pub(super) fn end_leftovers(snapshot: &mut Snapshot, run: &Run, catalog: &Catalog) {
    let is_over = |id| id != run.id && catalog.knows(id).unwrap_or(false);
    match hubvault_postgres::end_leftovers(snapshot.session(), is_over) {
        Ok(0) => {}
        Ok(ended) => tracing::warn!(
            "ended {} of a crashed run on the server",
            counted(ended as u64, "session")
        ),
        Err(error) => tracing::warn!("could not end what crashed runs left on the server: {error}"),
    }
}

/// What others can read or replace of a backup directory.
pub(super) fn exposed(job: &Job) -> Result<Vec<Warning>, BackupError> {
    let (directory, state) = (job.local_directory(), StateDir::of(job.state_root()));
    permissions::look(directory, state.path(), is_archive_or_sidecar)
        .map_err(BackupError::io("looking at who may read", directory))
}

/// Says in the log, and for `hubvault status`, what the role may do that a backup does not need.
pub(super) fn remember_role(plan: &Plan, job: &Job, catalog: &Catalog) {
    let problem = plan.advice.as_ref().map(|advice| advice.problem.as_str());
    if let Some(problem) = problem {
        tracing::warn!(
            "{problem}; `hubvault backup --dry-run` prints the statements for a lesser role"
        );
    }
    if let Err(error) = catalog.remember_role(&job.name, problem.unwrap_or_default()) {
        tracing::warn!("could not record what the role may do: {error}");
    }
}

/// Ends the run where the role cannot read everything.
pub(super) fn refuse_blind_spots(plan: &Plan, job: &Job) -> Result<(), BackupError> {
    if plan.privileges.is_empty() {
        return Ok(());
    }
    let statements = plan.grants(&job.database.user);
    let statements: Vec<String> = statements.iter().map(|one| format!("  {one}")).collect();
    Err(BackupError::Privileges {
        role: job.database.user.clone(),
        statements: statements.join("\n"),
    })
}

/// COPY text compresses to a third or so; half of the tables' size is asked for, so that a backup
/// is refused when it would surely fail and not when it might.
pub(super) fn needed_bytes(estimated: u64) -> u64 {
    estimated / 2
}

pub(super) fn enough_space(directory: &Path, needed: u64) -> Result<(), BackupError> {
    let free =
        free_bytes(directory).map_err(BackupError::io("asking for free space of", directory))?;
    if free < needed {
        return Err(BackupError::NoSpace {
            directory: directory.to_owned(),
            needed: ByteSize(needed),
            free: ByteSize(free),
        });
    }
    Ok(())
}
