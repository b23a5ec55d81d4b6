//! The state directory: the record of runs, and who may get at it.

use super::error::BackupError;
use super::lock::RunLock;
use super::plan::Plan;
use crate::catalog::{BackupRecord, Catalog, Rebuilt, catch_up, is_archive_or_sidecar};
use crate::job::Job;
use crate::modes;
use crate::state_file::check_state;
use hubvault_model::Warning;
use jiff::Timestamp;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The catalog of a backup directory, which says what is there: runs that died are closed where no run is at work,
/// and archives that no record names are added.
pub fn current_catalog(directory: &Path) -> Result<Catalog, BackupError> {
    let state = state_directory(directory)?;
    let catalog = Catalog::open(&state)?;
    if catalog.is_read_only() {
        tracing::warn!(
            "{} can only be read; what is listed is as it was written last",
            state.display()
        );
        return Ok(catalog);
    }
    let lock = RunLock::for_a_moment(&state);
    let found = catch_up(&catalog, directory, lock.is_some(), Timestamp::now())?;
    say_unlisted(&found);
    Ok(catalog)
}

pub(super) fn say_unlisted(found: &Rebuilt) {
    for (path, error) in &found.unreadable {
        tracing::warn!("{} is not listed: {error}", path.display());
    }
}

/// `<directory>/.hubvault`, made when it is not there. One that another user can write is refused.
pub fn state_directory(directory: &Path) -> Result<PathBuf, BackupError> {
    let state = directory.join(".hubvault");
    let is_new = !state.exists();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&state)
        .map_err(BackupError::io("making the state directory", &state))?;
    check_state(&state)?;
    if is_new {
        modes::say_owner(directory);
    }
    modes::close_directory(&state);
    Ok(state)
}

/// Records a run that failed before it had a catalog, where that can be done after all.
pub(super) fn record_anyway(job: &Job, record: &BackupRecord) -> Option<Catalog> {
    let open = || {
        let catalog = Catalog::open(&state_directory(&job.directory)?)?;
        catalog.finish(record)?;
        Ok::<_, BackupError>(catalog)
    };
    match open() {
        Ok(catalog) => Some(catalog),
        Err(error) => {
            tracing::warn!("this run is listed nowhere, and nobody is told again: {error}");
            None
        }
    }
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

/// What others can read or replace of a backup directory.
pub(super) fn exposed(directory: &Path) -> Result<Vec<Warning>, BackupError> {
    modes::look(directory, is_archive_or_sidecar)
        .map_err(BackupError::io("looking at who may read", directory))
}
