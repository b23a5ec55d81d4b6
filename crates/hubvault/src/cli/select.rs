//! Selects the archive that an argument names.

use anyhow::{Context, Result, bail};
use clap::Args;
use hubvault_config::{Environment, Settings, store_options};
use hubvault_engine::catalog::{self, BackupCopy, BackupRecord};
use hubvault_engine::job::Destination;
use hubvault_engine::remote::{Archives, Backup, Location};
use hubvault_model::Cancel;
use hubvault_postgres::ConnectSettings;
use std::path::{Path, PathBuf};

/// Endings of archives, also of renamed and rejected ones.
const ENDINGS: [&str; 6] = [".gz", ".tgz", ".zst", ".tar", ".age", ".rejected"];

/// Where the backup is that an argument names.
#[derive(Debug, Args)]
pub(crate) struct FromArgs {
    /// Read it in this destination of the configuration, not on this machine; `local` is the backup directory
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
}

/// The backup that a word names: on this machine as [`resolve`] says, in a destination, or by a URL that ends with
/// `latest`, an id or a key.
pub(crate) fn backup_of(
    settings: &Settings,
    from: &FromArgs,
    word: &str,
    cancel: &Cancel,
) -> Result<Backup> {
    let (archives, word) = if let Some(name) = &from.destination {
        if is_url(word) {
            bail!("{word} says where the backup is; leave --destination {name} out");
        }
        (Archives::open(named(settings, name)?, cancel)?, word)
    } else if is_url(word) {
        let (place, word) = word.rsplit_once('/').unwrap_or((word, ""));
        // Of `file:///latest` the root is left.
        let root = format!("{place}/");
        let place = if place.ends_with('/') { &root } else { place };
        if word.is_empty() || place.ends_with(":/") {
            bail!("{place} names no backup; add /latest, an id or the name of an archive");
        }
        (archives_at(settings, place, cancel)?, word)
    } else {
        return resolve(settings, word, cancel);
    };
    let listed = archives.find(word)?;
    Ok(Backup::of(archives, listed))
}

/// Whether a word is a URL.
pub(crate) fn is_url(word: &str) -> bool {
    word.contains("://")
}

/// The archives of a URL: opened as a destination of this URL is, else by what the environment says.
pub(crate) fn archives_at(settings: &Settings, url: &str, cancel: &Cancel) -> Result<Archives> {
    let location = Location::parse(url)?;
    let destinations = &settings.job().destinations;
    if let Some(known) = (destinations.iter()).find(|known| known.is_at(&location)) {
        return Ok(Archives::open(known, cancel)?);
    }
    let mut destination = Destination::new(location.to_string(), location);
    destination.options = store_options(&Environment::of_process(), &destination.location)
        .map_err(|problem| anyhow::anyhow!("opening {url}: {problem}"))?;
    Ok(Archives::open(&destination, cancel)?)
}

/// The destination of this name.
pub(crate) fn named<'a>(settings: &'a Settings, name: &str) -> Result<&'a Destination> {
    let destinations = &settings.job().destinations;
    destinations.named(name).with_context(|| {
        let known: Vec<&str> = destinations.iter().map(|it| it.name.as_str()).collect();
        format!(
            "there is no destination {name:?}; there are: {}",
            known.join(", ")
        )
    })
}

/// A path, or the name of an archive in the backup directory or the working directory, selects that file. Anything else is
/// looked up in the catalog by id, prefix or `latest`, never as a file of the working directory.
pub(crate) fn resolve(settings: &Settings, word: &str, cancel: &Cancel) -> Result<Backup> {
    let path = PathBuf::from(word);
    let job = settings.job();
    let directory = job.local_directory();
    if word.contains('/') {
        if path.is_file() {
            return Ok(Backup::at(path));
        }
        bail!("there is no file {word}");
    }
    if ENDINGS.iter().any(|ending| word.ends_with(ending)) {
        let beside = directory.join(word);
        if let Some(found) = [beside, path].into_iter().find(|path| path.is_file()) {
            return Ok(Backup::at(found));
        }
    }
    if !directory.is_dir() {
        bail!(
            "there is no backup directory {}, so no backup {word:?}; set BACKUP_DIR or give a file",
            directory.display()
        );
    }
    let found = catalog::current(job)?.find(word)?;
    let Some(record) = found else {
        let here = if Path::new(word).is_file() {
            format!("; the file here is ./{word}")
        } else {
            String::new()
        };
        if here.is_empty() && word == "latest" {
            bail!(
                "no backups in {} yet; `hubvault backup` takes the first",
                directory.display()
            );
        }
        bail!(
            "no backup {word:?} in {}; `hubvault list` lists them{here}",
            directory.display()
        );
    };
    if let Some(file) = record.archive() {
        return Ok(Backup::at(file.to_owned()).wanted(record.id));
    }
    elsewhere(settings, &record, cancel)
}

/// The backup at the first destination that has a copy, for one that is not on this machine.
fn elsewhere(settings: &Settings, record: &BackupRecord, cancel: &Cancel) -> Result<Backup> {
    let id = record.id.short();
    let mut failed = None;
    for copy in record.copies.iter().filter(|copy| copy.is_there()) {
        match stored(settings, copy, cancel) {
            Ok(backup) => {
                tracing::info!("reading backup {id} at {}", backup.place());
                return Ok(backup.wanted(record.id));
            }
            Err(error) => failed = Some(error),
        }
    }
    if let Some(error) = failed {
        return Err(error.context(format!("backup {id} is not on this machine")));
    }
    let lost: Vec<String> = (record.copies.iter().filter(|copy| copy.path().is_none()))
        .map(lost_in_words)
        .collect();
    let lost = lost.join(", ");
    let way = way(settings, record);
    match record.file() {
        Some(file) => {
            let file = file.display();
            let also = if lost.is_empty() { "" } else { ", and it is " };
            bail!(
                "the archive {file} of backup {id} is missing{also}{lost}; {}",
                way.unwrap_or_else(|| "`hubvault list` shows which exist".to_owned())
            )
        }
        None if lost.is_empty() => {
            let error = record.error.as_deref();
            let error = error.unwrap_or("the run is still active");
            bail!("backup {id} has no archive: {error}")
        }
        None => bail!(
            "backup {id} is not on this machine, and it is {lost}; {}",
            way.unwrap_or_else(|| "`hubvault copies verify` checks its copies".to_owned())
        ),
    }
}

fn lost_in_words(copy: &BackupCopy) -> String {
    let name = &copy.destination;
    match copy.place() {
        Some(url) if copy.is_unconfigured() => {
            format!("recorded at {name} ({url}), which is not configured any more")
        }
        None if copy.is_unconfigured() => {
            format!("recorded at {name}, which is not configured any more")
        }
        _ => format!("{} at {name}", copy.state.as_str()),
    }
}

/// How to come by a copy of which the destination was removed or has another URL now.
fn way(settings: &Settings, record: &BackupRecord) -> Option<String> {
    let copy = (record.copies.iter()).find(|copy| copy.is_unconfigured() && copy.is_expected())?;
    let name = &copy.destination;
    if settings.job().destinations.named(name).is_some() {
        return Some(format!(
            "where it was moved to the new URL, `--destination {name}` reads it and `hubvault copies sync` records it"
        ));
    }
    let (url, key) = (copy.location.as_ref()?, &copy.key);
    Some(format!("{url}/{key} instead of the name reads it there"))
}

/// A copy where its destination is, which is a URL for one that is not in the configuration.
fn stored(settings: &Settings, copy: &BackupCopy, cancel: &Cancel) -> Result<Backup> {
    let name = &copy.destination;
    let archives = if is_url(name) {
        archives_at(settings, name, cancel)?
    } else {
        Archives::open(named(settings, name)?, cancel)?
    };
    let listed = archives.find(&copy.key)?;
    Ok(Backup::of(archives, listed))
}

/// The database that `--to` or `--database` names; without them the configured one.
pub(crate) fn target_of(
    settings: &Settings,
    to: Option<&str>,
    database: Option<&str>,
) -> Result<ConnectSettings> {
    let configured = settings.job().database.clone();
    Ok(match (to, database) {
        (Some(url), _) => settings.target(url)?,
        (None, Some(name)) => ConnectSettings {
            dbname: name.to_owned(),
            ..configured
        },
        (None, None) => configured,
    })
}
