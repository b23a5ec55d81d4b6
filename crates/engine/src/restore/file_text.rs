//! The text of a configuration file in an archive, or the beginning of it.

use super::error::RestoreError;
use hubvault_archive::{Archive, ArchiveError, CheckedMembers, EntryKind, Source};
use std::io::Read;

/// What a file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileText {
    /// Text, and whether it goes on.
    Text(String, bool),
    /// Bytes that are no text in UTF-8.
    Binary,
    /// A link to this path.
    Link(String),
}

/// Reads so many bytes of a configuration file; `None` where the archive has none of this name.
pub fn file_text<S: Source>(
    archive: &Archive<S>,
    name: &str,
    most: u64,
) -> Result<Option<FileText>, RestoreError> {
    let entry = archive.entry(name);
    let is_file = |kind| matches!(kind, EntryKind::Config | EntryKind::Link);
    let Some(entry) = entry.filter(|entry| is_file(entry.kind)) else {
        return Ok(None);
    };
    if let Some(target) = &entry.link {
        return Ok(Some(FileText::Link(target.clone())));
    }
    let mut bytes = Vec::new();
    let content = CheckedMembers::new(archive.content(entry)?);
    let read = content.take(most).read_to_end(&mut bytes);
    read.map_err(|error| ArchiveError::Entry {
        name: entry.name.clone(),
        offset: entry.offset,
        what: error.to_string(),
    })?;
    let is_cut = entry.raw_bytes > bytes.len() as u64;
    let whole = match std::str::from_utf8(&bytes) {
        Ok(_) => bytes.len(),
        // A character that was cut.
        Err(error) if is_cut && error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return Ok(Some(FileText::Binary)),
    };
    bytes.truncate(whole);
    Ok(Some(match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => FileText::Text(text, is_cut),
        _ => FileText::Binary,
    }))
}
