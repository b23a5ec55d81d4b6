//! `[[scope.window]]` and `[[file]]`: what is taken besides whole tables.

use super::document::{Document, Field, Item, Placed};
use super::problem::{Problem, nearest};
use hubvault_engine::command::CommandLine;
use hubvault_engine::job::{FileSource, ReferencePolicy, Window, WindowRows};
use hubvault_model::TablePattern;
use std::path::{Component, Path, PathBuf};

/// The shell scripts' windows.
const WINDOW_TABLES: [&str; 3] = ["credit_transactions", "point_transactions", "purchases"];
const WINDOW_COLUMN: &str = "created_at";
const WINDOW_LENGTH: &str = "3 months";
/// The shell scripts' files, under the configuration directory.
const FILES: [&str; 4] = [
    ".env.production",
    "docker-compose.prod.yml",
    "nginx.prod.conf",
    "ssl",
];

/// A value and where it was set.
pub struct Said<T> {
    /// The value.
    pub value: T,
    /// `hubvault.toml line 12`, `default`.
    pub origin: String,
}

/// Reads the windows, or gives the default ones when the file does not speak of windows.
pub(crate) fn windows(document: &Document, problems: &mut Vec<Problem>) -> Vec<Said<Window>> {
    let Some(items) = document.array("scope.window") else {
        let tables = WINDOW_TABLES
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        let (column, length) = (WINDOW_COLUMN.to_owned(), WINDOW_LENGTH.to_owned());
        let value = Window {
            tables,
            rows: WindowRows::Recent { column, length },
            references: ReferencePolicy::default(),
        };
        return vec![Said {
            value,
            origin: "default".to_owned(),
        }];
    };
    let read = |item: &Placed<Item>| {
        let known = &["tables", "column", "length", "where", "references"];
        let mut fields = Fields::new("scope.window", document, item, known, problems);
        let tables = fields.patterns("tables");
        let column = fields.text("column");
        let length = fields.text("length");
        let condition = fields.text("where");
        let rows = match (column, length, condition) {
            (None, None, Some(condition)) => WindowRows::Where(condition),
            (Some(column), Some(length), None) => {
                if let Err(what) = check_interval(&length) {
                    fields.problem("length", what);
                }
                WindowRows::Recent { column, length }
            }
            _ => {
                fields.problem("", "give either column and length, or where");
                WindowRows::Where(String::new())
            }
        };
        let references = match fields.text("references").as_deref() {
            None | Some("include") => ReferencePolicy::Include,
            Some("warn") => ReferencePolicy::Warn,
            Some(other) => {
                fields.problem(
                    "references",
                    format!("expected include or warn, not {other:?}"),
                );
                ReferencePolicy::Warn
            }
        };
        Said {
            value: Window {
                tables,
                rows,
                references,
            },
            origin: document.origin(item.line),
        }
    };
    items.iter().map(read).collect()
}

/// Reads the files, or gives the default ones when the file does not speak of files.
pub(crate) fn files(
    document: &Document,
    config_dir: &Path,
    problems: &mut Vec<Problem>,
) -> Vec<Said<FileSource>> {
    let Some(items) = document.array("file") else {
        let one = |name: &&str| Said {
            value: FileSource {
                source: config_dir.join(name),
                name: format!("config/{name}"),
                required: false,
            },
            origin: "default".to_owned(),
        };
        return FILES.iter().map(one).collect();
    };
    let mut found: Vec<Said<FileSource>> = Vec::new();
    for item in items {
        let known = &["source", "name", "required"];
        let mut fields = Fields::new("file", document, item, known, problems);
        let Some(source) = fields.text("source").map(PathBuf::from) else {
            if !item.value.contains_key("source") {
                fields.problem(
                    "",
                    "source is missing; expected the path of a file or directory",
                );
            }
            continue;
        };
        let name = fields.text("name").unwrap_or_else(|| name_of(&source));
        if let Err(what) = check_name(&name) {
            fields.problem("name", what);
        }
        if let Some(other) = found.iter().find(|other| other.value.name == name) {
            let what = format!(
                "{name:?} is the name of another file too ({})",
                other.origin
            );
            fields.problem("name", what);
        }
        let required = fields.flag("required").unwrap_or(false);
        let source = config_dir.join(source);
        let value = FileSource {
            source,
            name,
            required,
        };
        found.push(Said {
            value,
            origin: document.origin(item.line),
        });
    }
    found
}

fn name_of(source: &Path) -> String {
    let last = source
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    format!("config/{}", last.unwrap_or_default())
}

/// A relative path that cannot leave the directory where the archive is unpacked, nor fall among
/// hubvault's own entries.
fn check_name(name: &str) -> Result<(), String> {
    let plain = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !plain || name.ends_with('/') {
        return Err(format!(
            "expected a relative path such as config/nginx.conf, not {name:?}"
        ));
    }
    let first = name.split('/').next().unwrap_or_default();
    if ["database", "BACKUP_INFO.txt", "restore.sh", "manifest.json"].contains(&first) {
        return Err(format!(
            "{first} is hubvault's own; choose another name, such as config/{name}"
        ));
    }
    Ok(())
}

/// The fields of one item, checked as they are asked for.
pub(super) struct Fields<'a> {
    table: &'static str,
    document: &'a Document,
    item: &'a Placed<Item>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(
        table: &'static str,
        document: &'a Document,
        item: &'a Placed<Item>,
        known: &[&str],
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        for (key, placed) in &item.value {
            if !known.contains(&key.as_str()) {
                let what = format!("no such key{}", nearest(key, known.iter().copied()));
                let key = format!("{table}.{key}");
                problems.push(Problem::new(document.origin(placed.line), key, what));
            }
        }
        Self {
            table,
            document,
            item,
            problems,
        }
    }

    pub(super) fn problem(&mut self, key: &str, what: impl Into<String>) {
        let line = self
            .item
            .value
            .get(key)
            .map_or(self.item.line, |placed| placed.line);
        let key = match key {
            "" => self.table.to_owned(),
            key => format!("{}.{key}", self.table),
        };
        self.problems
            .push(Problem::new(self.document.origin(line), key, what));
    }

    /// What a key holds, unread.
    pub(super) fn field(&self, key: &str) -> Option<&'a Field> {
        self.item.value.get(key).map(|placed| &placed.value)
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match &self.item.value.get(key)?.value {
            Field::Text(text) if !text.trim().is_empty() => Some(text.clone()),
            _ => {
                self.problem(key, "expected a text in quotes that is not empty");
                None
            }
        }
    }

    /// A command: a text for the shell, or a program with its arguments.
    pub(super) fn command(&mut self, key: &str) -> Option<CommandLine> {
        match self.item.value.get(key).map(|placed| &placed.value) {
            Some(Field::Text(text)) if !text.trim().is_empty() => Some(CommandLine::shell(text)),
            Some(Field::List(argv)) if argv.first().is_some_and(|program| !program.is_empty()) => {
                Some(CommandLine::of(argv.iter().cloned()))
            }
            _ => {
                self.problem(
                    key,
                    "expected a text for `sh -c`, or an array of a program and its arguments",
                );
                None
            }
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        if let Field::Flag(flag) = self.item.value.get(key)?.value {
            Some(flag)
        } else {
            self.problem(key, "expected true or false, without quotes");
            None
        }
    }

    fn patterns(&mut self, key: &str) -> Vec<TablePattern> {
        match self.item.value.get(key).map(|placed| &placed.value) {
            Some(Field::List(texts)) if !texts.is_empty() => {
                patterns(texts, |what| self.problem(key, what))
            }
            _ => {
                self.problem(key, "expected an array of table names");
                Vec::new()
            }
        }
    }
}

/// Patterns from texts; what is wrong with one is told.
pub(crate) fn patterns(texts: &[String], mut tell: impl FnMut(String)) -> Vec<TablePattern> {
    let parse = |text: &String| {
        text.parse::<TablePattern>()
            .map_err(|error| tell(error.to_string()))
    };
    texts.iter().map(parse).filter_map(Result::ok).collect()
}

/// Numbers with units, as in `3 months` or `1 year 6 months`; `PostgreSQL` reads the interval
/// itself, this is so that a mistake has its line.
fn check_interval(text: &str) -> Result<(), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let unit = |word: &str| {
        let word = word.strip_suffix('s').unwrap_or(word);
        ["hour", "day", "week", "month", "year"].contains(&word)
    };
    let pair = |pair: &[&str]| {
        pair.len() == 2 && pair[0].parse::<u32>().is_ok_and(|n| n > 0) && unit(pair[1])
    };
    if !words.is_empty() && words.chunks(2).all(pair) {
        Ok(())
    } else {
        Err(format!(
            "expected a length such as `3 months` or `90 days`, not {text:?}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_numbers_with_units() {
        for good in [
            "3 months",
            "90 days",
            "1 year 6 months",
            "1 day",
            "2 weeks",
            "36 hours",
        ] {
            assert_eq!(check_interval(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "months",
            "3",
            "3 moons",
            "-3 days",
            "0 days",
            "3 months;",
            "1 day 2",
        ] {
            assert!(check_interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_stay_inside_the_archive() {
        for good in ["config/ssl", "config/.env", "x", "config/a b/c"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "config/../../x",
            "config/",
            "database/x",
            "restore.sh",
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
