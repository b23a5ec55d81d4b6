//! Archives that are missing or damaged in the directory in which archives are made: copies elsewhere bring them back.

use super::due::task;
use super::source::Task;
use crate::catalog::{BackupRecord, Catalog, CatalogError, CopyState, State};
use crate::disk::free_bytes;
use crate::job::{Destination, Job};
use crate::retain::kept_once_there;
use hubvault_model::{BackupId, ByteSize};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;

/// What is to be brought back, newest first: what retention keeps there, and a copy elsewhere has. `records` are newest
/// first. What is not there is recorded as missing.
pub(super) fn to_bring_back(
    job: &Job,
    catalog: &Catalog,
    records: &[BackupRecord],
    zone: &TimeZone,
) -> Result<Vec<Task>, CatalogError> {
    let here = job.destinations.first();
    let lost = || records.iter().filter(|record| is_lost(record));
    let ids: HashSet<BackupId> = lost().map(|record| record.id).collect();
    if ids.is_empty() || !job.destinations.keeps_local() {
        return Ok(Vec::new());
    }
    let now = Timestamp::now();
    let kept = kept_once_there(job, here, records, &ids, now, zone);
    let mut coming = Vec::new();
    for record in lost().filter(|record| kept.contains(&record.id)) {
        let whole = catalog.whole(record)?;
        coming.extend(task(&whole, &job.destinations, here, false));
    }
    let ids: Vec<BackupId> = coming.iter().map(|task| task.backup).collect();
    catalog.change_copies(&ids, |record| {
        let copy = record.copy_at_mut(&here.name);
        if let Some(copy) = copy.filter(|copy| copy.is_present() && !copy.is_there()) {
            copy.state = CopyState::Missing;
            copy.since = Some(now);
            copy.checked_at = None;
            copy.error = Some("it is not there any more".to_owned());
        }
    })?;
    Ok(coming)
}

/// Whether the archive should be in the directory, and is not there or is damaged. Where the directory itself is gone, a
/// disk may be missing.
fn is_lost(record: &BackupRecord) -> bool {
    let is_published = matches!(record.state, State::Proven | State::Unproven);
    let copy = record
        .local_copy()
        .filter(|copy| copy.is_expected() && !copy.until_copied);
    let Some(copy) = copy.filter(|_| is_published) else {
        return false;
    };
    match copy.find() {
        Ok(_) => copy.state == CopyState::Damaged,
        Err(error) => {
            let directory = copy.path().and_then(Path::parent);
            error.kind() == ErrorKind::NotFound && directory.is_some_and(Path::is_dir)
        }
    }
}

/// Why they cannot be brought back: the disk would be full. As much again stays free for the next backup.
pub(super) fn no_room(here: &Destination, tasks: &[Task]) -> Option<String> {
    let free = free_bytes(here.location.directory()?).ok()?;
    let largest = tasks
        .iter()
        .map(|task| task.bytes)
        .max()
        .unwrap_or_default();
    let needed = tasks
        .iter()
        .map(|task| task.bytes)
        .sum::<u64>()
        .saturating_add(largest);
    (free < needed).then(|| {
        format!(
            "{} has {} free, and bringing archives back needs {}; make room",
            here.location,
            ByteSize(free),
            ByteSize(needed)
        )
    })
}
