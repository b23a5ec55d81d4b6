//! Selects the archive that an argument names.

use anyhow::{Context, Result, bail};
use hubvault_config::Settings;
use hubvault_engine::catalog;
use hubvault_postgres::ConnectSettings;
use std::path::{Path, PathBuf};

/// Endings of archives, also of renamed and rejected ones.
const ENDINGS: [&str; 6] = [".gz", ".tgz", ".zst", ".tar", ".age", ".rejected"];

/// A path, or the name of an archive in the backup directory or the working directory, selects that file. Anything else is
/// looked up in the catalog by id, prefix or `latest`, never as a file of the working directory.
pub(crate) fn resolve(settings: &Settings, word: &str) -> Result<PathBuf> {
    let path = PathBuf::from(word);
    let job = settings.job();
    let directory = job.local_directory();
    if word.contains('/') {
        if path.is_file() {
            return Ok(path);
        }
        bail!("there is no file {word}");
    }
    if ENDINGS.iter().any(|ending| word.ends_with(ending)) {
        let beside = directory.join(word);
        if let Some(found) = [beside, path].into_iter().find(|path| path.is_file()) {
            return Ok(found);
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
        bail!(
            "no backup {word:?} in {}; `hubvault list` lists them{here}",
            directory.display()
        );
    };
    let file = record.file().with_context(|| {
        let error = record.error.as_deref();
        let error = error.unwrap_or("the run is still active");
        format!("backup {} has no archive: {error}", record.id.short())
    })?;
    if record.archive().is_none() {
        bail!(
            "the archive {} of backup {} is missing; `hubvault list` shows which exist",
            file.display(),
            record.id.short()
        );
    }
    Ok(file.to_owned())
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
