//! `hubvault config`: write a commented file, check the configuration, show the settings in effect.

use super::Exit;
use crate::answer;
use crate::text::{Align, columns, print};
use anyhow::{Context, Result};
use hubvault_config::Settings;
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

/// Reports that the configuration is valid; mistakes were reported when it was loaded.
pub(crate) fn check(settings: &Settings) -> Result<Exit> {
    let exit = if settings.notices.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    };
    if answer::is_json() {
        answer::json(&json!({ "file": settings.file, "notices": settings.notices }))?;
        return Ok(exit);
    }
    let mut out = format!("{}\n", read_from(settings));
    for notice in &settings.notices {
        out += &format!("! {notice}\n");
    }
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
        "valid: {}, {} table patterns whole, {patterns} in windows, {} files, archives to {}{sealed}\n",
        job.database,
        job.scope.tables.len(),
        job.files.len(),
        job.local_directory().display()
    );
    print(&out)?;
    Ok(exit)
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
struct Row<'a> {
    key: &'a str,
    value: String,
    origin: &'a str,
    hidden: &'a [String],
}

fn rows(settings: &Settings) -> impl Iterator<Item = Row<'_>> {
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
