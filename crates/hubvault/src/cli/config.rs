//! `hubvault config`: write a commented file, check what is set, show what holds.

use super::Exit;
use crate::text::{Align, columns, print};
use anyhow::{Context, Result};
use hubvault_config::{Found, Settings, Value};
use hubvault_engine::job::{CommandSource, FileSource, Hook, Window, WindowRows};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const EXAMPLE: &str = include_str!("../../../../hubvault.example.toml");
const MASKED: &str = "********";

/// Writes the commented example to a file that must not exist yet.
pub(crate) fn init(path: &Path) -> Result<Exit> {
    // It is the place where people put passwords.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(EXAMPLE.as_bytes()))
        .with_context(|| format!("writing a new {} (it must not exist)", path.display()))?;
    print(&format!(
        "wrote {}; every line in it is a comment until you change it\n",
        path.display()
    ))?;
    Ok(Exit::Done)
}

/// Says that the configuration is right; mistakes were reported when it was loaded.
pub(crate) fn check(settings: &Settings) -> Result<Exit> {
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
        "right: {}, {} table patterns whole, {patterns} in windows, {} files, archives to {}{sealed}\n",
        job.database,
        job.scope.tables.len(),
        job.files.len(),
        job.directory.display()
    );
    print(&out)?;
    Ok(if settings.notices.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

/// Prints every setting with its origin.
pub(crate) fn show(settings: &Settings, as_json: bool) -> Result<Exit> {
    let lines = lines(settings);
    if as_json {
        let all: Vec<_> = lines
            .iter()
            .map(|line| json!({
                "key": line.key, "value": line.value, "origin": line.origin, "hides": line.hidden,
            }))
            .collect();
        let report = json!({
            "file": settings.file, "settings": all, "notices": settings.notices,
        });
        print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = lines
        .into_iter()
        .map(|line| {
            let hides = match line.hidden.as_slice() {
                [] => String::new(),
                hidden => format!(" (hides {})", hidden.join(", ")),
            };
            vec![line.key, line.value, line.origin + &hides]
        })
        .collect();
    let header = [
        ("setting", Align::Left),
        ("value", Align::Left),
        ("from", Align::Left),
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

struct Line {
    key: String,
    value: String,
    origin: String,
    hidden: Vec<String>,
}

fn lines(settings: &Settings) -> Vec<Line> {
    let mut lines: Vec<Line> = settings
        .found
        .iter()
        .map(|found| Line {
            key: found.key.name.to_owned(),
            value: shown(found),
            origin: found.origin.clone(),
            hidden: found.hidden.clone(),
        })
        .collect();
    lines.extend(settings.windows.iter().map(|said| Line {
        key: "scope.window".to_owned(),
        value: window(&said.value),
        origin: said.origin.clone(),
        hidden: Vec::new(),
    }));
    lines.extend(settings.files.iter().map(|said| Line {
        key: "file".to_owned(),
        value: file(&said.value),
        origin: said.origin.clone(),
        hidden: Vec::new(),
    }));
    lines.extend(settings.sources.iter().map(|said| Line {
        key: "source".to_owned(),
        value: source(&said.value),
        origin: said.origin.clone(),
        hidden: Vec::new(),
    }));
    lines.extend(settings.hooks.iter().map(|said| Line {
        key: "hook".to_owned(),
        value: hook(&said.value),
        origin: said.origin.clone(),
        hidden: Vec::new(),
    }));
    lines.extend(settings.checks.iter().map(|said| Line {
        key: "check".to_owned(),
        value: format!("{}: {}", said.value.name, said.value.command),
        origin: said.origin.clone(),
        hidden: Vec::new(),
    }));
    lines.extend(settings.recipients.iter().map(|said| Line {
        key: "seal.recipient".to_owned(),
        value: format!("{} ({})", said.value.label(), said.value.recipient),
        origin: said.origin.clone(),
        hidden: Vec::new(),
    }));
    lines
}

fn shown(found: &Found) -> String {
    match &found.value {
        Value::Unset => "-".to_owned(),
        Value::Secret(_) => MASKED.to_owned(),
        Value::Text(text) => text.clone(),
        Value::List(items) if items.is_empty() => "-".to_owned(),
        Value::List(items) => items.join(", "),
    }
}

fn window(window: &Window) -> String {
    let tables: Vec<String> = window.tables.iter().map(ToString::to_string).collect();
    let rows = match &window.rows {
        WindowRows::Recent { column, length } => format!("{length} by {column}"),
        WindowRows::Where(condition) => format!("where {condition}"),
    };
    format!("{}: {rows}", tables.join(", "))
}

fn file(file: &FileSource) -> String {
    let required = if file.required { ", required" } else { "" };
    format!("{} as {}{required}", file.source.display(), file.name)
}

fn source(source: &CommandSource) -> String {
    let optional = if source.required { "" } else { ", optional" };
    let limit = source.timeout.as_secs_f64();
    format!(
        "{} from {}, at most {limit} s{optional}",
        source.name, source.command
    )
}

fn hook(hook: &Hook) -> String {
    let (when, stage) = (hook.when.as_str(), hook.stage_text());
    let limit = hook.timeout.as_secs_f64();
    let failure = if hook.fails { "fail" } else { "warn" };
    format!(
        "{when} {stage}: {}, at most {limit} s, on failure {failure}",
        hook.command
    )
}
