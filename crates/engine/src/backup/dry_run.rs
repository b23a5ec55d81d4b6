//! What a run would do.

use super::prepare::{enough_space, exposed};
use crate::job::Job;
use crate::logical::{Plan, files};
use crate::run::BackupError;
use hubvault_model::{Cancel, Warning};
use hubvault_postgres::{Definitions, Snapshot};

/// Decides what a run would do, and touches nothing.
pub fn plan(job: &Job, cancel: &Cancel) -> Result<(Plan, Vec<Warning>), BackupError> {
    let mut snapshot = Snapshot::open(&job.database, job.lock_timeout, cancel)?;
    let programs = Definitions::can_be_taken(&job.database, snapshot.info())?;
    let plan = Plan::make(&mut snapshot, job)?;
    let files = files::read(&job.files, job.local_directory(), job.archive.compression())?;
    let mut warnings = plan.warnings.clone();
    warnings.extend(
        programs
            .iter()
            .map(|m| Warning::new("pg_dump", "schema", m)),
    );
    warnings.extend(files.warnings);
    if job.local_directory().is_dir() {
        warnings.extend(exposed(job)?);
    }
    if job.local_directory().is_dir()
        && let Err(error) = enough_space(job.spool(), plan.estimated_bytes())
    {
        warnings.push(Warning::new(
            "no-space",
            job.local_directory().display(),
            error.to_string(),
        ));
    }
    Ok((plan, warnings))
}
