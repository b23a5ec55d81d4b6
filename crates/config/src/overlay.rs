//! `overlay.toml` in the state directory: what was changed over HTTP. It overrides file and variables, for harmless
//! keys alone, and only to make them stricter (`change_rules`). What an earlier version wrote there is still read.

use super::archive_directory;
use super::change_body::ALIASES;
use super::change_rules::{changeable, is_changeable};
use super::document::Document;
use super::environment::Environment;
use super::keys::{KEYS, Key};
use super::parser;
use super::problem::{ConfigError, Problem, nearest};
use anyhow::{Context, Result};
use hubvault_engine::state::StateDir;
use hubvault_engine::state::file::{self, Durability};
use serde_json::{Map, Value};
use std::io::ErrorKind;
use std::path::Path;

/// As `config show` names it.
pub(crate) const ORIGIN: &str = "overlay.toml (PUT /backup/config)";
const NAME: &str = "overlay.toml";
/// More than all keys need, in bytes.
const LARGEST: u64 = 1 << 20;

/// The text of an overlay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    text: String,
}

impl Changes {
    /// What a state directory holds, with the `requested` values put into it; null removes a key.
    pub fn merged(state: &StateDir, requested: &Map<String, Value>) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut table = toml::Table::new();
        match text_of(&state.file(NAME)) {
            Ok(text) => match text.parse() {
                Ok(stored) => table = stored,
                Err(error) => problems.push(Problem::new(ORIGIN, "", format!("not TOML: {error}"))),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => problems.push(Problem::new(
                ORIGIN,
                "",
                format!("could not be read: {error}"),
            )),
        }
        for (key, value) in requested {
            if !is_changeable(key) {
                problems.push(Problem::new(ORIGIN, key, not_changeable(key)));
                continue;
            }
            let value = Some(value).filter(|value| !value.is_null());
            match value.map(toml::Value::try_from).transpose() {
                Ok(value) => set(&mut table, key, value),
                Err(error) => problems.push(Problem::new(ORIGIN, key, error.to_string())),
            }
        }
        if problems.is_empty() {
            let text = toml::to_string(&table).unwrap_or_default();
            Ok(Self { text })
        } else {
            Err(ConfigError { problems })
        }
    }

    /// What a state directory holds.
    pub fn stored(state: &StateDir) -> Result<Self, ConfigError> {
        Self::merged(state, &Map::new())
    }

    /// Keeps it, readable by its owner only; an older one is replaced as a whole.
    pub fn write(&self, state: &StateDir) -> Result<()> {
        let path = state.file(NAME);
        let head = "# Written by PUT /backup/config; it overrides file and variables.\n";
        let text = format!("{head}{}", self.text);
        file::replace(&path, text.as_bytes(), 0o600, Durability::Durable)
            .with_context(|| format!("writing {}", path.display()))
    }
}

fn text_of(path: &Path) -> std::io::Result<String> {
    let bytes = file::read(path, LARGEST)?;
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8"))
}

fn not_changeable(key: &str) -> String {
    if Key::named(key).is_some() {
        return "cannot be changed over HTTP; set it in hubvault.toml or by a variable".to_owned();
    }
    let aliases = ALIASES.iter().map(|(alias, _)| *alias);
    let hint = nearest(key, changeable().chain(aliases));
    format!("no such key{hint}")
}

/// Sets a key, which is `table.key`, or removes it.
fn set(root: &mut toml::Table, key: &str, value: Option<toml::Value>) {
    let (table, key) = key.split_once('.').unwrap_or(("", key));
    let empty = || toml::Value::Table(toml::Table::new());
    let table = root.entry(table).or_insert_with(empty);
    match (table.as_table_mut(), value) {
        (Some(table), Some(value)) => drop(table.insert(key.to_owned(), value)),
        (Some(table), None) => drop(table.remove(key)),
        (None, _) => {}
    }
}

/// The overlay in effect: `tried` where one is tried, else the one in the state directory of the archive directory
/// that file and variables set.
pub(crate) fn read(
    environment: &Environment,
    document: &Document,
    tried: Option<&Changes>,
    problems: &mut Vec<Problem>,
    notices: &mut Vec<String>,
) -> Document {
    let state = StateDir::of(&archive_directory::of_job(environment, document));
    let path = state.file(NAME);
    if let Err(untrusted) = file::check_state(state.path()) {
        let origin = state.path().display().to_string();
        problems.push(Problem::new(origin, "", untrusted.to_string()));
        return Document::default();
    }
    let text = match tried {
        Some(changes) => Ok(changes.text.clone()),
        None => text_of(&path),
    };
    let text = match text {
        Ok(text) => text,
        // A directory that does not exist is reported elsewhere.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Document::default();
        }
        // Another user of this host may still read an archive.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let path = path.display();
            notices.push(format!(
                "changes made over HTTP are ignored, as {path} could not be read: {error}"
            ));
            return Document::default();
        }
        Err(error) => {
            let what = format!("could not be read: {error}");
            problems.push(Problem::new(path.display().to_string(), "", what));
            return Document::default();
        }
    };
    let overlay = parser::parse(&path, &text, problems);
    for key in KEYS.iter().map(|key| key.name) {
        if overlay.value(key).is_some() && !is_changeable(key) {
            let what = "cannot be set here; remove the line";
            problems.push(Problem::new(path.display().to_string(), key, what));
        }
    }
    overlay
}
