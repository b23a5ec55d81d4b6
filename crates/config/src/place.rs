//! Where archives lie, known before the settings are: the overlay lies there, too.

use super::document::Document;
use super::environment::Environment;
use super::keys::KEYS;
use std::path::{Path, PathBuf};

/// The archive directory of the job that a document is read for.
pub(super) fn archives(environment: &Environment, document: &Document) -> PathBuf {
    in_shared(document, &said(environment, document))
}

/// Each job has a directory of its own: unless it says which, it is called like the job, in the one that is all jobs'.
pub(super) fn in_shared(document: &Document, said: &Path) -> PathBuf {
    match &document.job {
        Some(job) if !document.is_own("archive.directory") => said.join(job),
        _ => said.to_owned(),
    }
}

/// The archive directory that file and variables name. A mistake in it is reported where it is resolved.
pub(super) fn said(environment: &Environment, document: &Document) -> PathBuf {
    let own = document.is_own("archive.directory");
    let said = environment.setting("BACKUP_DIR").ok().flatten();
    let in_file = document
        .value("archive.directory")
        .map(|(text, _)| text.to_owned());
    let default = KEYS.iter().find(|key| key.name == "archive.directory");
    let text = said
        .filter(|_| !own)
        .map(|(text, _)| text)
        .or(in_file)
        .unwrap_or_else(|| default.map_or_else(String::new, |key| key.default.to_owned()));
    PathBuf::from(text)
}
