//! What must be there before a run, and what must hold before its first byte.

use crate::catalog::{BackupRecord, Catalog, catch_up, is_archive_or_sidecar};
use crate::disk::{filesystem, free_bytes};
use crate::job::{Job, MEMORY};
use crate::logical::Plan;
use crate::overview::moment;
use crate::proof::sweep_leftovers;
use crate::publish::{self, HeldLease, adopt_at_lease};
use crate::retain;
use crate::run::{BackupError, Run};
use crate::state::file::sweep_state;
use crate::state::restore_mark::{LivingRestore, unfinished};
use crate::state::{RunLock, StateDir, permissions};
use hubvault_model::{ByteSize, Warning, counted};
use hubvault_postgres::{Snapshot, directory_bytes, remove_empty_clusters};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::path::{Path, PathBuf};

/// What must be there before a run.
pub(super) struct Prepared {
    pub(super) state: StateDir,
    pub(super) catalog: Catalog,
    /// Earlier runs whose process crashed before it notified anybody.
    pub(super) notification_pending: Vec<BackupRecord>,
    /// What they left behind.
    pub(super) swept: Vec<PathBuf>,
    /// What others can read or replace, and restores that did not end well.
    pub(super) warnings: Vec<Warning>,
    /// Held until the run ends.
    pub(super) lease: Option<HeldLease>,
}

/// Takes the run lock, makes the catalog current and removes leftovers of crashed runs.
pub(super) fn prepare(job: &Job, run: &Run) -> Result<(Prepared, RunLock), BackupError> {
    let state = StateDir::open(job.state_root())?;
    let lock = RunLock::take(&state, run.id, &run.work)?;
    permissions::close_all(state.path());
    sweep_state(state.path());
    let catalog = Catalog::open(&state)?.of_job(&job.name, &job.destinations);
    let found = catch_up(&catalog, job.local_directory(), true, run.started_at)?;
    found.warn_unreadable();
    let day_ago = run.started_at - SignedDuration::from_hours(24);
    not_made_yet(job, run, &catalog)?;
    let mut notification_pending = catalog.notification_pending(&job.name, day_ago)?;
    notification_pending.retain(|record| !run.request.failed_attempts.contains(&record.id));
    let swept = publish::sweep(job.local_directory(), &state)?;
    publish::remove_rejected(job.local_directory(), run.started_at);
    // The next drill would do it, too, and may be weeks away.
    // In memory also where drills do not run there any more: what is left takes memory until the machine starts again.
    let memory = job.proof.memory.as_deref().unwrap_or(Path::new(MEMORY));
    for directory in [&*job.proof.directory, memory] {
        sweep_leftovers(directory);
    }
    let mut warnings = exposed(job)?;
    warnings.extend(after_restore(job, &state, &run.zone));
    // Last: nothing but the run follows, and waiting for it may take long.
    let lease = HeldLease::take(job, run)?;
    if lease.is_some() {
        // Meanwhile another machine may have made this run.
        adopt_at_lease(job, &catalog, &run.cancel)?;
        not_made_yet(job, run, &catalog).inspect_err(|_| prune(job, run, &catalog))?;
    }
    let prepared = Prepared {
        state,
        catalog,
        notification_pending,
        swept,
        warnings,
        lease,
    };
    Ok((prepared, lock))
}

/// Fails where the run that is due was made.
fn not_made_yet(job: &Job, run: &Run, catalog: &Catalog) -> Result<(), BackupError> {
    let Some(due) = run.request.due else {
        return Ok(());
    };
    match catalog.made_since(&job.name, due, Timestamp::now())? {
        Some(made) => Err(BackupError::AlreadyMade { id: made.id, due }),
        None => Ok(()),
    }
}

/// Removes what the machine that made the run removed: only then the record of this one is true.
fn prune(job: &Job, run: &Run, catalog: &Catalog) {
    let now = Timestamp::now();
    let decide = || retain::plan(catalog, job, false, now, &run.zone);
    let pruned = retain::decided(catalog, &job.destinations, decide, &run.zone, false)
        .and_then(|decided| retain::apply(catalog, decided, now, &run.zone));
    match pruned {
        Ok(applied) => {
            for problem in applied.problems {
                tracing::warn!("{problem}");
            }
        }
        Err(error) => tracing::warn!("could not apply retention: {error}"),
    }
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

/// The backup is proven of what is there, which may be a part of what was there before.
fn after_restore(job: &Job, state: &StateDir, zone: &TimeZone) -> Vec<Warning> {
    let warned = |what: String| Warning::new("unfinished-restore", &job.database.dbname, what);
    let unfinished = match unfinished(state) {
        Ok(unfinished) => unfinished,
        Err(error) => {
            return vec![warned(format!(
                "could not look for unfinished restores: {error}"
            ))];
        }
    };
    let warning = |(restore, is_at_work): (LivingRestore, bool)| {
        let how = if is_at_work {
            "while a restore changes the database"
        } else {
            "after a restore that did not end well"
        };
        let (backup, began) = (restore.backup, moment(restore.began_at, zone));
        let what = format!(
            "this backup was taken {how} (of {backup}, began at {began}); it may hold less than the backups before it"
        );
        warned(what)
    };
    unfinished.into_iter().map(warning).collect()
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

/// Fails where a backup has no room. Empty clusters that drills keep on the same disk are removed for it.
pub(super) fn make_space(job: &Job, needed: u64) -> Result<(), BackupError> {
    let enough = enough_space(job.spool(), needed, 0);
    let Some(kept) = kept_clusters(job).filter(|_| enough.is_err()) else {
        return enough;
    };
    match remove_empty_clusters(kept) {
        Ok(()) => tracing::info!(
            "removed the empty clusters in {}, as the backup needs their room",
            kept.display()
        ),
        Err(error) => tracing::warn!("could not remove {}: {error}", kept.display()),
    }
    enough_space(job.spool(), needed, 0)
}

/// How much [`make_space`] would make free.
pub(super) fn removable_bytes(job: &Job) -> u64 {
    let kept = kept_clusters(job).map(directory_bytes);
    kept.and_then(Result::ok).unwrap_or_default()
}

/// Where drills keep empty clusters, if that is on the disk of the archives.
fn kept_clusters(job: &Job) -> Option<&Path> {
    let kept = job.proof.empty_clusters.as_deref()?;
    let is_same = filesystem(kept).ok()? == filesystem(job.spool()).ok()?;
    is_same.then_some(kept)
}

/// The same, which removes nothing, where so much could be made free.
pub(super) fn enough_space(
    directory: &Path,
    needed: u64,
    removable: u64,
) -> Result<(), BackupError> {
    let free = free_bytes(directory)
        .map_err(BackupError::io("asking for free space of", directory))?
        .saturating_add(removable);
    if free < needed {
        return Err(BackupError::NoSpace {
            directory: directory.to_owned(),
            needed: ByteSize(needed),
            free: ByteSize(free),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::tests::job;
    use std::fs::{DirBuilder, create_dir};
    use std::os::unix::fs::DirBuilderExt;

    #[test]
    fn empty_clusters_give_way_to_a_backup_that_needs_their_room() {
        let root = tempfile::tempdir().unwrap();
        let kept = root.path().join("kept");
        DirBuilder::new().mode(0o700).create(&kept).unwrap();
        let cluster = kept.join("new-cluster");
        create_dir(&cluster).unwrap();
        std::fs::write(cluster.join("wal"), vec![7; 1 << 20]).unwrap();
        let mut job = job(root.path());
        job.proof.empty_clusters = Some(kept);
        assert!(removable_bytes(&job) >= 1 << 20);
        make_space(&job, 1).unwrap();
        assert!(cluster.exists());
        let error = make_space(&job, u64::MAX).unwrap_err();
        assert!(matches!(error, BackupError::NoSpace { .. }), "{error}");
        assert!(!cluster.exists());
    }
}
