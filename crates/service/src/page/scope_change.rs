//! What to write into the configuration so that tables that are left out are taken.

use hubvault_config::{Settings, Value};
use hubvault_engine::logical::{TableCoverage, Taken};
use hubvault_model::{ByteSize, grouped};
use serde::Serialize;

/// So many names are said; the lines to paste have all.
const NAMED: usize = 5;

/// A change of the scope, for a template.
#[derive(Debug, Serialize)]
pub(super) struct ScopeChange {
    names: String,
    /// How much more a backup would have, as far as known.
    adds: String,
    toml: String,
    /// What else is to be known.
    notes: Vec<String>,
}

/// The lines that take these in.
pub(super) fn scope_change(
    settings: &Settings,
    all: &[TableCoverage],
    taken: &[&TableCoverage],
) -> ScopeChange {
    let scope = &settings.job().scope;
    let mut notes = Vec::new();
    let table = match &settings.job_name {
        Some(job) => {
            notes.push(format!(
                "The lines belong below the [[job]] with the name {job}."
            ));
            "[job.scope]"
        }
        None => "[scope]",
    };
    let excluded: Vec<&str> = taken
        .iter()
        .filter_map(|it| it.excluded_by.as_deref())
        .collect();
    let mut lines = vec![table.to_owned()];
    let mut tables: Vec<String> = scope.tables.iter().map(ToString::to_string).collect();
    let new = taken.iter().filter(|it| it.excluded_by.is_none());
    tables.extend(new.map(|it| it.name.clone()));
    if tables.len() > scope.tables.len() {
        lines.push(format!("tables = {}", list(&tables)));
        notes.extend(from_elsewhere(settings, "scope.tables"));
    }
    if !excluded.is_empty() {
        let exclude = scope.exclude.iter().map(ToString::to_string);
        let exclude: Vec<String> = exclude
            .filter(|it| !excluded.contains(&it.as_str()))
            .collect();
        lines.push(format!("exclude = {}", list(&exclude)));
        notes.extend(from_elsewhere(settings, "scope.exclude"));
        let also = all.iter().filter(|table| {
            table.taken == Taken::Out
                && table
                    .excluded_by
                    .as_deref()
                    .is_some_and(|by| excluded.contains(&by))
                && !taken.iter().any(|it| it.name == table.name)
        });
        let also: Vec<&str> = also.map(|table| table.name.as_str()).collect();
        if !also.is_empty() {
            notes.push(format!("The same pattern leaves out {}.", some(&also)));
        }
    }
    let names: Vec<&str> = taken.iter().map(|it| it.name.as_str()).collect();
    let (rows, bytes): (u64, u64) = taken.iter().fold((0, 0), |(rows, bytes), it| {
        (rows + it.rows.unwrap_or(0), bytes + it.bytes.unwrap_or(0))
    });
    let mut adds = format!("about {} rows", grouped(rows));
    if bytes > 0 {
        adds += &format!(", {}", ByteSize(bytes));
    }
    ScopeChange {
        names: some(&names),
        adds,
        toml: lines.join("\n"),
        notes,
    }
}

/// A note where the file does not say it: what is said elsewhere wins over it.
fn from_elsewhere(settings: &Settings, key: &str) -> Option<String> {
    let mut values = settings.values.iter();
    let setting = values.find(|setting| setting.key.name == key)?;
    let is_set = matches!(&setting.value, Value::List(items) if !items.is_empty());
    let origin = setting
        .origin
        .strip_prefix("variable ")
        .filter(|_| is_set)?;
    Some(format!(
        "{key} is set by the variable {origin}, which wins over the file: set it there, or remove it."
    ))
}

/// As TOML writes it: its strings are those of JSON.
fn list(items: &[String]) -> String {
    let items = items
        .iter()
        .map(|item| serde_json::Value::from(item.as_str()).to_string());
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn some(all: &[&str]) -> String {
    let shown = all[..all.len().min(NAMED)].join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
