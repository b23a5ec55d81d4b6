//! What a run would do.

use super::prepare::{enough_space, exposed, needed_bytes, removable_bytes};
use crate::catalog::{Catalog, KnownTables};
use crate::job::Job;
use crate::logical::{Plan, Spared, files};
use crate::run::BackupError;
use crate::state::StateDir;
use hubvault_model::{Cancel, Warning};
use hubvault_postgres::{Definitions, Snapshot};

/// Decides what a run would do, and touches nothing.
pub fn plan(job: &Job, cancel: &Cancel) -> Result<(Plan, Vec<Warning>), BackupError> {
    let mut snapshot = Snapshot::open(&job.database, job.lock_timeout, cancel)?;
    let programs = Definitions::can_be_taken(&job.database, snapshot.info())?;
    let known = known_tables(job);
    let spared = Spared::find(&mut snapshot, &job.scope, &known)?;
    let plan = Plan::make(&mut snapshot, job, &spared)?;
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
        && let Err(error) = enough_space(
            job.spool(),
            needed_bytes(plan.estimated_bytes()),
            removable_bytes(job),
        )
    {
        warnings.push(Warning::new(
            "no-space",
            job.local_directory().display(),
            error.to_string(),
        ));
    }
    Ok((plan, warnings))
}

/// What the catalog knows, where there is one. A plan that cannot read it is made as for a first backup.
fn known_tables(job: &Job) -> KnownTables {
    let state = StateDir::of(job.state_root());
    if !state.file("catalog.sqlite").is_file() {
        return KnownTables::default();
    }
    let known = Catalog::open(&state).and_then(|catalog| catalog.known_tables(&job.name));
    known.unwrap_or_else(|error| {
        tracing::warn!("could not read which tables the backups hold: {error}");
        KnownTables::default()
    })
}
