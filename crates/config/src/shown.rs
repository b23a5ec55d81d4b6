//! What `config show` prints of the file's tables: windows, files, commands, recipients.

use super::recipients::Administrator;
use super::setting::WithOrigin;
use hubvault_engine::job::{
    CommandSource, CopyWhen, Destination, FileSource, Hook, SealRule, UserCommand, Window,
    WindowRows,
};
use hubvault_model::counted;
use hubvault_store::LockMode;
use std::path::PathBuf;

/// One `[[table]]` of the file, or a default in place of it.
pub struct TableEntry {
    /// `scope.window`, `file`, `hook` …
    pub table: &'static str,
    /// What it sets, for people.
    pub text: String,
    /// `hubvault.toml line 12`, `default`.
    pub origin: String,
}

/// The values alone; an entry of each goes to `entries`.
pub(crate) fn values<T>(
    entries: &mut Vec<TableEntry>,
    table: &'static str,
    text: fn(&T) -> String,
    located: Vec<WithOrigin<T>>,
) -> Vec<T> {
    let mut values = Vec::new();
    for WithOrigin { value, origin } in located {
        let text = text(&value);
        entries.push(TableEntry {
            table,
            text,
            origin,
        });
        values.push(value);
    }
    values
}

pub(crate) fn window(window: &Window) -> String {
    let tables: Vec<String> = window.tables.iter().map(ToString::to_string).collect();
    let rows = match &window.rows {
        WindowRows::Recent {
            column,
            length,
            midnight,
        } => {
            let cut = midnight.as_ref().map_or("", |_| ", from midnight");
            format!("{length} by {column}{cut}")
        }
        WindowRows::Where(condition) => format!("where {condition}"),
    };
    format!("{}: {rows}", tables.join(", "))
}

pub(crate) fn file(file: &FileSource) -> String {
    let required = if file.is_required() { ", required" } else { "" };
    // Links into the directory around it are the usual ones.
    let elsewhere = |root: &&PathBuf| !file.source.starts_with(root);
    let roots = file.follow.iter().filter(elsewhere);
    let roots: Vec<_> = roots.map(|root| root.display().to_string()).collect();
    let follow = if roots.is_empty() {
        String::new()
    } else {
        format!(", with what links into {} lead to", roots.join(", "))
    };
    format!(
        "{} as {}{required}{follow}",
        file.source.display(),
        file.name
    )
}

pub(crate) fn source(source: &CommandSource) -> String {
    let optional = if source.required { "" } else { ", optional" };
    let (name, command) = (&source.name, &source.command);
    let limit = source.timeout.as_secs_f64();
    format!("{name} from {command}, at most {limit} s{optional}")
}

pub(crate) fn hook(hook: &Hook) -> String {
    let (when, stage) = (hook.when.as_str(), hook.stage_text());
    let (command, limit) = (&hook.command, hook.timeout.as_secs_f64());
    let failure = if hook.fails { "fail" } else { "warn" };
    format!("{when} {stage}: {command}, at most {limit} s, on failure {failure}")
}

pub(crate) fn check(check: &UserCommand) -> String {
    format!("{}: {}", check.name, check.command)
}

pub(crate) fn destination(destination: &Destination) -> String {
    let rules = &destination.rules;
    let mut text = format!("{}: {}", destination.name, destination.location);
    if rules.sealed == SealRule::Required {
        text += ", sealed archives only";
    }
    if rules.when != CopyWhen::Always {
        text += &format!(", {}", rules.when.as_str());
    }
    if let Some(limit) = rules.bytes_per_second {
        text += &format!(", at most {limit} a second");
    }
    if let Some(lock) = destination.options.lock {
        let mode = match lock.mode {
            LockMode::Governance => "governance",
            LockMode::Compliance => "compliance",
        };
        let days = counted(lock.days.into(), "day");
        text += &format!(", locked for {days} ({mode})");
    }
    if rules.keep.is_some() {
        text += ", with a retention of its own";
    }
    if !rules.required {
        text += ", not required";
    }
    text
}

pub(crate) fn recipient(administrator: &Administrator) -> String {
    format!("{} ({})", administrator.label(), administrator.recipient)
}
