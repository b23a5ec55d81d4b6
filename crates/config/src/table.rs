//! One `[[table]]` of the file, checked as its keys are read.

use super::document::{AtLine, Document, Field, Fields};
use super::kind;
use super::problem::{Problem, nearest};
use super::setting::WithOrigin;
use super::trusted_file::read_value;
use hubvault_engine::command::CommandLine;
use hubvault_model::{PatternError, TablePattern};
use secrecy::SecretString;
use std::time::Duration;

const COMMAND: &str = "expected a text for `sh -c`, or an array of a program and its arguments";

/// The keys of one table. A mistake in one is reported with its line.
pub(crate) struct Table<'a> {
    name: &'static str,
    document: &'a Document,
    fields: &'a AtLine<Fields>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Table<'a> {
    /// A table of the array `name`, which may have the `known` keys.
    pub(crate) fn new(
        name: &'static str,
        document: &'a Document,
        fields: &'a AtLine<Fields>,
        known: &[&str],
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        let mut table = Self {
            name,
            document,
            fields,
            problems,
        };
        for key in fields.value.keys() {
            if !known.contains(&key.as_str()) {
                let hint = nearest(key, known.iter().copied());
                table.problem(key, format!("no such key{hint}"));
            }
        }
        table
    }

    /// `hubvault.toml line 12`: the line of a key, or of the table where it is not there.
    pub(crate) fn origin(&self, key: &str) -> String {
        let field = self.fields.value.get(key);
        let line = field.map_or(self.fields.line, |field| field.line);
        self.document.origin(line)
    }

    /// What is made of the table, with where it is.
    pub(crate) fn located<T>(&self, value: T) -> WithOrigin<T> {
        let origin = self.document.origin(self.fields.line);
        WithOrigin { value, origin }
    }

    /// A mistake in a key; in the table itself where `key` is empty.
    pub(crate) fn problem(&mut self, key: &str, what: impl Into<String>) {
        let name = match key {
            "" => self.name.to_owned(),
            key => format!("{}.{key}", self.name),
        };
        let problem = Problem::new(self.origin(key), name, what);
        self.problems.push(problem);
    }

    fn field(&self, key: &str) -> Option<&'a Field> {
        self.fields.value.get(key).map(|field| &field.value)
    }

    /// A text that may be left out.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        match self.field(key)? {
            Field::Text(text) if !text.trim().is_empty() => Some(text.clone()),
            _ => {
                self.problem(key, "expected a text in quotes that is not empty");
                None
            }
        }
    }

    /// A text that must be there; `expected` says what of it.
    pub(crate) fn required(&mut self, key: &str, expected: &str) -> Option<String> {
        if self.field(key).is_none() {
            self.problem("", format!("{key} is missing; {expected}"));
        }
        self.text(key)
    }

    /// One of `words`, as its index; it may be left out.
    pub(crate) fn word(&mut self, key: &str, words: &[&str]) -> Option<usize> {
        let text = self.text(key)?;
        let at = words.iter().position(|word| *word == text);
        if at.is_none() {
            let (expected, hint) = (one_of(words), nearest(&text, words.iter().copied()));
            self.problem(key, format!("{expected}, not {text:?}{hint}"));
        }
        at
    }

    /// One of `words`, which must be there.
    pub(crate) fn required_word(&mut self, key: &str, words: &[&str]) -> Option<usize> {
        if self.field(key).is_none() {
            self.problem("", format!("{key} is missing; {}", one_of(words)));
        }
        self.word(key, words)
    }

    /// `command`, which must be there: a text for the shell, or a program with its arguments.
    pub(crate) fn command(&mut self) -> Option<CommandLine> {
        match self.field("command") {
            Some(Field::Text(text)) if !text.trim().is_empty() => Some(CommandLine::shell(text)),
            Some(Field::List(argv)) if argv.first().is_some_and(|it| !it.value.is_empty()) => {
                Some(CommandLine::of(argv.iter().map(|it| it.value.clone())))
            }
            Some(_) => {
                self.problem("command", COMMAND);
                None
            }
            None => {
                self.problem("", format!("command is missing; {COMMAND}"));
                None
            }
        }
    }

    /// `timeout`, which may be left out.
    pub(crate) fn timeout(&mut self, default: Duration) -> Duration {
        let Some(text) = self.text("timeout") else {
            return default;
        };
        kind::duration(&text).unwrap_or_else(|what| {
            self.problem("timeout", what);
            default
        })
    }

    /// Whether a key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.fields.value.contains_key(key)
    }

    /// A whole number up to `most`, which may be left out.
    pub(crate) fn number(&mut self, key: &str, most: u32) -> Option<u32> {
        let number = match self.field(key)? {
            Field::Number(text) => text.parse().ok().filter(|number| *number <= most),
            _ => None,
        };
        if number.is_none() {
            let what = format!("expected a whole number from 0 to {most}, without quotes");
            self.problem(key, what);
        }
        number
    }

    /// A secret, or the file that holds it (`key_file`); it may be left out.
    pub(crate) fn secret(&mut self, key: &str) -> Option<SecretString> {
        let by_file = format!("{key}_file");
        if self.has(key) && self.has(&by_file) {
            self.problem(&by_file, format!("{key} is set, too; keep one of them"));
        }
        if let Some(text) = self.text(key) {
            return Some(SecretString::from(text));
        }
        let path = self.text(&by_file)?;
        match read_value(&path) {
            Ok(text) => Some(SecretString::from(text)),
            Err(what) => {
                self.problem(&by_file, what);
                None
            }
        }
    }

    /// A flag that may be left out.
    pub(crate) fn flag(&mut self, key: &str) -> Option<bool> {
        if let Field::Flag(flag) = self.field(key)? {
            return Some(*flag);
        }
        self.problem(key, "expected true or false, without quotes");
        None
    }

    /// A flag, or a list of texts; it may be left out.
    pub(crate) fn switch_or_list(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Option<Result<bool, Vec<String>>> {
        match self.field(key)? {
            Field::Flag(flag) => Some(Ok(*flag)),
            Field::List(texts) => Some(Err(texts.iter().map(|text| text.value.clone()).collect())),
            Field::Text(_) | Field::Number(_) => {
                self.problem(key, expected);
                None
            }
        }
    }

    /// Patterns for the names of tables, which must be there.
    pub(crate) fn patterns(&mut self, key: &str) -> Vec<TablePattern> {
        let Some(Field::List(texts)) = self.field(key) else {
            self.problem(key, "expected an array of table names");
            return Vec::new();
        };
        if texts.is_empty() {
            self.problem(key, "expected an array of table names");
        }
        let texts = texts.iter().map(|text| text.value.as_str());
        patterns(texts, |what| self.problem(key, what))
    }
}

fn one_of(words: &[&str]) -> String {
    format!("expected one of {}", words.join(", "))
}

/// Patterns of these texts; a mistake in one is reported.
pub(crate) fn patterns<'t>(
    texts: impl Iterator<Item = &'t str>,
    mut report: impl FnMut(String),
) -> Vec<TablePattern> {
    let mut patterns = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => report(PatternError::to_string(&error)),
        }
    }
    patterns
}
