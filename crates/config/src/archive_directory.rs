//! Where archives are, known before the settings are resolved: the overlay is in the same place.

use super::destination_list::first_directory;
use super::document::{Document, Field};
use super::environment::Environment;
use super::keys::Key;
use hubvault_engine::state::mounts;
use std::path::{Path, PathBuf};

const PERMISSIONS: &str = "archive.permissions";
const KEY: &str = "archive.directory";

/// The archive directory of the job that a document is read for.
pub(crate) fn of_job(environment: &Environment, document: &Document) -> PathBuf {
    below(document, &configured(environment, document))
}

/// Accepts what modes a mount gives, before the state in the directory is looked at, if file or variables say so. A
/// mistake in the setting is reported where it is resolved.
pub(crate) fn accept_modes(environment: &Environment, document: &Document) {
    let in_file = document.value(PERMISSIONS);
    let in_file = in_file.map(|field| Field::text(&field.value));
    let variable = environment.setting("BACKUP_PERMISSIONS").ok().flatten();
    let variable = variable.filter(|_| !document.is_own(PERMISSIONS));
    let text = variable.map(|(text, _)| text).or(in_file);
    if text.is_some_and(|text| text == "as-mounted") {
        mounts::accept_as_mounted();
    }
}

/// Each job has a directory of its own: unless it sets one, the subdirectory of its name.
pub(crate) fn below(document: &Document, configured: &Path) -> PathBuf {
    match &document.job {
        Some(job) if !document.is_own(KEY) => configured.join(job),
        _ => configured.to_owned(),
    }
}

/// The archive directory that file and variables set, or the first directory of the destinations. A mistake in it is reported where it is resolved.
pub(crate) fn configured(environment: &Environment, document: &Document) -> PathBuf {
    let of_variable = || {
        let variable = environment.setting("BACKUP_DIR").ok().flatten();
        variable.filter(|_| !document.is_own(KEY))
    };
    let in_file = || document.value(KEY).map(|field| Field::text(&field.value));
    let text = of_variable().map(|(text, _)| text).or_else(in_file);
    text.map(PathBuf::from)
        .or_else(|| first_directory(environment, document))
        .unwrap_or_else(|| PathBuf::from(Key::named(KEY).map_or("", |key| key.default)))
}
