//! `hubvault show` and `hubvault verify`: one archive, looked into or read back whole.

use super::backup::{proof_text, warnings_text};
use super::drill::drill;
use super::{Exit, ShowArgs, VerifyArgs};
use crate::config::Settings;
use crate::text::{Align, columns, grouped, print};
use crate::{progress, signals};
use anyhow::{Context, Result, bail};
use hubvault_archive::{Archive, Coverage, Manifest};
use hubvault_engine::backup::state_directory;
use hubvault_engine::catalog::{Catalog, ProofRecord, sidecar};
use hubvault_engine::progress::Stage;
use hubvault_engine::proof::integrity;
use hubvault_model::{ByteSize, Cancel};
use serde_json::json;
use std::path::PathBuf;

/// Prints what an archive holds, from its manifest.
pub(crate) fn show(settings: &Settings, args: &ShowArgs) -> Result<Exit> {
    let path = resolve(settings, &args.backup)?;
    let archive =
        Archive::open_path(&path).with_context(|| format!("opening {}", path.display()))?;
    let text = if args.json {
        serde_json::to_string_pretty(archive.manifest())? + "\n"
    } else {
        let size = ByteSize(archive.len());
        // What was proven is known beside the archive; elsewhere it is not known.
        let proof = sidecar::read(&path, archive.manifest().id)
            .map_or_else(String::new, |(proof, _)| proof_text(&proof));
        format!(
            "{}  {size}\n{proof}{}",
            path.display(),
            manifest_text(archive.manifest())
        )
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// Reads an archive back whole: every member, checksum, row count and digest.
pub(crate) fn verify(settings: &Settings, args: &VerifyArgs) -> Result<Exit> {
    let path = resolve(settings, &args.backup)?;
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let bar = progress::choose(args.no_progress);
    let bytes = std::fs::metadata(&path).map(|meta| meta.len()).ok();
    bar.stage(Stage::Integrity, bytes);
    let threads = settings.job().workers;
    let read = integrity::read_back(&path, threads, &|n| bar.advance(None, 0, n), &cancel)?;
    let rows: u64 = read
        .manifest
        .tables
        .iter()
        .map(|table| table.digest.rows)
        .sum();
    let mut proof = ProofRecord {
        read_back: true,
        ..ProofRecord::default()
    };
    if args.drill {
        drill(settings, &path, bar.as_ref(), &cancel, &mut proof)?;
    }
    drop(bar);
    let text = if args.json {
        let report = json!({
            "id": read.manifest.id, "file": path, "ok": true, "bytes": read.bytes,
            "entries": read.manifest.entries.len(), "tables": read.manifest.tables.len(),
            "rows": rows, "proof": proof,
        });
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        let drilled = if args.drill {
            proof_text(&proof)
        } else {
            String::new()
        };
        format!(
            "{}: whole; {} entries, {} tables, {} rows, {} read, every checksum and digest equal\n{drilled}",
            path.display(),
            read.manifest.entries.len(),
            read.manifest.tables.len(),
            grouped(rows),
            ByteSize(read.bytes)
        )
    };
    print(&text)?;
    Ok(if args.drill && !proof.proven {
        Exit::Warnings
    } else {
        Exit::Done
    })
}

/// A file as it is, else what the catalog calls by that id, prefix, name, or `latest`.
pub(crate) fn resolve(settings: &Settings, word: &str) -> Result<PathBuf> {
    let path = PathBuf::from(word);
    if path.is_file() {
        return Ok(path);
    }
    let directory = settings.job().directory;
    let beside = directory.join(word);
    if beside.is_file() {
        return Ok(beside);
    }
    if word.contains('/') {
        bail!("there is no file {word}");
    }
    if !directory.is_dir() {
        bail!(
            "there is no backup directory {}, so no backup {word:?}; set BACKUP_DIR or give a file",
            directory.display()
        );
    }
    let found = Catalog::open(&state_directory(&directory)?)?.find(word)?;
    let Some(record) = found else {
        bail!(
            "no backup {word:?} in {}; `hubvault list` names them",
            directory.display()
        );
    };
    record.file.with_context(|| {
        let error = record
            .error
            .unwrap_or_else(|| "it is still running".to_owned());
        format!("backup {} has no archive: {error}", record.id.short())
    })
}

/// A manifest for people.
pub(crate) fn manifest_text(manifest: &Manifest) -> String {
    let snapshot = &manifest.snapshot;
    let mut out = format!(
        "backup {} of {}\ndatabase {} on PostgreSQL {}, as of {:.0} (WAL {})\n\n",
        manifest.id,
        manifest.job,
        snapshot.database,
        snapshot.server_version,
        snapshot.taken_at,
        snapshot.lsn
    );
    let rows: Vec<Vec<String>> = manifest
        .tables
        .iter()
        .map(|table| {
            vec![
                table.name.to_string(),
                grouped(table.digest.rows),
                ByteSize(table.bytes).to_string(),
                match table.coverage {
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
        ("table", Align::Left),
        ("rows", Align::Right),
        ("COPY bytes", Align::Right),
        ("taken", Align::Left),
        ("row digest", Align::Left),
    ];
    out += &columns(&header, &rows);
    out += "\nFiles\n";
    for file in &manifest.files {
        out += &format!(
            "  {}  {}  (from {})\n",
            file.name,
            ByteSize(file.bytes),
            file.source
        );
    }
    if !manifest.left_out.is_empty() {
        out += "\nNot inside (comes back empty)\n";
        for left in &manifest.left_out {
            out += &format!("  {}: {}\n", left.name, left.reason);
        }
    }
    if !manifest.not_valid.is_empty() {
        out += "\nForeign keys that come back NOT VALID\n";
        for key in &manifest.not_valid {
            out += &format!("  {} on {}: {}\n", key.name, key.table, key.reason);
        }
    }
    out + &warnings_text(&manifest.warnings)
}
