//! Whether a destination is still the place at which its copies were stored: where a disk is not mounted, its directory is
//! there and empty, and what is written into it fills another disk.

use crate::catalog::{BackupCopy, BackupRecord, CopyState};
use crate::job::Destination;
use hubvault_model::counted;

/// So many copies that are missing at once are no ordinary gap.
pub(super) const MANY: usize = 2;

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
            destination.filesystem().as_ref() == Some(known) || present.iter().any(is_on_it)
        }
        // Of copies that an earlier version stored.
        None => !present.is_empty(),
    };
    (!is_same).then(|| {
        let (name, place) = (&destination.name, &destination.location);
        format!(
            "{} missing at {name} are not made again, as nothing shows that {place} is where they were stored (is its disk \
             mounted?); mount it and run hubvault copies sync, or if it is the right place, give the destination another \
             name and run hubvault copies sync",
            counted(missing.len() as u64, "copy")
        )
    })
}
