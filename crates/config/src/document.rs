//! What `hubvault.toml` holds, before anything is resolved: values by the names of their keys, each with its line.

use std::collections::{BTreeMap, BTreeSet};

/// A value with the line it is on, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AtLine<T> {
    pub(crate) line: usize,
    pub(crate) value: T,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Text(String),
    Number(String),
    List(Vec<AtLine<String>>),
    Flag(bool),
}

impl Field {
    /// As one text; lists with commas between their items.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Number(text) => text.clone(),
            Self::Flag(flag) => flag.to_string(),
            Self::List(items) => {
                let items: Vec<&str> = items.iter().map(|item| item.value.as_str()).collect();
                items.join(", ")
            }
        }
    }
}

/// Keys with what they hold: of the whole file, or of one `[[table]]` of an array.
pub(crate) type Fields = BTreeMap<String, AtLine<Field>>;

/// A file, or one `[[job]]` of it.
#[derive(Clone, Default)]
pub(crate) struct Document {
    /// The file's name, for origins.
    pub(crate) name: String,
    /// The job that it is read for; `None` where the file has no `[[job]]`.
    pub(crate) job: Option<String>,
    /// The file's `[[job]]`s, each as a document of its own keys alone.
    pub(crate) jobs: Vec<AtLine<Document>>,
    /// Single values by the name of their key.
    pub(crate) values: Fields,
    /// Arrays of tables by their name. An absent one means the default, an empty one means none.
    pub(crate) arrays: BTreeMap<String, Vec<AtLine<Fields>>>,
    /// Keys and arrays that the job sets itself.
    own: BTreeSet<String>,
}

impl Document {
    /// An empty one: the whole file, or one `[[job]]` of it.
    pub(crate) fn new(name: String, job: Option<String>) -> Self {
        Self {
            name,
            job,
            ..Self::default()
        }
    }

    /// What a key holds.
    pub(crate) fn value(&self, key: &str) -> Option<&AtLine<Field>> {
        self.values.get(key)
    }

    /// Whether nothing is set: there is no file, or only comments.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.arrays.is_empty() && self.job.is_none()
    }

    /// An array of tables; `None` where the file does not mention it.
    pub(crate) fn array(&self, name: &str) -> Option<&[AtLine<Fields>]> {
        self.arrays.get(name).map(Vec::as_slice)
    }

    /// Whether the job that this is read for sets a key or an array itself.
    pub(crate) fn is_own(&self, key: &str) -> bool {
        self.own.contains(key)
    }

    /// `hubvault.toml line 12`.
    pub(crate) fn origin(&self, line: usize) -> String {
        format!("{} line {line}", self.name)
    }

    /// The document of one of its jobs: what the job sets replaces what the top of the file sets.
    pub(crate) fn of_job(&self, job: &Self) -> Self {
        let mut all = self.clone();
        all.jobs.clear();
        all.job.clone_from(&job.job);
        for (key, value) in &job.values {
            // A secret is set in one way: as text, or by a file.
            let other = match key.strip_suffix("_file") {
                Some(plain) => plain.to_owned(),
                None => format!("{key}_file"),
            };
            all.values.remove(&other);
            all.values.insert(key.clone(), value.clone());
        }
        all.arrays.extend(job.arrays.clone());
        all.own = job
            .values
            .keys()
            .chain(job.arrays.keys())
            .cloned()
            .collect();
        all.keep_own_recipients();
        all
    }

    /// Recipients are set in two ways that add up. A job that uses either has those alone: the others could open its
    /// archives.
    fn keep_own_recipients(&mut self) {
        const LIST: &str = "seal.recipients";
        const TABLES: &str = "seal.recipient";
        match (self.is_own(LIST), self.is_own(TABLES)) {
            (true, false) => {
                self.arrays.remove(TABLES);
            }
            (false, true) => {
                let value = Field::List(Vec::new());
                let first = self.array(TABLES).and_then(<[_]>::first);
                let line = first.map_or(0, |table| table.line);
                self.values.insert(LIST.to_owned(), AtLine { line, value });
                self.own.insert(LIST.to_owned());
            }
            (true, true) | (false, false) => {}
        }
    }
}
