//! Whether a destination is still the place at which its copies were stored: where a disk is not mounted, its directory is
//! there and empty, and what is written into it fills another disk.

use crate::catalog::{BackupCopy, BackupRecord, CopyState};
use crate::job::Destination;
use crate::remote::impatient;
use hubvault_model::counted;
use hubvault_store::{Key, Store};

/// So many copies that are missing at once are no ordinary gap.
pub(super) const MANY: usize = 2;
/// So many copies are looked for in a directory that is on another filesystem than before.
const LOOKED_FOR: usize = 10;

/// What the filesystem of a store is known by, if it says so.
pub(super) fn filesystem(store: &dyn Store) -> Option<String> {
    store.filesystem().ok()??.id
}

/// The copies that were stored at a destination on a known filesystem. `records` are newest first, and so are they.
pub(super) fn stored_there(destination: &Destination, records: &[BackupRecord]) -> Vec<BackupCopy> {
    let copies = (records.iter()).filter_map(|it| it.copy_at(&destination.name));
    let was_stored = |copy: &&BackupCopy| {
        matches!(copy.state, CopyState::Present | CopyState::Missing)
            && copy.is_expected()
            && copy.is_at(destination)
            && copy.filesystem.is_some()
    };
    copies.filter(was_stored).cloned().collect()
}

/// Why nothing is copied into a directory: it is on another filesystem than the copies that were stored there, and the
/// newest of those are not in it. Some filesystems are known by another number once they are mounted again, so that what is
/// found counts more. What cannot be asked says so where something is stored.
pub(super) fn moved(
    destination: &Destination,
    store: &dyn Store,
    stored: &[BackupCopy],
) -> Option<String> {
    if stored.is_empty() {
        return None;
    }
    let now = filesystem(store)?;
    if (stored.iter()).any(|copy| copy.filesystem.as_ref() == Some(&now)) {
        return None;
    }
    for copy in stored.iter().take(LOOKED_FOR) {
        let found = store.head(&Key::parse(&copy.key).ok()?).ok()?;
        if found.is_some_and(|it| copy.bytes.is_none_or(|bytes| bytes == it.bytes)) {
            return None;
        }
    }
    Some(format!(
        "{} is on another filesystem than the {} stored there, and the newest of those are not in it (is its disk mounted?); \
         {}",
        destination.location,
        counted(stored.len() as u64, "copy"),
        what_to_do(destination)
    ))
}

/// The filesystem of a directory here or on a server.
fn filesystem_now(destination: &Destination) -> Option<String> {
    filesystem(&*impatient(destination).open().ok()?)
}

fn what_to_do(destination: &Destination) -> String {
    format!(
        "mount it and run hubvault copies sync, or if it is the right place, give the destination {} another name and run \
         hubvault copies sync",
        destination.name
    )
}

/// Why what is missing at a destination is not made again there; `None` where it is. `records` are newest first.
pub(super) fn doubt(destination: &Destination, records: &[BackupRecord]) -> Option<String> {
    // A bucket is known by its server and its name.
    if destination.address().server().is_some() {
        return None;
    }
    let of = |state: CopyState| -> Vec<&BackupCopy> {
        let copies = records
            .iter()
            .filter_map(|it| it.copy_at(&destination.name));
        let is_such = |copy: &&BackupCopy| {
            copy.state == state && copy.is_expected() && copy.is_at(destination)
        };
        copies.filter(is_such).collect()
    };
    let (missing, present) = (of(CopyState::Missing), of(CopyState::Present));
    if missing.len() < MANY || present.len() >= missing.len() {
        return None;
    }
    let is_same = match missing.iter().find_map(|copy| copy.filesystem.as_ref()) {
        Some(known) => {
            let is_on_it = |copy: &&BackupCopy| copy.filesystem.as_ref() == Some(known);
            filesystem_now(destination).as_ref() == Some(known) || present.iter().any(is_on_it)
        }
        // Of copies that an earlier version stored.
        None => !present.is_empty(),
    };
    (!is_same).then(|| {
        let (name, place) = (&destination.name, &destination.location);
        format!(
            "{} missing at {name} are not made again, as nothing shows that {place} is where they were stored (is its disk \
             mounted?); {}",
            counted(missing.len() as u64, "copy"),
            what_to_do(destination)
        )
    })
}
