//! One backup, from the snapshot to the published archive.

mod error;
mod lock;
mod scope;
mod references;
mod plan;
mod extent;
mod files;
mod export;
mod restore_script;
mod report;
mod publish;

pub use error::BackupError;
pub use extent::{Extent, PageRange, PlannedTable};
pub use lock::RunLock;
pub use plan::{Plan, describe_coverage};
pub use publish::Published;
pub use references::References;

use crate::catalog::{BackupRecord, Catalog};
use crate::job::Job;
use crate::progress::{Progress, Stage};
use crate::proof::{CheckedArchive, WrittenArchive, integrity};
use files::Files;
use hubvault_archive::{
    ArchiveWriter, Compression, EntryBuilder, EntryKind, EntryMeta, FORMAT_VERSION, LeftOut,
    Manifest, ScopeInfo, SequenceState, SnapshotInfo, TableSummary, Tool,
};
use hubvault_model::{BackupId, ByteSize, Cancel, Warning};
use hubvault_postgres::{SchemaDump, Snapshot, SnapshotFacts, dump_schema};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use publish::Partial;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a backup of this version is never called proven.
pub const NOT_DRILLED: &str = "not drilled yet";

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
    /// Who hears of its progress.
    pub progress: Arc<dyn Progress>,
    unfinished: Mutex<Option<PathBuf>>,
}

impl Run {
    /// A new run that begins now.
    pub fn new(zone: TimeZone, cancel: Cancel, progress: Arc<dyn Progress>) -> Self {
        Self {
            id: BackupId::random(),
            started_at: Timestamp::now(),
            zone,
            cancel,
            progress,
            unfinished: Mutex::new(None),
        }
    }

    /// Removes what the run has written so far. For the last moment of a process that cannot wait
    /// for its threads any longer.
    pub fn abandon(&self) {
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

    fn writes_to(&self, path: Option<PathBuf>) {
        *self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = path;
    }
}

/// Takes one backup: plans it, exports it in one snapshot, reads it back, publishes it.
///
/// Returns the record that the catalog keeps, with everything that was wrong; an `Err` means that
/// nothing was published, and the catalog says so too.
pub fn run(job: &Job, run: &Run) -> Result<BackupRecord, BackupError> {
    let state = state_directory(&job.directory)?;
    let _lock = RunLock::take(&state, run.id)?;
    let catalog = Catalog::open(&state)?;
    catalog.close_dead_runs(run.started_at)?;
    let swept = publish::sweep(&job.directory)?;
    catalog.begin(&BackupRecord::begun(run.id, &job.name, run.started_at))?;
    match take(job, run) {
        Ok(published) => {
            let mut record =
                BackupRecord::published(&published.manifest, &published.path, published.bytes);
            record.unproven(NOT_DRILLED);
            for path in swept {
                tracing::info!("removed {}, left by a run that died", path.display());
            }
            catalog.finish(&record)?;
            publish::write_marks(&job.directory, record.started_at, published.bytes)?;
            Ok(record)
        }
        Err(error) => {
            let record = BackupRecord::failed(run.id, &job.name, run.started_at, &error);
            catalog.finish(&record)?;
            Err(error)
        }
    }
}

/// Decides what a run would do, and touches nothing.
pub fn plan(job: &Job, cancel: &Cancel) -> Result<(Plan, Vec<Warning>), BackupError> {
    let mut snapshot = Snapshot::open(&job.database, job.lock_timeout, cancel)?;
    let plan = Plan::make(&mut snapshot, job)?;
    let files = files::read(&job.files, compression(job))?;
    let mut warnings = plan.warnings.clone();
    warnings.extend(files.warnings);
    if job.directory.is_dir()
        && let Err(error) = enough_space(&job.directory, &plan)
    {
        warnings.push(Warning::new(
            "no-space",
            job.directory.display(),
            error.to_string(),
        ));
    }
    Ok((plan, warnings))
}

fn take(job: &Job, run: &Run) -> Result<Published, BackupError> {
    let progress = run.progress.as_ref();
    progress.stage(Stage::Snapshot, None);
    let mut snapshot = Snapshot::open(&job.database, job.lock_timeout, &run.cancel)?;
    progress.stage(Stage::Plan, None);
    let plan = Plan::make(&mut snapshot, job)?;
    refuse_blind_spots(&plan, job)?;
    enough_space(&job.directory, &plan)?;
    progress.stage(Stage::Files, None);
    let files = files::read(&job.files, compression(job))?;
    progress.stage(Stage::Schema, None);
    let skipped = &plan.references.skipped;
    let schema = dump_schema(&job.database, &plan.snapshot, skipped, &run.cancel)?;
    let (partial, file) =
        Partial::create(&job.directory, job.archive.codec, run.started_at, &run.zone)?;
    run.writes_to(Some(partial.path()));
    progress.stage(Stage::Export, Some(plan.estimated_bytes()));
    let written = write(
        job,
        run,
        &mut snapshot,
        &plan,
        schema,
        files,
        file,
        &partial,
    )?;
    progress.stage(Stage::Integrity, Some(written.bytes));
    let checked = check(written, job, run)?;
    progress.stage(Stage::Publish, None);
    let published = publish::publish(partial, checked)?;
    run.writes_to(None);
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
        &run.cancel,
    )?)
}

/// `<directory>/.hubvault`, made when it is not there.
pub fn state_directory(directory: &Path) -> Result<PathBuf, BackupError> {
    let state = directory.join(".hubvault");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&state)
        .map_err(BackupError::io("making the state directory", &state))?;
    Ok(state)
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
fn enough_space(directory: &Path, plan: &Plan) -> Result<(), BackupError> {
    let needed = plan.estimated_bytes() / 2;
    let stat = rustix::fs::statvfs(directory)
        .map_err(|e| BackupError::io("asking for free space of", directory)(e.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < needed {
        return Err(BackupError::NoSpace {
            directory: directory.to_owned(),
            needed: ByteSize(needed),
            free: ByteSize(free),
        });
    }
    Ok(())
}

#[expect(
    clippy::too_many_arguments,
    reason = "one call; each is another stage's result"
)]
fn write(
    job: &Job,
    run: &Run,
    snapshot: &mut Snapshot,
    plan: &Plan,
    schema: SchemaDump,
    files: Files,
    file: File,
    partial: &Partial,
) -> Result<WrittenArchive, BackupError> {
    let compression = compression(job);
    let mut warnings = plan.warnings.clone();
    warnings.extend(files.warnings);
    warnings.extend(
        schema
            .messages
            .iter()
            .map(|m| Warning::new("pg_dump", "schema", m)),
    );
    for warning in &warnings {
        run.progress.warning(warning);
    }
    let mut writer = ArchiveWriter::new(file, compression);
    let text = Texts {
        compression,
        at: plan.snapshot.taken_at,
    };
    let info = report::backup_info(job, run.id, plan, &files.summaries, &warnings);
    writer.append(text.pack("BACKUP_INFO.txt", EntryKind::Info, 0o644, info.as_bytes())?)?;
    for (name, kind, bytes) in [
        ("database/schema.dump", EntryKind::Schema, schema.custom),
        (
            "database/schema-pre-data.sql",
            EntryKind::Schema,
            schema.pre_data,
        ),
        (
            "database/schema-post-data.sql",
            EntryKind::Schema,
            schema.post_data,
        ),
        (
            "database/schema-post-data.list",
            EntryKind::Schema,
            schema.post_data_list,
        ),
        (
            "database/foreign-keys.sql",
            EntryKind::ForeignKeys,
            restore_script::foreign_keys_sql(&plan.references.statements).into_bytes(),
        ),
        (
            "database/sequences.sql",
            EntryKind::Sequences,
            restore_script::sequences_sql(&plan.sequences).into_bytes(),
        ),
    ] {
        writer.append(text.pack(name, kind, 0o600, &bytes)?)?;
    }
    for entry in files.packed {
        writer.append(entry)?;
    }
    let writer = Mutex::new(writer);
    let progress = run.progress.as_ref();
    let tables = export::export(
        plan,
        &snapshot.invitation(),
        &writer,
        compression,
        job.workers,
        progress,
        &run.cancel,
    )?;
    // The locks were this session's: had it died, a table could have been rewritten under us,
    // and a rewritten table looks empty to an older snapshot (PostgreSQL manual, "Caveats" of
    // chapter 13, Concurrency Control).
    snapshot.check_held()?;
    let mut writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
    let script = restore_script::restore_script(plan, &tables);
    writer.append(text.pack(
        "restore.sh",
        EntryKind::RestoreScript,
        0o755,
        script.as_bytes(),
    )?)?;
    let manifest = manifest(job, run, plan, tables, files.summaries, warnings);
    let (file, manifest) = writer.finish(manifest)?;
    let path = partial.path();
    file.sync_all()
        .map_err(BackupError::io("making durable", &path))?;
    let bytes = file
        .metadata()
        .map_err(BackupError::io("measuring", &path))?
        .len();
    Ok(WrittenArchive {
        path,
        manifest,
        bytes,
    })
}

/// Packs the small entries that are made in memory.
struct Texts {
    compression: Compression,
    at: Timestamp,
}

impl Texts {
    fn pack(
        &self,
        name: &str,
        kind: EntryKind,
        mode: u32,
        bytes: &[u8],
    ) -> Result<hubvault_archive::PackedEntry, BackupError> {
        let mut builder = EntryBuilder::new(self.compression);
        builder.write(bytes)?;
        let name = name.to_owned();
        let meta = EntryMeta {
            name,
            kind,
            mode,
            mtime: self.at,
            link: None,
            rows: None,
        };
        Ok(builder.finish(meta)?)
    }
}

fn manifest(
    job: &Job,
    run: &Run,
    plan: &Plan,
    tables: Vec<TableSummary>,
    files: Vec<hubvault_archive::FileSummary>,
    warnings: Vec<Warning>,
) -> Manifest {
    let mut left_out = plan.references.left_out.clone();
    left_out.extend(plan.outside.iter().map(|name| LeftOut {
        name: name.clone(),
        estimated_rows: None,
        reason: "not in the scope".to_owned(),
    }));
    let words = |patterns: &[hubvault_model::TablePattern]| {
        patterns.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    Manifest {
        format_version: FORMAT_VERSION,
        id: run.id,
        job: job.name.clone(),
        tool: Tool {
            name: "hubvault".into(),
            version: env!("CARGO_PKG_VERSION").into(),
        },
        started_at: run.started_at,
        finished_at: Timestamp::now(),
        codec: job.archive.codec,
        snapshot: snapshot_info(&plan.snapshot),
        scope: ScopeInfo {
            tables: words(&job.scope.tables),
            exclude: words(&job.scope.exclude),
            windows: job
                .scope
                .windows
                .iter()
                .map(|w| words(&w.tables).join(", "))
                .collect(),
        },
        tables,
        sequences: plan
            .sequences
            .iter()
            .map(|s| SequenceState {
                name: s.name.clone(),
                last_value: s.last_value,
                is_called: s.is_called,
            })
            .collect(),
        left_out,
        not_valid: plan.references.not_valid.clone(),
        files,
        warnings,
        entries: Vec::new(),
    }
}

fn snapshot_info(facts: &SnapshotFacts) -> SnapshotInfo {
    SnapshotInfo {
        id: facts.id.clone(),
        lsn: facts.lsn.clone(),
        taken_at: facts.taken_at,
        database: facts.database.clone(),
        server_version: facts.server_version.clone(),
        server_version_num: facts.server_version_num,
        standby: facts.standby,
        system_identifier: facts.system_identifier.clone(),
    }
}
