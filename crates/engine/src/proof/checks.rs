//! What a drill compares beside the rows of tables.

use crate::restore::RestoreError;
use hubvault_archive::{AnyArchive, Manifest};
use hubvault_model::Cancel;
use hubvault_postgres::{PgError, Session, target};
use std::io::{self, Read};

/// Sequences whose values differ, and those that could not be read.
pub(super) fn sequences(
    session: &mut Session,
    manifest: &Manifest,
) -> Result<(Vec<String>, Vec<String>), PgError> {
    let (mut wrong, mut unread) = (Vec::new(), Vec::new());
    for sequence in &manifest.sequences {
        let Some(value) = sequence.last_value else {
            continue;
        };
        let name = &sequence.name;
        match target::sequence(session, name) {
            Ok(found) if found == Some((value, sequence.is_called)) => {}
            Ok(_) => wrong.push(format!(
                "the sequence {name} does not have the value {value}"
            )),
            Err(PgError::Query { why, .. }) => unread.push(format!("sequence {name} ({why})")),
            Err(error) => return Err(error),
        }
    }
    Ok((wrong, unread))
}

/// Configuration files whose content is not what was read on the host. Opening the archive compared the manifest's checksum of
/// each with its entry's.
pub(super) fn files(archive: &AnyArchive, cancel: &Cancel) -> Result<Vec<String>, RestoreError> {
    let mut wrong = Vec::new();
    let files = archive.manifest().files.iter();
    let files = files.filter(|file| file.sha256.is_some());
    for entry in files.filter_map(|file| archive.entry(&file.name)) {
        let mut content = archive.content(entry)?;
        // Reading it to its end compares it with the entry's checksum.
        if let Err(error) = read_out(&mut content, cancel) {
            wrong.push(error.to_string());
        }
    }
    Ok(wrong)
}

/// Reads to the end, or until a stop is requested: a small entry may decompress to very much.
fn read_out(content: &mut impl Read, cancel: &Cancel) -> io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    while content.read(&mut buffer)? > 0 {
        if cancel.is_requested() {
            return Err(io::Error::other("stopped on request"));
        }
    }
    Ok(())
}

/// Foreign keys that should have been created `NOT VALID` and are missing. All others were
/// validated when they were created.
pub(super) fn foreign_keys(
    session: &mut Session,
    manifest: &Manifest,
) -> Result<Vec<String>, PgError> {
    let found = target::unvalidated_keys(session)?;
    let missing = manifest
        .not_valid
        .iter()
        .filter(|key| !found.contains(&(key.table.clone(), key.name.clone())));
    Ok(missing
        .map(|key| format!("the foreign key {} on {} is missing", key.name, key.table))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_read_until_a_stop_is_requested() {
        let cancel = Cancel::new();
        read_out(&mut io::empty(), &cancel).unwrap();
        cancel.request();
        assert!(read_out(&mut io::repeat(0), &cancel).is_err());
    }
}
