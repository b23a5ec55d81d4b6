//! What lies at a destination beside archives that are gone there: earlier versions left marks and pins, and a removal may
//! have been cut.

use super::sweep::unsaid;
use crate::catalog::drill_mark::split;
use crate::catalog::{BackupRecord, Catalog, CatalogError, pin, sidecar};
use crate::job::{Destination, Job};
use hubvault_model::counted;
use hubvault_store::{ErrorKind, Object, Store, StoreError};
use std::collections::HashSet;

/// Removes what lies beside archives that this catalog knows to have been removed from a destination. Returns what could not
/// be removed, if the last time did not say it, too.
pub(super) fn sweep_leftovers(
    job: &Job,
    catalog: &Catalog,
    destination: &Destination,
    store: &dyn Store,
) -> Result<Vec<String>, Failed> {
    let removed = removed_archives(&catalog.runs(&job.name)?, destination);
    if removed.is_empty() {
        return Ok(Vec::new());
    }
    let listed = store.list("")?;
    let there: HashSet<&str> = listed.iter().map(|object| object.key.as_str()).collect();
    let is_leftover = |object: &&Object| {
        let archive = beside(object.key.as_str());
        archive.is_some_and(|archive| removed.contains(archive) && !there.contains(archive))
    };
    let (mut gone, mut problems) = (0, Vec::new());
    for object in listed.iter().filter(is_leftover) {
        match store.delete(&object.key) {
            Ok(()) => gone += 1,
            // Its time comes.
            Err(error) if error.kind == ErrorKind::Locked => {}
            Err(error) => problems.push(error),
        }
    }
    let name = &destination.name;
    if gone > 0 {
        let what = counted(gone, "leftover");
        tracing::info!("removed {what} of archives that were removed from {name}");
    }
    let problems = problems.iter().map(|error| {
        let error = job.delivery.masks.mask(&error.to_string());
        format!("could not remove a leftover of an archive that was removed from {name}: {error}")
    });
    let file = format!("leftovers-{name}");
    Ok(unsaid(catalog.state(), &file, problems.collect()))
}

/// Why it could not be looked for leftovers.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The keys that were removed and are to be there no more. What is half removed is removed by retention, with all beside it.
fn removed_archives(records: &[BackupRecord], destination: &Destination) -> HashSet<String> {
    let (mut removed, mut wanted) = (HashSet::new(), HashSet::new());
    for copy in records.iter().flat_map(|record| &record.copies) {
        if copy.destination != destination.name {
            continue;
        }
        let is_gone = !copy.is_expected() && !copy.is_half_removed() && copy.is_at(destination);
        let keys = if is_gone { &mut removed } else { &mut wanted };
        keys.insert(copy.key.clone());
    }
    removed.retain(|key| !wanted.contains(key));
    removed
}

/// The archive beside which something lies that hubvault made.
fn beside(key: &str) -> Option<&str> {
    let mark = split(key).map(|(archive, _)| archive);
    mark.or_else(|| key.strip_suffix(pin::ENDING))
        .or_else(|| key.strip_suffix(sidecar::ENDING))
}
