//! `hubvault config`: write a commented file, check the configuration, show the settings in effect.

use super::Exit;
use super::consequences::consequences;
use crate::answer;
use crate::screen::{Align, bullets, columns};
use crate::text::print;
use anyhow::{Context, Result};
use hubvault_config::Settings;
use hubvault_model::counted;
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
        .with_context(|| format!("writing a new {} (it must not exist)", path.display()))?;
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
    let warnings = consequences(settings.job(), None);
    let exit = if settings.notices.is_empty() && warnings.is_empty() {
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
    out += &format!(
        "valid: {}, {} whole, {patterns} in windows, {}, archives to {}{sealed}\n",
        job.database,
        counted(job.scope.tables.len() as u64, "table pattern"),
        counted(job.files.len() as u64, "file"),
        job.local_directory().display()
    );
    out
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
