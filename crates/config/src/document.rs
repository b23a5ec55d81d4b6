//! `hubvault.toml`, read strictly: a key that means nothing is a mistake, and so is a wrong type.

use super::keys::{ARRAYS, KEYS, Key, Kind, OF_SERVICE};
use super::problem::{Problem, nearest};
use serde_spanned::Spanned;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// A value with the line it stands on, counted from 1.
#[derive(Clone)]
pub(crate) struct Placed<T> {
    pub line: usize,
    pub value: T,
}

/// One `[[table]]` of an array: its texts, lists and flags by key.
pub(crate) type Item = BTreeMap<String, Placed<Field>>;

/// What a key of an item holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Text(String),
    List(Vec<String>),
    Flag(bool),
}

/// What a file says: single values by the name of their key (lists with commas between their
/// items), and arrays of tables.
#[derive(Clone, Default)]
pub(crate) struct Document {
    /// As it is named in origins.
    pub name: String,
    /// The job that it is read for; `None` where the file has no `[[job]]`.
    pub(super) job: Option<String>,
    /// Keys and arrays that this job says itself.
    own: BTreeSet<String>,
    /// The file's `[[job]]`s, each as a document of what it says itself.
    pub(super) jobs: Vec<Placed<Document>>,
    values: BTreeMap<String, Placed<String>>,
    lists: BTreeMap<String, Vec<String>>,
    item_lines: BTreeMap<String, Vec<usize>>,
    arrays: BTreeMap<String, Vec<Placed<Item>>>,
}

impl Document {
    /// The text of a single value and the line it stands on.
    pub(crate) fn value(&self, key: &str) -> Option<(&str, usize)> {
        self.values
            .get(key)
            .map(|placed| (placed.value.as_str(), placed.line))
    }

    /// The items of a list.
    pub(crate) fn list(&self, key: &str) -> Option<&[String]> {
        self.lists.get(key).map(Vec::as_slice)
    }

    /// The lines of a list's items.
    pub(crate) fn item_lines(&self, key: &str) -> Option<&[usize]> {
        self.item_lines.get(key).map(Vec::as_slice)
    }

    /// An array of tables; `None` when the file does not speak of it, which is not the same as
    /// an empty one.
    pub(crate) fn array(&self, name: &str) -> Option<&[Placed<Item>]> {
        self.arrays.get(name).map(Vec::as_slice)
    }

    /// Whether the job that this is read for says a key or an array itself.
    pub(super) fn is_own(&self, key: &str) -> bool {
        self.own.contains(key)
    }

    /// The same for one of its jobs: what the job says stands in place of what stands at the top.
    pub(super) fn of_job(&self, job: &Self) -> Self {
        let mut all = self.clone();
        all.jobs.clear();
        all.job.clone_from(&job.job);
        for (key, value) in &job.values {
            // A secret is said in one way: as text, or by a file.
            let other = match key.strip_suffix("_file") {
                Some(plain) => plain.to_owned(),
                None => format!("{key}_file"),
            };
            all.values.remove(&other);
            all.lists.remove(key);
            all.item_lines.remove(key);
            all.values.insert(key.clone(), value.clone());
        }
        all.lists.extend(job.lists.clone());
        all.item_lines.extend(job.item_lines.clone());
        all.arrays.extend(job.arrays.clone());
        all.own = job
            .values
            .keys()
            .chain(job.arrays.keys())
            .cloned()
            .collect();
        all.one_set_of_recipients();
        all
    }

    /// Recipients are said in two ways that add up. A job that says either has those alone: others could open its
    /// archives.
    fn one_set_of_recipients(&mut self) {
        const LIST: &str = "seal.recipients";
        const TABLES: &str = "seal.recipient";
        match (self.is_own(LIST), self.is_own(TABLES)) {
            (true, false) => {
                self.arrays.remove(TABLES);
            }
            (false, true) => {
                let (line, value) = (0, String::new());
                self.values.insert(LIST.to_owned(), Placed { line, value });
                self.lists.insert(LIST.to_owned(), Vec::new());
                self.item_lines.remove(LIST);
                self.own.insert(LIST.to_owned());
            }
            (true, true) | (false, false) => {}
        }
    }

    /// `hubvault.toml line 12`.
    pub(crate) fn origin(&self, line: usize) -> String {
        format!("{} line {line}", self.name)
    }

    /// Reads a file's text; every mistake in it is put into `problems`.
    pub(crate) fn parse(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Self {
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned();
        let mut reader = Reader {
            text,
            document: Self {
                name,
                ..Self::default()
            },
            problems,
        };
        match DeTable::parse(text) {
            Ok(root) => reader.table("", root.get_ref()),
            Err(error) => {
                let what = format!("not TOML: {}", error.message());
                reader.problem(&error.span().unwrap_or(0..0), "", what);
            }
        }
        reader.document
    }
}

struct Reader<'a> {
    text: &'a str,
    document: Document,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }

    fn problem(&mut self, span: &Range<usize>, key: &str, what: impl Into<String>) {
        let origin = self.document.origin(self.line(span));
        self.problems.push(Problem::new(origin, key, what));
    }

    /// The root, or one `[table]` of it.
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = match prefix {
                "" => key.get_ref().to_string(),
                prefix => format!("{prefix}.{}", key.get_ref()),
            };
            let setting = KEYS.iter().find(|known| {
                known.name == name || known.secret && name.strip_suffix("_file") == Some(known.name)
            });
            let is_table = KEYS.iter().any(|known| {
                known
                    .name
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
            });
            if self.document.job.is_some() && OF_SERVICE.iter().any(|of| is_within(&name, of)) {
                let what = "is one for all jobs; it stands at the top of the file";
                self.problem(&key.span(), &name, what);
            } else if let Some(setting) = setting {
                self.single(setting, &name, value);
            } else if ARRAYS.contains(&name.as_str()) {
                self.array(&name, value);
            } else if name == "job" && self.document.job.is_none() {
                self.jobs(value);
            } else if name == "name" && self.document.job.is_some() {
                // Read by `jobs`.
            } else if is_table {
                match value.get_ref() {
                    DeValue::Table(inner) => self.table(&name, inner),
                    other => {
                        let what = format!("expected a table [{name}], not {}", a(other));
                        self.problem(&value.span(), &name, what);
                    }
                }
            } else {
                let hint = nearest(&name, known_names());
                self.problem(&key.span(), &name, format!("no such key{hint}"));
            }
        }
    }

    /// Each `[[job]]`: its name, and anything that a file says of one job.
    fn jobs(&mut self, value: &Spanned<DeValue<'_>>) {
        let DeValue::Array(items) = value.get_ref() else {
            let what = "expected an array of tables, written [[job]]";
            return self.problem(&value.span(), "job", what);
        };
        for item in items {
            let DeValue::Table(table) = item.get_ref() else {
                self.problem(&item.span(), "job", "expected a table, written [[job]]");
                continue;
            };
            let name = match table.get("name").map(|name| (name.get_ref(), name.span())) {
                Some((DeValue::String(name), _)) => name.to_string(),
                Some((other, span)) => {
                    let what = format!("expected text in quotes, not {}", a(other));
                    self.problem(&span, "job.name", what);
                    continue;
                }
                None => {
                    self.problem(&item.span(), "job.name", "is missing");
                    continue;
                }
            };
            let mut reader = Reader {
                text: self.text,
                document: Document {
                    name: self.document.name.clone(),
                    job: Some(name),
                    ..Document::default()
                },
                problems: self.problems,
            };
            reader.table("", table);
            let value = reader.document;
            let line = self.line(&item.span());
            self.document.jobs.push(Placed { line, value });
        }
    }

    fn single(&mut self, key: &Key, name: &str, value: &Spanned<DeValue<'_>>) {
        let line = self.line(&value.span());
        let is_file = name != key.name;
        let text = match (value.get_ref(), key.kind) {
            (DeValue::String(text), kind) if is_file || !matches!(kind, Kind::Integer(..)) => {
                if matches!(kind, Kind::List | Kind::Addresses) {
                    None
                } else {
                    Some(text.to_string())
                }
            }
            (DeValue::Integer(number), Kind::Integer(..) | Kind::Duration) if !is_file => {
                Some(decimal(number))
            }
            (DeValue::Boolean(flag), Kind::Choice(words)) if words.contains(&"true") => {
                Some(flag.to_string())
            }
            (DeValue::Array(_), Kind::List | Kind::Addresses) => self.texts(name, value),
            _ => None,
        };
        let Some(text) = text else {
            if !matches!(value.get_ref(), DeValue::Array(_)) || !matches!(key.kind, Kind::List) {
                let what = format!(
                    "expected {}, not {}",
                    key.kind.describe(),
                    a(value.get_ref())
                );
                self.problem(&value.span(), name, what);
            }
            return;
        };
        self.document
            .values
            .insert(name.to_owned(), Placed { line, value: text });
    }

    /// A list goes by its items, and by its text where it is shown.
    fn texts(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let items = self.strings(name, value)?;
        let text = items.join(", ");
        if let DeValue::Array(spanned) = value.get_ref() {
            let lines = spanned.iter().map(|item| self.line(&item.span())).collect();
            self.document.item_lines.insert(name.to_owned(), lines);
        }
        self.document.lists.insert(name.to_owned(), items);
        Some(text)
    }

    fn strings(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
        let DeValue::Array(items) = value.get_ref() else {
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            if let DeValue::String(text) = item.get_ref() {
                texts.push(text.to_string());
            } else {
                let what = format!("expected a text in the array, not {}", a(item.get_ref()));
                self.problem(&item.span(), name, what);
                return None;
            }
        }
        Some(texts)
    }

    fn array(&mut self, name: &str, value: &Spanned<DeValue<'_>>) {
        let DeValue::Array(items) = value.get_ref() else {
            let what = format!("expected an array of tables, written [[{name}]]");
            return self.problem(&value.span(), name, what);
        };
        let mut tables = Vec::new();
        for item in items {
            let DeValue::Table(table) = item.get_ref() else {
                let what = format!("expected a table, written [[{name}]]");
                self.problem(&item.span(), name, what);
                continue;
            };
            let mut fields = Item::new();
            for (key, value) in table {
                let line = self.line(&value.span());
                let place = format!("{name}.{}", key.get_ref());
                let field = match value.get_ref() {
                    DeValue::String(text) => Some(Field::Text(text.to_string())),
                    DeValue::Boolean(flag) => Some(Field::Flag(*flag)),
                    DeValue::Array(_) => self.strings(&place, value).map(Field::List),
                    other => {
                        let what =
                            format!("expected a text, a list or true/false, not {}", a(other));
                        self.problem(&value.span(), &place, what);
                        None
                    }
                };
                if let Some(value) = field {
                    fields.insert(key.get_ref().to_string(), Placed { line, value });
                }
            }
            tables.push(Placed {
                line: self.line(&item.span()),
                value: fields,
            });
        }
        self.document.arrays.insert(name.to_owned(), tables);
    }
}

/// Whether a key is this one or stands in this table.
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

/// `a text`, `an array`: the type of a value, in words.
fn a(value: &DeValue<'_>) -> &'static str {
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
        Document::parse(Path::new("/etc/hubvault.toml"), text, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn mistakes_have_lines_and_neighbours() {
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
                "hubvault.toml line 4: http: is one for all jobs; it stands at the top of the file",
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
