//! `hubvault show` and `hubvault verify`: one archive, looked into or read back whole.

use super::Exit;
use super::drill::{disprove, drill, learn, leaves_nothing, not_opened, others, store};
use super::drill_answer::rejection_text;
use super::plan::warnings_text;
use super::proof::proof_text;
use super::seal::{IdentityArgs, sealed_text, witness};
use super::select::{FromArgs, backup_of};
use super::show_rows::{self, RowsArgs};
use crate::answer;
use crate::text::{Align, about_rows, columns, grid, grouped, paragraph, plain, print};
use crate::{progress, signals};
use anyhow::Result;
use clap::Args;
use hubvault_archive::{Coverage, Manifest};
use hubvault_config::Settings;
use hubvault_engine::catalog::{
    BackupCopy, BackupRecord, Catalog, Contents, OutsideRecord, ProofRecord,
};
use hubvault_engine::overview::copy_text;
use hubvault_engine::progress::Stage;
use hubvault_engine::proof::{ReadBack, integrity};
use hubvault_engine::remote::Backup;
use hubvault_engine::state::StateDir;
use hubvault_model::{ByteSize, Cancel, counted};
use jiff::Timestamp;
use serde_json::json;
use std::path::{Path, PathBuf};

/// `hubvault verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// An id, an unambiguous prefix of one, `latest`, a file (with a / or the ending of an archive), or a URL
    /// (`s3://bucket/prefix/latest`)
    #[arg(default_value = "latest")]
    pub(crate) backup: String,
    #[command(flatten)]
    pub(crate) from: FromArgs,
    /// Restore it into a throwaway server, too, and compare every row
    #[arg(long)]
    pub(crate) drill: bool,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// No progress bar and no progress lines
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// `hubvault show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// An id, an unambiguous prefix of one, `latest`, a file (with a / or the ending of an archive), or a URL
    /// (`s3://bucket/prefix/latest`)
    pub(crate) backup: String,
    #[command(flatten)]
    pub(crate) from: FromArgs,
    #[command(flatten)]
    pub(crate) rows: RowsArgs,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

/// Prints what an archive holds, from its manifest.
pub(crate) fn show(settings: &Settings, args: &ShowArgs) -> Result<Exit> {
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let backup = backup_of(settings, &args.from, &args.backup, &cancel)?;
    if args.rows.is_given() {
        let archive = backup.open(&args.identity.read()?)?;
        witness(settings, &archive.source().opened_by());
        return show_rows::rows(&args.rows, &archive, &cancel);
    }
    let place = backup.place();
    let known = backup.contents(&args.identity.read()?)?;
    witness(settings, &known.opened_by);
    let sealed = sealed_text(&known.sealed_to(), known.opened);
    if answer::is_json() {
        if !known.opened {
            tracing::warn!("{place}: {}", sealed.trim_end());
        }
        answer::json(&known.manifest)?;
    } else {
        let size = ByteSize(known.bytes);
        let record = recorded(settings, &known.manifest);
        // What was proven is known beside the archive; elsewhere it is not known. The record may have more details.
        let proof = known.proof.map(|proof| match &record {
            Some(record) => proof.or_same(&record.proof),
            None => proof,
        });
        let proof = proof.as_ref().map_or_else(String::new, proof_text);
        let copies = record.and_then(|record| copies_text(settings, &record));
        let copies = copies.unwrap_or_default();
        print(&format!(
            "{place}  {size}\n{sealed}{proof}{copies}{}",
            manifest_text(&known.manifest)
        ))?;
    }
    Ok(Exit::Done)
}

/// What the catalog knows of a backup; `None` where that is nothing, or it cannot be read.
fn recorded(settings: &Settings, manifest: &Manifest) -> Option<BackupRecord> {
    let job = settings.job();
    let state = StateDir::of(job.state_root());
    if !state.file("catalog.sqlite").is_file() {
        return None;
    }
    Catalog::open(&state)
        .and_then(|catalog| {
            catalog
                .of_job(&job.name, &job.destinations)
                .find(&manifest.id.to_string())
        })
        .ok()?
}

/// The copies of a backup, a line each; `None` where there is one.
fn copies_text(settings: &Settings, record: &BackupRecord) -> Option<String> {
    let row = |copy: &BackupCopy| {
        let text = copy_text(copy, record, Timestamp::now(), &settings.zone);
        vec![format!("  {}", plain(&copy.destination)), plain(text)]
    };
    let rows: Vec<Vec<String>> = record.copies.iter().map(row).collect();
    (rows.len() > 1).then(|| format!("Copies\n{}\n", grid(&rows, &[1])))
}

/// Reads an archive back whole: every member, checksum, row count and digest.
pub(crate) fn verify(settings: &Settings, args: &VerifyArgs) -> Result<Exit> {
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let backup = backup_of(settings, &args.from, &args.backup, &cancel)?;
    let identities = args.identity.read()?;
    let bar = progress::choose(args.no_progress);
    bar.stage(Stage::Integrity, backup.bytes());
    let threads = settings.job().workers;
    let tell = |n| bar.advance(None, 0, n);
    let place = PathBuf::from(backup.place());
    let read = match backup.open(&identities) {
        Err(error) if error.is_sealed() && identities.is_empty() && !args.drill => {
            // Without a key the file itself can still be compared with its sidecar.
            let known = backup.contents(&identities)?;
            let seal = known.seal.clone().ok_or(error)?;
            let source = backup.source()?;
            integrity::same_bytes(source.as_ref(), &place, &seal, &tell, &cancel)?;
            drop(bar);
            only_the_file(&place, &known, &seal.sha256)?;
            return Ok(Exit::Warnings);
        }
        opened => {
            let read = || -> Result<ReadBack> {
                let opened = opened.map_err(|error| {
                    if args.drill {
                        not_opened(error)
                    } else {
                        error.into()
                    }
                })?;
                let read = integrity::read_back_open(opened, &place, threads, &tell, &cancel);
                Ok(read?)
            };
            let noted = |error: &_| note(settings, args, &backup, error, &cancel);
            read().inspect_err(noted)?
        }
    };
    witness(settings, &read.opened_by);
    let mut proof = ProofRecord {
        read_back: true,
        ..ProofRecord::default()
    };
    let mut said = None;
    if args.drill {
        let bar = bar.as_ref();
        learn(settings);
        let done = drill(settings, &backup, &identities, bar, &cancel, &mut proof);
        let done = done.inspect_err(|error| note(settings, args, &backup, error, &cancel));
        store(settings);
        said = others(settings, done?, proof.proven);
    }
    drop(bar);
    verified(&place, &read, &proof, args.drill)?;
    if let Some(others) = &said {
        tracing::warn!("{others}");
    }
    Ok(
        if args.drill && (!leaves_nothing(&proof) || said.is_some()) {
            Exit::Warnings
        } else {
            Exit::Done
        },
    )
}

/// Records that an archive failed its drill, as `drill` does, and says what that means.
fn note(
    settings: &Settings,
    args: &VerifyArgs,
    backup: &Backup,
    error: &anyhow::Error,
    cancel: &Cancel,
) {
    if args.drill
        && !cancel.is_requested()
        && let Some(said) = disprove(settings, backup, error, cancel)
    {
        tracing::warn!("{}", rejection_text(&said).trim_end());
    }
}

fn verified(path: &Path, read: &ReadBack, proof: &ProofRecord, drilled: bool) -> Result<()> {
    let rows: u64 = read
        .manifest
        .tables
        .iter()
        .map(|table| table.digest.rows)
        .sum();
    if answer::is_json() {
        let report = json!({
            "id": read.manifest.id, "file": path, "ok": true, "checked": "whole",
            "bytes": read.bytes, "entries": read.manifest.entries.len(),
            "tables": read.manifest.tables.len(), "rows": rows, "proof": proof,
        });
        return Ok(answer::json(&report)?);
    }
    let drilled = if drilled {
        proof_text(proof)
    } else {
        String::new()
    };
    Ok(print(&format!(
        "{}: whole; {}, {}, {}, {} read, every checksum and digest equal\n{drilled}",
        path.display(),
        counted(read.manifest.entries.len() as u64, "entry"),
        counted(read.manifest.tables.len() as u64, "table"),
        counted(rows, "row"),
        ByteSize(read.bytes)
    ))?)
}

/// What is known about a sealed archive that was not opened.
fn only_the_file(path: &Path, known: &Contents, sha256: &str) -> Result<()> {
    if answer::is_json() {
        let report = json!({
            "id": known.manifest.id, "file": path, "ok": null, "checked": "file",
            "bytes": known.bytes, "entries": known.manifest.entries.len(),
            "tables": known.manifest.tables.len(), "rows": null, "proof": known.proof,
        });
        return Ok(answer::json(&report)?);
    }
    Ok(print(&format!(
        "{}: sealed and not opened; the file is the one that was published ({}, SHA-256 {sha256}).\nIts \
         contents were not checked: add --identity FILE to read it back whole.\n",
        path.display(),
        ByteSize(known.bytes)
    ))?)
}

/// A manifest for people.
pub(crate) fn manifest_text(manifest: &Manifest) -> String {
    let snapshot = &manifest.snapshot;
    let origin = format!(
        "backup {} of {}\ndatabase {} on PostgreSQL {}, as of {:.0} (WAL {})",
        manifest.id,
        plain(&manifest.job),
        plain(&snapshot.database),
        plain(&snapshot.server_version),
        snapshot.taken_at,
        plain(&snapshot.lsn)
    );
    let mut out = paragraph(&origin) + "\n";
    let rows: Vec<Vec<String>> = manifest
        .tables
        .iter()
        .map(|table| {
            vec![
                table.name.to_string(),
                grouped(table.digest.rows),
                ByteSize(table.bytes).to_string(),
                match table.coverage {
                    _ if table.extension.is_some() => "the user's rows".to_owned(),
                    Coverage::Whole => "whole".to_owned(),
                    Coverage::Window if table.added_rows > 0 => {
                        format!("window, {} added", grouped(table.added_rows))
                    }
                    Coverage::Window => "window".to_owned(),
                    Coverage::Referenced => "referenced".to_owned(),
                },
                table.digest.hex(),
            ]
        })
        .collect();
    let header = [
        ("table", Align::Wrap),
        ("rows", Align::Right),
        ("COPY bytes", Align::Right),
        ("taken", Align::Left),
        ("row digest", Align::Detail),
    ];
    out += &columns(&header, &rows);
    if let Some(outside) = OutsideRecord::of(manifest) {
        let line = format!("not inside: {}", plain(outside.text(manifest.id)));
        out += &format!("\n{}", paragraph(&line));
    }
    for (number, file) in manifest.files.iter().enumerate() {
        out += if number == 0 { "\nFiles\n" } else { "" };
        out += &format!(
            "  {}  {}  (from {})\n",
            plain(&file.name),
            ByteSize(file.bytes),
            plain(&file.source)
        );
    }
    out += &left_out_text(manifest);
    out + &warnings_text(&manifest.warnings)
}

/// The tables whose rows are not inside, and the foreign keys that suffer from it.
fn left_out_text(manifest: &Manifest) -> String {
    let mut out = String::new();
    if !manifest.left_out.is_empty() {
        out += "\nNot included (restored empty)\n";
        for left in &manifest.left_out {
            let (name, reason, rows) = (
                plain(&left.name),
                plain(&left.reason),
                about_rows(left.estimated_rows),
            );
            out += &format!("  {name}, {rows}: {reason}\n");
        }
    }
    if !manifest.masked.is_empty() {
        out += "\nPasswords masked (archive.mask_passwords)\n";
        for object in &manifest.masked {
            out += &format!("  {}\n", plain(object));
        }
    }
    if !manifest.not_valid.is_empty() {
        out += "\nForeign keys restored as NOT VALID\n";
        for key in &manifest.not_valid {
            let (name, table, reason) = (plain(&key.name), plain(&key.table), plain(&key.reason));
            out += &format!("  {name} on {table}: {reason}\n");
        }
    }
    out
}
