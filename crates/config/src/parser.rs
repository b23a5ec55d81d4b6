//! Reads TOML strictly: an unknown key is a mistake, and so is a value of the wrong type.

use super::destination_list::TABLE;
use super::document::{AtLine, Document, Field, Fields};
use super::keys::{ARRAYS, KEYS, Key, OF_SERVICE};
use super::kind::Kind;
use super::problem::{Problem, nearest};
use serde_spanned::Spanned;
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// Reads a file's text; every mistake in it is put into `problems`.
pub(crate) fn parse(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Document {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let document = Document::new(name.to_string_lossy().into_owned(), None);
    let mut parser = Parser {
        text,
        document,
        problems,
    };
    match DeTable::parse(text) {
        Ok(root) => parser.table("", root.get_ref()),
        Err(error) => {
            let what = format!("not TOML: {}", error.message());
            parser.problem(&error.span().unwrap_or(0..0), "", what);
        }
    }
    parser.document
}

struct Parser<'a> {
    text: &'a str,
    document: Document,
    problems: &'a mut Vec<Problem>,
}

impl Parser<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }

    fn at_line<T>(&self, span: &Range<usize>, value: T) -> AtLine<T> {
        let line = self.line(span);
        AtLine { line, value }
    }

    fn problem(&mut self, span: &Range<usize>, key: &str, what: impl Into<String>) {
        let origin = self.document.origin(self.line(span));
        self.problems.push(Problem::new(origin, key, what));
    }

    /// A value of another type than `expected`.
    fn mismatch(&mut self, value: &Spanned<DeValue<'_>>, key: &str, expected: &str) {
        let what = format!("expected {expected}, not {}", type_of(value.get_ref()));
        self.problem(&value.span(), key, what);
    }

    /// The root, or one `[table]` of it.
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = match prefix {
                "" => key.get_ref().to_string(),
                prefix => format!("{prefix}.{}", key.get_ref()),
            };
            let is_job = self.document.job.is_some();
            if is_job && OF_SERVICE.iter().any(|of| is_within(&name, of)) {
                let what = "is set once for all jobs; move it to the top of the file";
                self.problem(&key.span(), &name, what);
            } else if let Some(setting) = setting_named(&name) {
                self.setting(setting, &name, value);
            } else if ARRAYS.contains(&name.as_str()) {
                self.array(&name, value);
            } else if name == "job" && !is_job {
                self.jobs(value);
            } else if name == "name" && is_job {
                // Read by `jobs`.
            } else if KEYS.iter().any(|key| is_within(key.name, &name)) {
                match value.get_ref() {
                    DeValue::Table(inner) => self.table(&name, inner),
                    _ => self.mismatch(value, &name, &format!("a table [{name}]")),
                }
            } else {
                let hint = nearest(&name, known_names());
                self.problem(&key.span(), &name, format!("no such key{hint}"));
            }
        }
    }

    /// The tables of an array, with their spans.
    fn tables<'v>(
        &mut self,
        name: &str,
        value: &'v Spanned<DeValue<'_>>,
    ) -> Vec<(&'v DeTable<'v>, Range<usize>)> {
        let DeValue::Array(items) = value.get_ref() else {
            let what = format!("expected an array of tables, written [[{name}]]");
            self.problem(&value.span(), name, what);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            if let DeValue::Table(table) = item.get_ref() {
                tables.push((table, item.span()));
            } else {
                let what = format!("expected a table, written [[{name}]]");
                self.problem(&item.span(), name, what);
            }
        }
        tables
    }

    /// Each `[[job]]`: its name, and the keys that it sets itself.
    fn jobs(&mut self, value: &Spanned<DeValue<'_>>) {
        for (table, span) in self.tables("job", value) {
            let Some(name) = table.get("name") else {
                self.problem(&span, "job.name", "is missing");
                continue;
            };
            let DeValue::String(text) = name.get_ref() else {
                self.mismatch(name, "job.name", "text in quotes");
                continue;
            };
            let mut parser = Parser {
                text: self.text,
                document: Document::new(self.document.name.clone(), Some(text.to_string())),
                problems: self.problems,
            };
            parser.table("", table);
            let job = parser.document;
            self.document.jobs.push(self.at_line(&span, job));
        }
    }

    fn setting(&mut self, key: &Key, name: &str, value: &Spanned<DeValue<'_>>) {
        let is_file = name != key.name;
        let field = match (value.get_ref(), key.kind) {
            (DeValue::Array(items), Kind::List) => match self.list(name, items) {
                Some(items) => Some(Field::List(items)),
                // The mistake is reported.
                None => return,
            },
            (DeValue::String(text), kind)
                if is_file || !matches!(kind, Kind::Integer(..) | Kind::List) =>
            {
                Some(Field::Text(text.to_string()))
            }
            (DeValue::Integer(number), Kind::Integer(..) | Kind::Duration) if !is_file => {
                Some(Field::Text(decimal(number)))
            }
            (DeValue::Boolean(flag), kind) if kind.is_yes_no() => Some(Field::Flag(*flag)),
            _ => None,
        };
        match field {
            Some(field) => {
                let field = self.at_line(&value.span(), field);
                self.document.values.insert(name.to_owned(), field);
            }
            None => self.mismatch(value, name, key.kind.describe()),
        }
    }

    fn list(&mut self, name: &str, items: &[Spanned<DeValue<'_>>]) -> Option<Vec<AtLine<String>>> {
        let mut texts = Vec::new();
        for item in items {
            let DeValue::String(text) = item.get_ref() else {
                self.mismatch(item, name, "a text in the array");
                return None;
            };
            texts.push(self.at_line(&item.span(), text.to_string()));
        }
        Some(texts)
    }

    fn array(&mut self, name: &str, value: &Spanned<DeValue<'_>>) {
        let mut all = Vec::new();
        for (table, span) in self.tables(name, value) {
            let mut fields = Fields::new();
            self.fields(name, "", table, &mut fields);
            all.push(self.at_line(&span, fields));
        }
        if matches!(value.get_ref(), DeValue::Array(_)) {
            self.document.arrays.insert(name.to_owned(), all);
        }
    }

    /// The keys of one table of an array. In a destination also numbers, and tables, whose keys have their name before
    /// them, as in `keep.days`.
    fn fields(&mut self, array: &str, prefix: &str, table: &DeTable<'_>, fields: &mut Fields) {
        let is_rich = array == TABLE;
        for (key, value) in table {
            let key = format!("{prefix}{}", key.get_ref());
            let name = format!("{array}.{key}");
            let field = match value.get_ref() {
                DeValue::String(text) => Some(Field::Text(text.to_string())),
                DeValue::Integer(number) if is_rich => Some(Field::Number(decimal(number))),
                DeValue::Boolean(flag) => Some(Field::Flag(*flag)),
                DeValue::Array(items) => self.list(&name, items).map(Field::List),
                DeValue::Table(inner) if is_rich && prefix.is_empty() => {
                    self.fields(array, &format!("{key}."), inner, fields);
                    continue;
                }
                _ => {
                    let number = if is_rich { " a number," } else { "" };
                    let expected = format!("a text,{number} a list or true/false");
                    self.mismatch(value, &name, &expected);
                    None
                }
            };
            if let Some(field) = field {
                let field = self.at_line(&value.span(), field);
                fields.insert(key, field);
            }
        }
    }
}

/// The key that `name` sets, itself or, for a secret, by a file.
fn setting_named(name: &str) -> Option<&'static Key> {
    let by_file = || {
        let key = name.strip_suffix("_file").and_then(Key::named);
        key.filter(|key| key.is_secret())
    };
    Key::named(name).or_else(by_file)
}

/// Whether a key is this one or belongs to this table.
fn is_within(name: &str, of: &str) -> bool {
    name.strip_prefix(of)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn known_names() -> impl Iterator<Item = &'static str> {
    let arrays = ARRAYS.iter().copied();
    let tables = KEYS
        .iter()
        .filter_map(|key| key.name.split_once('.'))
        .map(|(table, _)| table);
    KEYS.iter().map(|key| key.name).chain(arrays).chain(tables)
}

fn decimal(number: &toml::de::DeInteger<'_>) -> String {
    i64::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string())
}

/// `a text`, `an array`: the type of a value.
fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mistakes(text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        parse(Path::new("/etc/hubvault.toml"), text, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn mistakes_name_their_line_and_the_nearest_key() {
        assert_eq!(
            mistakes("[database]\nhots = \"db\"\nport = \"5432\"\n\n[scoop]\ntables = []\n"),
            [
                "hubvault.toml line 2: database.hots: no such key; did you mean database.host?",
                "hubvault.toml line 3: database.port: expected a whole number, not a text",
                "hubvault.toml line 5: scoop: no such key; did you mean scope?",
            ]
        );
        assert_eq!(
            mistakes("[scope]\ntables = \"users\"\nexclude = [1]\n[[scope.windows]]\n"),
            [
                "hubvault.toml line 3: scope.exclude: expected a text in the array, not a whole \
                 number",
                "hubvault.toml line 2: scope.tables: expected an array of texts, not a text",
                "hubvault.toml line 4: scope.windows: no such key; did you mean scope.window?",
            ]
        );
        assert!(mistakes("[database\n")[0].starts_with("hubvault.toml line 1: not TOML"));
        assert_eq!(
            mistakes(
                "[[job]]\n[[job]]\nname = \"a\"\n[job.http]\naddress = \"8080\"\n[job.scoop]\n"
            ),
            [
                "hubvault.toml line 1: job.name: is missing",
                "hubvault.toml line 4: http: is set once for all jobs; move it to the top of the file",
                "hubvault.toml line 6: scoop: no such key; did you mean scope?",
            ]
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\[{1,2}[a-z.]{1,12}\\]{1,2}\n|[a-z_]{1,9} ?= ?[\\[\\]\"0-9a-z{}.]{1,9}\n|\\PC){0,12}") {
            mistakes(&text);
        }
    }
}
