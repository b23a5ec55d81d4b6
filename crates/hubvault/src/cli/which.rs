//! Which archive a word means.

use crate::config::Settings;
use anyhow::{Context, Result, bail};
use hubvault_engine::backup::current_catalog;
use std::path::PathBuf;

/// A file as it is, else what the catalog calls by that id, prefix, name, or `latest`.
pub(crate) fn resolve(settings: &Settings, word: &str) -> Result<PathBuf> {
    let path = PathBuf::from(word);
    if path.is_file() {
        return Ok(path);
    }
    let directory = settings.job().directory;
    let beside = directory.join(word);
    if beside.is_file() {
        return Ok(beside);
    }
    if word.contains('/') {
        bail!("there is no file {word}");
    }
    if !directory.is_dir() {
        bail!(
            "there is no backup directory {}, so no backup {word:?}; set BACKUP_DIR or give a file",
            directory.display()
        );
    }
    let found = current_catalog(&directory)?.find(word)?;
    let Some(record) = found else {
        bail!(
            "no backup {word:?} in {}; `hubvault list` names them",
            directory.display()
        );
    };
    let file = record.file.with_context(|| {
        let error = record
            .error
            .unwrap_or_else(|| "it is still running".to_owned());
        format!("backup {} has no archive: {error}", record.id.short())
    })?;
    if !file.is_file() {
        bail!(
            "the archive {} of backup {} is gone; `hubvault list` names those that are there",
            file.display(),
            record.id.short()
        );
    }
    Ok(file)
}
