//! One backup, from the snapshot to the published archive.

mod error;
mod lock;
mod scope;
mod references;
mod closure;
mod plan;
mod extent;
mod files;
mod definitions;
mod pace;
mod export;
mod restore_script;
mod report;
mod output;
mod write;
mod publish;
mod settle;
mod limit;
mod twice;
mod state;
mod child;
mod sources;
mod hooks;

pub use error::BackupError;
pub use extent::{Extent, PlannedTable};
pub use lock::RunLock;
pub use plan::{Plan, describe_coverage};
pub use publish::Published;
pub use references::References;
pub use state::{current_catalog, state_directory};

use crate::catalog::{BackupRecord, Catalog, DeliveryRecord, catch_up};
use crate::deliver::Teller;
use crate::disk::free_bytes;
use crate::job::Job;
use crate::modes;
use crate::progress::{Progress, Stage, Stopwatch};
use crate::proof::{
    CheckedArchive, DrillError, WrittenArchive, integrity, is_due, judge, sweep_dead,
};
use crate::state_file::sweep_state;
use definitions::Dumping;
use hooks::Stages;
use hubvault_archive::{Compression, SEALED_ENDING};
use hubvault_model::{BackupId, ByteSize, Cancel, CancelGuard, Warning};
use hubvault_postgres::{Definitions, Snapshot};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use limit::Limit;
use publish::Partial;
use settle::{failed, settle, tell};
use sources::Sources;
use state::{exposed, record_anyway, remember_role, say_unlisted};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use write::Gathered;

/// One run: who asks, when, and who watches.
pub struct Run {
    /// The backup's id.
    pub id: BackupId,
    /// When it began.
    pub started_at: Timestamp,
    /// The zone of the moment in the archive's name.
    pub zone: TimeZone,
    /// How it is stopped.
    pub cancel: Cancel,
    /// How its work is stopped, up to the archive's name: with the run, or when it takes too long.
    pub(crate) work: Cancel,
    _follows: CancelGuard,
    /// Ends the process of a run that took too long and cannot be stopped otherwise.
    pub give_up: fn(&BackupError),
    /// Who hears of its progress.
    pub progress: Arc<Stopwatch>,
    /// The last lines of its log, for the mail that says that it failed.
    pub log: fn() -> Vec<String>,
    /// The moment for which a schedule asks for it; a run that began since stands for it.
    pub due: Option<Timestamp>,
    /// Failed tries of the same run, of which nobody was told.
    pub earlier_tries: Vec<BackupId>,
    /// After what it is tried again where it fails; then nobody is told of this failure.
    pub tried_again_in: Option<Duration>,
    unfinished: Mutex<Option<PathBuf>>,
}

impl Run {
    /// A new run that begins now.
    pub fn new(zone: TimeZone, cancel: Cancel, progress: Arc<dyn Progress>) -> Self {
        let work = Cancel::new();
        let follower = work.clone();
        Self {
            id: BackupId::random(),
            started_at: Timestamp::now(),
            zone,
            _follows: cancel.on_request(move || follower.request()),
            cancel,
            work,
            give_up: |_| (),
            progress: Arc::new(Stopwatch::new(progress)),
            log: Vec::new,
            due: None,
            earlier_tries: Vec::new(),
            tried_again_in: None,
            unfinished: Mutex::new(None),
        }
    }

    /// Removes what the run has written so far, and records that it was stopped. For the last moment of
    /// a process that cannot wait for its threads any longer.
    pub fn abandon(&self, job: &Job) {
        self.remove_unfinished();
        limit::stopped(job, self);
    }

    fn remove_unfinished(&self) {
        let path = self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(path) = path {
            // The process ends now; what stays is swept by the next run.
            let _ = fs::remove_file(path);
        }
    }

    fn is_too_long(&self) -> bool {
        self.work.is_requested() && !self.cancel.is_requested()
    }

    fn writes_to(&self, path: Option<PathBuf>) {
        *self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = path;
    }
}

/// Takes one backup: plans it, exports it in one snapshot, reads it back, proves it, publishes it,
/// removes what no rule keeps, and tells those who must know.
///
/// Returns the record that the catalog keeps, with everything that was wrong; an `Err` means that
/// nothing was published, and the catalog and every channel of delivery say so, too.
pub fn run(job: &Job, run: &Run) -> Result<BackupRecord, BackupError> {
    let mut stages = Stages::new(job, run);
    let begun = BackupRecord::begun(run.id, &job.name, run.started_at);
    let (prepared, lock) = match prepare(job, run) {
        Ok(prepared) => prepared,
        Err(error) => {
            if !error.is_of_another_run() {
                let record = failed(job, run, stages, &error);
                // What it failed at may leave the catalog alone.
                let catalog = record_anyway(job, &record);
                if run.tried_again_in.is_none() {
                    tell(job, run, catalog.as_ref(), &record, Some(&error));
                }
            }
            return Err(error);
        }
    };
    let catalog = &prepared.catalog;
    let recorded = catalog.begin(&begun).map_err(BackupError::from);
    let taken = recorded.and_then(|()| {
        Teller::new(job, Some(catalog), &run.zone, &run.cancel).begins(&begun);
        stages.begin()?;
        std::thread::scope(|scope| {
            let _limit = Limit::start(scope, job, run);
            // A mistake of ours must be told like any other failure.
            let taken = catch_unwind(AssertUnwindSafe(|| take(job, run, catalog, &mut stages)));
            taken.unwrap_or_else(|panic| Err(BackupError::panicked(&*panic)))
        })
    });
    let taken = taken.map_err(|error| {
        if error.is_cancelled() && run.is_too_long() {
            let limit = job.time_limit;
            return BackupError::TooLong { limit };
        }
        error
    });
    let outcome = match taken {
        Ok(published) => Ok(settle(job, run, &prepared, stages, published)),
        Err(error) => {
            let mut record = failed(job, run, stages, &error);
            if error.is_cancelled() {
                // Whoever stopped it knows.
                record.delivery = Some(DeliveryRecord::default());
            }
            if let Err(unrecorded) = catalog.finish(&record) {
                tracing::warn!("the catalog does not know that this run failed: {unrecorded}");
            }
            Err((record, error))
        }
    };
    // Telling may take its time: it holds up no other run.
    drop(lock);
    let outcome = match outcome {
        Ok(mut record) => {
            let told = tell(job, run, Some(catalog), &record, None);
            record.delivery = Some(told.record.clone());
            record.warnings.extend(told.warnings());
            Ok(record)
        }
        Err((record, error)) => {
            if !error.is_cancelled() && run.tried_again_in.is_none() {
                tell(job, run, Some(catalog), &record, Some(&error));
            }
            Err(error)
        }
    };
    if run.tried_again_in.is_none() {
        settle::tries_are_told(catalog, &run.earlier_tries);
    }
    for earlier in &prepared.untold {
        tell(job, run, Some(catalog), earlier, None);
    }
    outcome
}

/// What must be there before a run.
struct Prepared {
    state: PathBuf,
    catalog: Catalog,
    /// Earlier runs of which nobody heard, as their process died.
    untold: Vec<BackupRecord>,
    /// What they left behind.
    swept: Vec<PathBuf>,
    /// What others can read or replace.
    exposed: Vec<Warning>,
}

fn prepare(job: &Job, run: &Run) -> Result<(Prepared, RunLock), BackupError> {
    let state = state_directory(&job.directory)?;
    let lock = RunLock::take(&state, run.id)?;
    modes::close_all(&state);
    sweep_state(&state);
    let catalog = Catalog::open(&state)?;
    let found = catch_up(&catalog, &job.directory, true, run.started_at)?;
    say_unlisted(&found);
    let day_ago = run.started_at - SignedDuration::from_hours(24);
    if let Some(due) = run.due
        && let Some(made) = catalog.made_since(&job.name, due)?
    {
        return Err(BackupError::AlreadyMade { id: made.id, due });
    }
    let mut untold = catalog.untold(&job.name, day_ago)?;
    untold.retain(|record| !run.earlier_tries.contains(&record.id));
    let swept = publish::sweep(&job.directory)?;
    // The next drill would do it, too, and may be weeks away.
    sweep_dead(&job.proof.directory);
    let prepared = Prepared {
        state,
        catalog,
        untold,
        swept,
        exposed: exposed(&job.directory)?,
    };
    Ok((prepared, lock))
}

/// Decides what a run would do, and touches nothing.
pub fn plan(job: &Job, cancel: &Cancel) -> Result<(Plan, Vec<Warning>), BackupError> {
    let mut snapshot = Snapshot::open(&job.database, job.lock_timeout, cancel)?;
    let programs = Definitions::can_be_taken(&job.database, snapshot.info())?;
    let plan = Plan::make(&mut snapshot, job)?;
    let files = files::read(&job.files, compression(job))?;
    let mut warnings = plan.warnings.clone();
    warnings.extend(
        programs
            .iter()
            .map(|m| Warning::new("pg_dump", "schema", m)),
    );
    warnings.extend(files.warnings);
    if job.directory.is_dir() {
        warnings.extend(exposed(&job.directory)?);
    }
    if job.directory.is_dir()
        && let Err(error) = enough_space(&job.directory, plan.estimated_bytes())
    {
        warnings.push(Warning::new(
            "no-space",
            job.directory.display(),
            error.to_string(),
        ));
    }
    Ok((plan, warnings))
}

fn take(
    job: &Job,
    run: &Run,
    catalog: &Catalog,
    stages: &mut Stages<'_>,
) -> Result<Published, BackupError> {
    // Before the snapshot, which holds up others for as long as it is there.
    let mut sources = Sources::default();
    if !job.sources.is_empty() {
        stages.enter(Stage::Sources, None)?;
        sources = sources::capture(job, run)?;
    }
    stages.enter(Stage::Snapshot, None)?;
    let mut snapshot = Snapshot::open(&job.database, job.lock_timeout, &run.work)?;
    let twice = twice::is_wanted(job, &snapshot)?;
    let dumping = Dumping::start(&job.database, snapshot.info(), twice, &run.work);
    stages.enter(Stage::Plan, None)?;
    let plan = Plan::make(&mut snapshot, job)?;
    remember_role(&plan, job, catalog);
    refuse_blind_spots(&plan, job)?;
    enough_space(&job.directory, plan.estimated_bytes() + sources.bytes())?;
    stages.enter(Stage::Files, None)?;
    let files = files::read(&job.files, compression(job))?;
    let (partial, file) = Partial::create(&job.directory, &ending(job), run.started_at, &run.zone)?;
    run.writes_to(Some(partial.path()));
    stages.enter(Stage::Export, Some(plan.estimated_bytes()))?;
    let gathered = Gathered {
        plan: &plan,
        dumping,
        sources,
        files,
    };
    let written = write::write(job, run, &mut snapshot, gathered, file, &partial.path())
        .map_err(|error| error.of_file(&partial.path()))?;
    if twice {
        twice::confirm(&plan, &mut snapshot, job)?;
    }
    // The source is free again: locks, and what VACUUM may remove. The rest needs only the file.
    drop(snapshot);
    stages.enter(Stage::Integrity, Some(written.bytes))?;
    let checked = check(written, job, run)?;
    let last_drill = catalog.last_drill(&job.name)?;
    let due = is_due(job.proof.when, last_drill, Timestamp::now());
    if due {
        stages.enter(Stage::Drill, None)?;
    }
    let path = partial.path();
    let judged = match judge(
        checked,
        &path,
        &job.proof,
        job.workers,
        due,
        run.progress.as_ref(),
        &run.work,
    ) {
        Ok(judged) => judged,
        Err(DrillError::Rejected { why }) => {
            // Setting it aside may fail for reasons of its own.
            tracing::error!("the archive does not withstand the drill: {why}");
            let path = publish::reject(partial)?;
            run.writes_to(None);
            return Err(BackupError::Rejected { why, path });
        }
        Err(error) => return Err(error.into()),
    };
    stages.enter(Stage::Publish, None)?;
    let published = publish::publish(partial, judged)?;
    run.writes_to(None);
    stages.published();
    Ok(published)
}

fn check(written: WrittenArchive, job: &Job, run: &Run) -> Result<CheckedArchive, BackupError> {
    let progress = Arc::clone(&run.progress);
    let tell = move |bytes| progress.advance(None, 0, bytes);
    Ok(integrity::check(
        written,
        job.limits,
        job.workers,
        &tell,
        &run.work,
    )?)
}

/// What the archive's name ends with, without the first dot.
fn ending(job: &Job) -> String {
    let sealed = if job.seal.is_empty() {
        ""
    } else {
        SEALED_ENDING
    };
    format!("{}{sealed}", job.archive.codec.extension())
}

fn compression(job: &Job) -> Compression {
    Compression {
        codec: job.archive.codec,
        level: job.archive.level,
    }
}

fn refuse_blind_spots(plan: &Plan, job: &Job) -> Result<(), BackupError> {
    if plan.privileges.is_empty() {
        return Ok(());
    }
    let statements: Vec<String> = plan
        .privileges
        .iter()
        .map(|p| format!("  {}", p.statement))
        .collect();
    Err(BackupError::Privileges {
        role: job.database.user.clone(),
        statements: statements.join("\n"),
    })
}

/// COPY text compresses to a third or so; half of the tables' size is asked for, so that a backup
/// is refused when it would surely fail and not when it might.
fn enough_space(directory: &Path, estimated: u64) -> Result<(), BackupError> {
    let needed = estimated / 2;
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
