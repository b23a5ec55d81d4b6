//! Whether every archive is there as it was published.

use super::super::{Finding, KnownArchive, Look};
use crate::catalog::{BackupRecord, contents};
use crate::proof::integrity;
use hubvault_archive::Identities;
use hubvault_model::{ByteSize, Cancel, counted};
use std::collections::BTreeSet;
use std::path::Path;

pub(super) const NAME: &str = "files";
/// Larger ones would keep the others waiting; `hubvault verify` reads them.
const LARGEST: u64 = 200_000_000;

pub(super) fn look(look: &Look<'_>, cancel: &Cancel) -> Finding {
    let known = &look.known;
    let mut runs = look.runs.iter().map(|summary| &summary.run);
    if known.is_empty() && runs.clone().any(BackupRecord::is_kept) {
        return Finding::ok(NAME, "all archives are at other destinations");
    }
    if known.is_empty() && runs.any(BackupRecord::was_published) {
        // An alert about those that were there ends here.
        return Finding::ok(NAME, "all archives were removed; none should be there");
    }
    if known.is_empty() {
        return Finding::skipped(NAME, "there is no archive yet");
    }
    let mut wrong: Vec<String> = Vec::new();
    let mut there: Vec<&KnownArchive> = Vec::new();
    let mut missing = 0;
    for archive in known {
        let file = archive.path.display();
        match &archive.found {
            Err(error) => {
                missing += 1;
                wrong.push(format!("{file} is missing: {error}"));
            }
            Ok(found) if archive.bytes.is_some_and(|bytes| bytes != *found) => {
                let published = archive.bytes.unwrap_or_default();
                let was = ByteSize(published);
                wrong.push(format!(
                    "{file} has {found} bytes and was published with {published} ({was})"
                ));
            }
            Ok(_) => there.push(archive),
        }
    }
    let (mut read, mut large) = (0, 0);
    for at in sample(there.len(), look.now.as_second() / 86_400) {
        let archive = there[at];
        if archive.bytes.is_some_and(|bytes| bytes > LARGEST) {
            large += 1;
            continue;
        }
        match read_back(look, &archive.path, cancel) {
            Ok(()) => read += 1,
            Err(why) => wrong.push(why),
        }
    }
    if wrong.is_empty() {
        let left = match large {
            0 => String::new(),
            _ => format!(
                "; {large} over {} not read here (hubvault verify does)",
                ByteSize(LARGEST)
            ),
        };
        let what = format!(
            "{} with the right size, {read} of them read back{left}",
            counted(known.len() as u64, "archive")
        );
        return Finding::ok(NAME, what);
    }
    let mut next = "hubvault verify names what is damaged; hubvault backup takes another; find out who or what \
                    touched the directory"
        .to_owned();
    if missing > 0 {
        next += ". Missing archives: bring them back from a copy, or, if they were removed on purpose, hubvault prune --gone";
    }
    Finding::failing(NAME, wrong.join("; "), next)
}

/// The newest, and another one each day.
fn sample(count: usize, day: i64) -> BTreeSet<usize> {
    let Ok(count) = i64::try_from(count) else {
        return BTreeSet::new();
    };
    if count == 0 {
        return BTreeSet::new();
    }
    [0, day.rem_euclid(count)]
        .into_iter()
        .filter_map(|at| usize::try_from(at).ok())
        .collect()
}

/// Of a sealed one the file's checksum, of another one everything.
fn read_back(look: &Look<'_>, file: &Path, cancel: &Cancel) -> Result<(), String> {
    let nobody = Identities::none();
    let known = contents(file, &nobody).map_err(|error| format!("{}: {error}", file.display()))?;
    let outcome = match &known.seal {
        Some(seal) if !known.opened => {
            integrity::same_file(file, seal, &|_| {}, cancel).map(|_| ())
        }
        _ => integrity::read_back(file, &nobody, look.job.workers, &|_| {}, cancel).map(|_| ()),
    };
    outcome.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::sample;

    #[test]
    fn every_archive_has_its_day() {
        let days = |count| (0..i64::from(count)).flat_map(move |day| sample(count as usize, day));
        let mut read: Vec<usize> = days(5_u8).collect();
        read.sort_unstable();
        read.dedup();
        assert_eq!(read, [0, 1, 2, 3, 4]);
        assert!(sample(0, 3).is_empty());
        assert_eq!(sample(1, -3).len(), 1);
    }
}
