//! Writes the archive: information and definitions, rows, and the table of contents.

use super::command_sources::Sources;
use super::file_pack::Files;
use super::output::{Output, Writer};
use super::plan::Plan;
use super::schema::Dumping;
use super::{export, info, needs, restore_script};
use crate::catalog::sidecar::Seal;
use crate::job::Job;
use crate::proof::WrittenArchive;
use crate::run::BackupError;
use crate::run::Run;
use hubvault_archive::{
    ArchiveWriter, Compression, EntryBuilder, EntryKind, EntryMeta, FORMAT_VERSION, FileSummary,
    Manifest, PackedEntry, ScopeInfo, SequenceState, SnapshotInfo, TableSummary, Tool,
};
use hubvault_model::{TablePattern, Warning};
use hubvault_postgres::{SchemaDump, Snapshot, SnapshotFacts};
use jiff::Timestamp;
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The results of the stages before.
pub(crate) struct WriteInput<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) dumping: Dumping,
    pub(crate) sources: Sources,
    pub(crate) files: Files,
}

/// Writes the whole archive into `file`, which is at `path`, sealed to the job's recipients, and makes it
/// durable.
pub(crate) fn write(
    job: &Job,
    run: &Run,
    snapshot: &mut Snapshot,
    gathered: WriteInput<'_>,
    file: File,
    path: &Path,
) -> Result<WrittenArchive, BackupError> {
    let (plan, dumping) = (gathered.plan, gathered.dumping);
    let (files, mut sources) = (gathered.files, gathered.sources);
    let text = Texts {
        compression: job.archive.compression(),
        at: plan.snapshot.taken_at,
    };
    let mut warnings = plan.warnings.clone();
    warnings.append(&mut sources.warnings);
    warnings.extend(files.warnings);
    let (output, identities) = Output::new(file, &job.seal, !job.destinations.others().is_empty())?;
    let writer = Mutex::new(ArchiveWriter::new(output, text.compression));
    let inside = info::Inside {
        files: &files.summaries,
        sources: &sources.summaries(),
    };
    let (mut pg_dump, mut masked) = (String::new(), Vec::new());
    let before_the_rows = |writer: &mut Writer| {
        let (schema, definitions) = packed_definitions(dumping, plan, job, &text)?;
        pg_dump.clone_from(&schema.pg_dump_version);
        masked.clone_from(&schema.masked);
        let warn = |said| Warning::new("pg_dump", "schema", said);
        warnings.extend(schema.messages.iter().map(warn));
        let info = info::backup_info(job, run.id, plan, &inside, &schema, &warnings);
        writer.append(text.pack("BACKUP_INFO.txt", EntryKind::Info, 0o644, info.as_bytes())?)?;
        append_definitions(writer, &text, definitions, (schema, plan))?;
        for entry in files.packed {
            writer.append(entry)?;
        }
        sources.write(writer, &run.work)
    };
    let (tables, not_compared) = export::export(
        plan,
        &snapshot.invitation(),
        &writer,
        before_the_rows,
        job,
        run.progress.as_ref(),
        &run.work,
    )?;
    // This session holds the locks: had it ended, a table could have been rewritten meanwhile,
    // and a rewritten table looks empty to an older snapshot (PostgreSQL manual, "Caveats" of
    // chapter 13, Concurrency Control).
    snapshot.check_held()?;
    let mut writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
    let said = (masked.as_slice(), not_compared.as_slice());
    append_restore_script(&mut writer, &text, plan, &tables, (&pg_dump, said))?;
    let inside = [files.summaries, sources.summaries()].concat();
    warnings.extend(not_compared);
    let mut manifest = manifest(job, run, plan, tables, inside, warnings);
    manifest.masked = masked;
    let (output, manifest) = writer.finish(manifest)?;
    let durable = (output.make_durable()).map_err(BackupError::io("making durable", path))?;
    Ok(WrittenArchive {
        path: path.to_owned(),
        manifest_sha256: manifest.sha256()?,
        bytes: durable.bytes,
        seal: seal_of(job, path, durable.sha256.as_ref())?,
        sha256: durable.sha256,
        identities,
    })
}

/// How the archive is sealed, if it is.
fn seal_of(job: &Job, path: &Path, sha256: Option<&String>) -> Result<Option<Seal>, BackupError> {
    let sealed_to: Vec<String> = job.seal.iter().map(ToString::to_string).collect();
    let sealed = sha256.filter(|_| !sealed_to.is_empty());
    let seal = sealed.map(|sha256| Seal::of(path, sealed_to, sha256.clone()));
    seal.transpose().map_err(BackupError::io("reading", path))
}

fn append_restore_script(
    writer: &mut Writer,
    text: &Texts,
    plan: &Plan,
    tables: &[TableSummary],
    (pg_dump, said): (&str, (&[String], &[Warning])),
) -> Result<(), BackupError> {
    let list = restore_script::restore_list(plan, tables, pg_dump, said);
    for (name, mode, content) in [
        ("database/restore.list", 0o600, list.as_str()),
        ("restore.sh", 0o755, restore_script::RESTORE_SCRIPT),
    ] {
        // Readers of older versions do not know other kinds.
        writer.append(text.pack(name, EntryKind::RestoreScript, mode, content.as_bytes())?)?;
    }
    Ok(())
}

/// The definitions. They are packed at once, as they are much smaller then, and the information comes before them.
fn packed_definitions(
    dumping: Dumping,
    plan: &Plan,
    job: &Job,
    text: &Texts,
) -> Result<(SchemaDump, Vec<PackedEntry>), BackupError> {
    let mut packed = Vec::new();
    let keep = |name: &str, bytes: &[u8]| {
        let name = format!("database/{name}");
        packed.push(text.pack(&name, EntryKind::Schema, 0o600, bytes)?);
        Ok::<_, BackupError>(())
    };
    let schema = dumping.finish(&plan.references.skipped, job.archive, keep)?;
    Ok((schema, packed))
}

/// Them, and the statements that are run besides.
fn append_definitions(
    writer: &mut Writer,
    text: &Texts,
    definitions: Vec<PackedEntry>,
    (schema, plan): (SchemaDump, &Plan),
) -> Result<(), BackupError> {
    for entry in definitions {
        writer.append(entry)?;
    }
    let mut late = plan.references.statements.clone();
    late.extend(needs::without_slots(&plan.needs.subscriptions));
    let foreign_keys = restore_script::foreign_keys_sql(&late);
    let sequences = restore_script::sequences_sql(&plan.sequences);
    for (name, kind, statements) in [
        // Readers of older versions do not know other kinds.
        ("properties.sql", EntryKind::Schema, schema.properties),
        ("foreign-keys.sql", EntryKind::ForeignKeys, foreign_keys),
        ("sequences.sql", EntryKind::Sequences, sequences),
    ] {
        let name = format!("database/{name}");
        writer.append(text.pack(&name, kind, 0o600, statements.as_bytes())?)?;
    }
    Ok(())
}

/// Packs the small entries that are built in memory.
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
    ) -> Result<PackedEntry, BackupError> {
        let mut builder = EntryBuilder::new(self.compression);
        builder.write(bytes)?;
        let name = name.to_owned();
        let meta = EntryMeta {
            name,
            kind,
            mode,
            owner: None,
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
    files: Vec<FileSummary>,
    warnings: Vec<Warning>,
) -> Manifest {
    let mut left_out = plan.references.left_out.clone();
    left_out.extend(plan.unreadable.iter().cloned());
    left_out.extend(plan.of_extensions.iter().cloned());
    left_out.extend(plan.outside.iter().cloned());
    let words =
        |patterns: &[TablePattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
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
        database: Some(plan.database.clone()),
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
        roles: plan.roles.clone(),
        refresh: plan.refresh.clone(),
        load_order: plan.load_order.clone(),
        masked: Vec::new(),
        needs: plan.host.clone(),
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
