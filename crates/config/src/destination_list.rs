//! Where `BACKUP_DESTINATIONS` and `[[destination]]` say that copies go, before anything else of them is read.

use super::document::{AtLine, Document, Field, Fields};
use super::environment::Environment;
use hubvault_engine::job::LOCAL;
use hubvault_store::Location;
use std::path::PathBuf;

/// The key of the list of URLs.
pub(crate) const LIST: &str = "archive.destinations";
/// The name of the array of tables.
pub(crate) const TABLE: &str = "destination";
const VARIABLE: &str = "BACKUP_DESTINATIONS";

/// One destination, as it is written.
pub(crate) struct Entry<'a> {
    /// Its name, where it has one of its own.
    pub(crate) name: Option<String>,
    /// Its URL; empty where it has none.
    pub(crate) url: String,
    /// `hubvault.toml line 12`, `variable BACKUP_DESTINATIONS`.
    pub(crate) origin: String,
    /// The keys of its table; `None` for one of the list.
    pub(crate) fields: Option<&'a AtLine<Fields>>,
    /// The job of several that inherits it, which has a place of its own in it.
    pub(crate) job: Option<&'a str>,
}

/// All of them: those of the list, then the tables.
pub(crate) fn entries<'a>(environment: &Environment, document: &'a Document) -> Vec<Entry<'a>> {
    let job = |key: &str| document.job.as_deref().filter(|_| !document.is_own(key));
    let mut all = Vec::new();
    for (item, origin) in listed(environment, document) {
        let (name, url) = split(&item);
        all.push(Entry {
            name: name.map(str::to_owned),
            url: url.to_owned(),
            origin,
            fields: None,
            job: job(LIST),
        });
    }
    for fields in document.array(TABLE).unwrap_or_default() {
        let text = |key: &str| match fields.value.get(key).map(|field| &field.value) {
            Some(Field::Text(text)) => Some(text.clone()),
            _ => None,
        };
        all.push(Entry {
            name: text("name"),
            url: text("url").unwrap_or_default(),
            origin: document.origin(fields.line),
            fields: Some(fields),
            job: job(TABLE),
        });
    }
    all
}

impl Entry<'_> {
    /// Where it is for the job that it is read for. `Err` says what is wrong with the URL.
    pub(crate) fn location(&self) -> Result<Location, String> {
        let location = Location::parse(&self.url).map_err(|error| error.to_string())?;
        Ok(match self.job {
            Some(job) => location.below(job),
            None => location,
        })
    }

    /// The name of one that has none of its own.
    pub(crate) fn usual_name(location: &Location) -> &'static str {
        match location {
            Location::Directory(_) => "disk",
            Location::S3(_) => "s3",
            Location::Gcs(_) => "gs",
            Location::Azure(_) => "az",
            Location::Sftp(_) => "sftp",
        }
    }
}

/// The directory in which archives are made where nothing else says it: the first directory of the list, or the one that
/// is called `local`. Without the name of a job.
pub(crate) fn first_directory(environment: &Environment, document: &Document) -> Option<PathBuf> {
    let all = entries(environment, document);
    let is_one = |entry: &&Entry<'_>| match &entry.name {
        Some(name) => name == LOCAL,
        None => entry.fields.is_none(),
    };
    all.iter().filter(is_one).find_map(|entry| {
        let location = Location::parse(&entry.url).ok()?;
        location.directory().map(PathBuf::from)
    })
}

fn listed(environment: &Environment, document: &Document) -> Vec<(String, String)> {
    // A file that cannot be read is reported where the setting is resolved.
    let variable = environment.setting(VARIABLE).ok().flatten();
    if let Some((text, origin)) = variable.filter(|_| !document.is_own(LIST)) {
        let items = text.split(',').map(str::trim);
        let items = items.filter(|item| !item.is_empty());
        return items
            .map(|item| (item.to_owned(), origin.clone()))
            .collect();
    }
    match document.value(LIST).map(|field| &field.value) {
        Some(Field::List(items)) => (items.iter())
            .map(|item| (item.value.trim().to_owned(), document.origin(item.line)))
            .collect(),
        _ => Vec::new(),
    }
}

/// `name=url`, or a URL alone.
fn split(item: &str) -> (Option<&str>, &str) {
    match item.split_once('=') {
        Some((name, url)) if is_name(name.trim()) => (Some(name.trim()), url.trim()),
        _ => (None, item),
    }
}

/// Whether a destination can be called so: a name is part of records, commands and paths.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !text.is_empty() && text.len() <= 63 && text.chars().all(plain)
}
