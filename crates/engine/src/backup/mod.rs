//! The life of a run: prepared, taken within its time limit, recorded, notified.

mod stages;
mod prepare;
mod copy;
mod lost_rows;
mod finish;
mod time_limit;
mod dry_run;

pub use dry_run::plan;
pub use time_limit::abandon;

use crate::catalog::{BackupRecord, Catalog};
use crate::delivery::Notifier;
use crate::job::Job;
use crate::logical::{
    self, Dumping, Plan, Sources, Spared, WriteInput, command_sources, double_read, files,
};
use crate::progress::{Progress, Stage};
use crate::proof::{
    CheckedArchive, DrillError, Due, JudgedArchive, WrittenArchive, integrity, is_due, judge, shape,
};
use crate::publish::{self, HeldLease, Partial, Published};
use crate::run::{BackupError, Run};
use crate::state::notify_lock::NotifyLock;
use hubvault_postgres::{Session, Snapshot};
use jiff::Timestamp;
use prepare::{
    Prepared, end_leftovers, make_space, named_after, needed_bytes, prepare, refuse_blind_spots,
    remember_role,
};
use stages::Stages;
use std::fs::File;
use std::sync::Arc;

/// Takes one backup: plans it, exports it in one snapshot, reads it back, proves it, publishes it, removes what no rule
/// keeps, and notifies the recipients.
///
/// Returns the record that the catalog keeps, with everything that was wrong; an `Err` means that nothing was published,
/// and the catalog and every channel of delivery say so, too.
pub fn run(job: &Job, run: &Run) -> Result<BackupRecord, BackupError> {
    let job = &named_after(job, run);
    let mut stages = Stages::new(job, run);
    let (mut prepared, lock) = match prepare(job, run) {
        Ok(prepared) => prepared,
        Err(error) => return Err(finish::not_prepared(job, run, stages, error)),
    };
    let (catalog, lease) = (&prepared.catalog, prepared.lease.as_ref());
    let published = begin(job, run, catalog, &mut stages)
        .and_then(|()| time_limit::within(job, run, || take(job, run, &prepared, &mut stages)))
        .map_err(|error| match lease {
            Some(lease) => lease.in_place_of(error),
            None => error,
        });
    let outcome = finish::record(job, run, &prepared, stages, published);
    drop(prepared.lease.take());
    // Notifying may take its time: it holds up no other run, and the checks notify nobody meanwhile.
    let _notifying = NotifyLock::take(catalog.state(), &job.name, &run.cancel);
    drop(lock);
    let mut record = finish::notify_all(job, run, &prepared, outcome)?;
    copy::leave(job, catalog, &mut record);
    Ok(record)
}

/// Before a first run creates the backup directory: one that reaches no database leaves nothing behind, not even a
/// directory on the wrong disk. Nothing records that it failed; the recipients are notified.
pub fn reach_first(job: &Job, run: &Run) -> Result<(), BackupError> {
    let reached = Session::connect(&job.database, &run.work).map_err(BackupError::from);
    reached.map(drop).inspect_err(|error| {
        if !error.is_cancelled() {
            let record = finish::died_of(job, run, error);
            finish::notify(job, run, None, &record, Some(error));
        }
    })
}

/// Records the run before its first byte, and runs the hooks before it.
fn begin(
    job: &Job,
    run: &Run,
    catalog: &Catalog,
    stages: &mut Stages<'_>,
) -> Result<(), BackupError> {
    let begun = BackupRecord::begun(run.id, &job.name, run.started_at);
    catalog.begin(&begun)?;
    Notifier::new(job, Some(catalog), &run.zone, &run.cancel).started(&begun);
    stages.begin()
}

/// The way of an archive through its stages, up to the archive's name.
fn take(
    job: &Job,
    run: &Run,
    prepared: &Prepared,
    stages: &mut Stages<'_>,
) -> Result<Published, BackupError> {
    let catalog = &prepared.catalog;
    // Before the snapshot, which holds up others for as long as it is there.
    let sources = capture_sources(job, run, stages)?;
    stages.enter(Stage::Snapshot, None)?;
    let mut snapshot = Snapshot::open(&job.database, job.lock_timeout, &run.work)?;
    end_leftovers(&mut snapshot, run, catalog);
    let twice = double_read::is_wanted(job, &snapshot)?;
    let known = catalog.known_tables(&job.name)?;
    let spared = Spared::find(&mut snapshot, &job.scope, &known)?;
    let (at, without) = (snapshot.info(), spared.objects());
    let dumping = Dumping::start(&job.database, at, without, twice, &run.work);
    stages.enter(Stage::Plan, None)?;
    let plan = Plan::make(&mut snapshot, job, &spared)?;
    remember_role(&plan, job, catalog);
    refuse_blind_spots(&plan, job)?;
    let needed = needed_bytes(plan.estimated_bytes() + sources.bytes());
    run.needs(needed);
    make_space(job, needed)?;
    stages.enter(Stage::Files, None)?;
    let files = files::read(&job.files, job.local_directory(), job.archive.compression())?;
    let unfinished = create_partial(job, run, prepared.lease.as_ref())?;
    stages.enter(Stage::Export, Some(plan.estimated_bytes()))?;
    let gathered = WriteInput {
        plan: &plan,
        dumping,
        sources,
        files,
    };
    let (partial, written) = write(job, run, &mut snapshot, gathered, unfinished)?;
    if twice {
        double_read::confirm(&plan, &mut snapshot, job, &spared)?;
    }
    // The source is free again: locks, and what VACUUM may remove. The rest needs only the file.
    drop((snapshot, plan));
    stages.enter(Stage::Integrity, Some(written.bytes))?;
    let checked = check(written, job, run)?;
    let (partial, judged) = prove(job, run, catalog, stages, partial, checked)?;
    stages.enter(Stage::Publish, None)?;
    prepared.lease.as_ref().map_or(Ok(()), HeldLease::check)?;
    let published = publish::publish(partial, judged, &job.destinations)?;
    run.writes_to(None);
    stages.published();
    Ok(published)
}

fn capture_sources(job: &Job, run: &Run, stages: &mut Stages<'_>) -> Result<Sources, BackupError> {
    if job.sources.is_empty() {
        return Ok(Sources::default());
    }
    stages.enter(Stage::Sources, None)?;
    command_sources::capture(job, run)
}

/// Before the export begins, so that its hooks run only where the archive can be written.
fn create_partial(
    job: &Job,
    run: &Run,
    lease: Option<&HeldLease>,
) -> Result<(Partial, File), BackupError> {
    let ending = job.archive_ending();
    let ending = lease.map_or(ending.clone(), |lease| {
        format!("{}.{ending}", lease.number())
    });
    let (partial, file) = Partial::create(job.spool(), &ending, run.started_at, &run.zone)?;
    run.writes_to(Some(partial.path()));
    Ok((partial, file))
}

fn write(
    job: &Job,
    run: &Run,
    snapshot: &mut Snapshot,
    gathered: WriteInput<'_>,
    (partial, file): (Partial, File),
) -> Result<(Partial, WrittenArchive), BackupError> {
    let path = partial.path();
    let written = logical::write(job, run, snapshot, gathered, file, &path)
        .map_err(|error| error.of_file(&path))?;
    Ok((partial, written))
}

fn check(written: WrittenArchive, job: &Job, run: &Run) -> Result<CheckedArchive, BackupError> {
    let progress = Arc::clone(&run.progress);
    let advance = move |bytes| progress.advance(None, 0, bytes);
    Ok(integrity::check(
        written,
        job.limits,
        job.workers,
        &advance,
        &run.work,
    )?)
}

/// Drills the archive where that is due. One that does not pass is set aside.
fn prove(
    job: &Job,
    run: &Run,
    catalog: &Catalog,
    stages: &mut Stages<'_>,
    partial: Partial,
    checked: CheckedArchive,
) -> Result<(Partial, JudgedArchive), BackupError> {
    let last_drill = catalog.last_drill(&job.name)?;
    let now = Timestamp::now();
    let last_script = catalog.last_script(&job.name, &shape(checked.archive.manifest()))?;
    let due = Due {
        drill: is_due(job.proof.when, last_drill, now),
        script: is_due(job.proof.script, last_script, now),
    };
    if due.drill {
        stages.enter(Stage::Drill, None)?;
    }
    let progress = run.progress.as_ref();
    match judge(checked, &job.proof, job.workers, due, progress, &run.work) {
        Ok(judged) => Ok((partial, judged)),
        Err(DrillError::Rejected { why, .. }) => {
            // Setting it aside may fail for reasons of its own.
            tracing::error!("the archive failed the drill: {why}");
            let path = publish::reject(partial)?;
            run.writes_to(None);
            Err(BackupError::Rejected { why, path })
        }
        Err(error) => Err(error.into()),
    }
}
