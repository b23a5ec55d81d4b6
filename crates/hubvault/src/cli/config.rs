//! `hubvault config`: write a commented file, check the configuration, show the settings in effect.

use super::Exit;
use super::consequences::consequences;
use crate::answer;
use crate::screen::{Align, bullets, columns};
use crate::text::{paragraph, print};
use anyhow::{Context, Result};
use hubvault_config::Settings;
use hubvault_engine::catalog::{BackupCopy, Catalog};
use hubvault_engine::job::{Destination, Job};
use hubvault_engine::overview::lacking;
use hubvault_engine::publish::{
    moved_destinations, probe, probe_lease, unknown_archives, unusable_directory,
};
use hubvault_engine::state::StateDir;
use hubvault_model::{Cancel, counted};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const EXAMPLE: &str = include_str!("../../../../hubvault.example.toml");

/// Writes the commented example to a file that must not exist yet.
pub(crate) fn init(path: &Path) -> Result<Exit> {
    // People put passwords into it.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(EXAMPLE.as_bytes()))
        .with_context(|| {
            format!(
                "writing {}, which must not exist yet; name another file",
                path.display()
            )
        })?;
    if answer::is_json() {
        answer::json(&json!({ "file": path }))?;
        return Ok(Exit::Done);
    }
    print(&format!(
        "wrote {}; every line in it is a comment until you change it\n",
        path.display()
    ))?;
    Ok(Exit::Done)
}

/// Reports that the configuration is valid, and what it leads to; mistakes were reported when it was loaded.
pub(crate) fn check(settings: &Settings) -> Result<Exit> {
    let mut warnings = consequences(settings.job(), None);
    let mut is_wrong = false;
    warnings.extend(unfilled(settings.job()));
    let directory = settings.job().local_directory();
    warnings.extend(unusable_directory(directory).map(|why| {
        let shown = directory.display();
        format!("no archive can be made in {shown}: {why}; make it for the user of hubvault, or set BACKUP_DIR")
    }));
    let state = StateDir::of(settings.job().state_root());
    let unusable = probe(&settings.job().destinations, &state);
    let is_asked = |at: &Destination| {
        let mut wrong = unusable.iter();
        !wrong.any(|(it, why)| it.name == at.name && !why.only_keeps)
    };
    warnings.extend(of_others(settings, &state, &is_asked));
    warnings.extend(of_other_disks(settings.job(), &state));
    for (destination, unusable) in &unusable {
        is_wrong |= unusable.is_impossible;
        let (name, error) = (&destination.name, settings.masks().mask(&unusable.what));
        if unusable.only_keeps {
            tracing::info!(
                "the destination {name} takes copies and lets none be removed, so that they all stay there: {error}"
            );
            continue;
        }
        warnings.push(format!("the destination {name} cannot be used: {error}"));
    }
    if let Some(options) = &settings.job().lease
        && let Err(unusable) = probe_lease(settings.job(), options)
    {
        is_wrong |= unusable.is_impossible;
        let (name, error) = (&options.destination, settings.masks().mask(&unusable.what));
        warnings.push(format!("the lease cannot be kept at {name}: {error}"));
    }
    let exit = if is_wrong {
        Exit::Code(2)
    } else if settings.notices.is_empty() && warnings.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    };
    if answer::is_json() {
        answer::json(&json!({
            "file": settings.file, "notices": settings.notices, "warnings": warnings,
        }))?;
        return Ok(exit);
    }
    print(&check_text(settings, &warnings))?;
    Ok(exit)
}

/// Destinations whose disk may not be mounted. What is wrong with the catalog is said by `status`.
pub(super) fn of_other_disks(job: &Job, state: &StateDir) -> Vec<String> {
    if !state.file("catalog.sqlite").is_file() {
        return Vec::new();
    }
    let found = Catalog::open(state).and_then(|catalog| moved_destinations(job, &catalog));
    found.unwrap_or_default()
}

/// Archives at destinations that another machine may have made. What is wrong with the catalog is said by `status`.
fn of_others(
    settings: &Settings,
    state: &StateDir,
    is_asked: &dyn Fn(&Destination) -> bool,
) -> Vec<String> {
    let is_there = state.file("catalog.sqlite").is_file();
    let catalog = is_there.then(|| Catalog::open(state).ok()).flatten();
    if is_there && catalog.is_none() {
        return Vec::new();
    }
    let (job, cancel) = (settings.job(), Cancel::new());
    let found = unknown_archives(job, catalog.as_ref(), &cancel, is_asked);
    let found = found.unwrap_or_default().into_iter();
    found
        .map(|it| settings.masks().mask(&it.to_string()))
        .collect()
}

/// Destinations that have none of the backups that there are. What is wrong with the catalog is said by `status`.
fn unfilled(job: &Job) -> Vec<String> {
    let state = StateDir::of(job.state_root());
    if !state.file("catalog.sqlite").is_file() {
        return Vec::new();
    }
    let catalog = Catalog::open(&state).map(|it| it.of_job(&job.name, &job.destinations));
    let mut records = catalog
        .and_then(|it| it.runs(&job.name))
        .unwrap_or_default();
    records.retain(|record| record.copies.iter().any(BackupCopy::is_present));
    let has_none = |destination: &&Destination| {
        let copies = records
            .iter()
            .filter_map(|it| it.copy_at(&destination.name));
        copies.filter(|copy| copy.is_at(destination)).count() == 0
    };
    let there = records.first();
    let lacking = there
        .into_iter()
        .flat_map(|newest| lacking(newest, &job.destinations));
    let many = counted(records.len() as u64, "backup");
    let text = |it: &Destination| {
        format!(
            "the destination {} has no copy of the {many} that there are; hubvault copies sync makes them",
            it.name
        )
    };
    lacking.filter(has_none).map(text).collect()
}

/// What is valid, and every warning.
pub(super) fn check_text(settings: &Settings, warnings: &[String]) -> String {
    let mut out = format!("{}\n", read_from(settings));
    out += &bullets(settings.notices.iter().chain(warnings).cloned());
    let job = settings.job();
    let patterns: usize = job
        .scope
        .windows
        .iter()
        .map(|window| window.tables.len())
        .sum();
    let sealed = match job.seal.len() {
        0 => String::new(),
        1 => ", sealed to 1 recipient".to_owned(),
        more => format!(", sealed to {more} recipients"),
    };
    let tables = counted(job.scope.tables.len() as u64, "table pattern");
    let windows = match patterns {
        0 => String::new(),
        many => format!(", {} in windows", counted(many as u64, "table pattern")),
    };
    let files = counted(job.files.len() as u64, "file");
    let directory = job.local_directory().display();
    out + &paragraph(&format!(
        "valid: {}; {tables}{windows}; {files}; archives in {directory}{sealed}",
        job.database
    ))
}

/// Prints every setting with its origin.
pub(crate) fn show(settings: &Settings) -> Result<Exit> {
    if answer::is_json() {
        let all: Vec<_> = rows(settings)
            .map(|row| {
                json!({
                    "key": row.key, "value": row.value, "origin": row.origin, "hides": row.hidden,
                })
            })
            .collect();
        answer::json(&json!({
            "file": settings.file, "settings": all, "notices": settings.notices,
        }))?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = rows(settings)
        .map(|row| {
            let hides = match row.hidden {
                [] => String::new(),
                hidden => format!(" (hides {})", hidden.join(", ")),
            };
            vec![
                row.key.to_owned(),
                row.value,
                row.origin.to_owned() + &hides,
            ]
        })
        .collect();
    let header = [
        ("setting", Align::Left),
        ("value", Align::Wrap),
        ("from", Align::Wrap),
    ];
    let mut out = format!("{}\n\n{}", read_from(settings), columns(&header, &rows));
    for notice in &settings.notices {
        out += &format!("\n! {notice}");
    }
    print(&(out.trim_end().to_owned() + "\n"))?;
    Ok(Exit::Done)
}

fn read_from(settings: &Settings) -> String {
    match &settings.file {
        Some(path) => format!("read {} and the variables", path.display()),
        None => "no configuration file; read the variables".to_owned(),
    }
}

/// A row of `config show`.
pub(super) struct Row<'a> {
    pub(super) key: &'a str,
    pub(super) value: String,
    pub(super) origin: &'a str,
    hidden: &'a [String],
}

pub(super) fn rows(settings: &Settings) -> impl Iterator<Item = Row<'_>> {
    let values = settings.values.iter().map(|setting| Row {
        key: setting.key.name,
        value: setting.shown("-"),
        origin: &setting.origin,
        hidden: &setting.hidden,
    });
    values.chain(settings.tables.iter().map(|entry| Row {
        key: entry.table,
        value: entry.text.clone(),
        origin: &entry.origin,
        hidden: &[],
    }))
}
