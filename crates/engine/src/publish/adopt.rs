//! Backups that other machines with the same job made, so that the record of this one has them, too.

use super::removed_there;
use super::same_server::SameServer;
use crate::catalog::{
    BackupCopy, BackupRecord, Catalog, CatalogError, DeliveryRecord, DrillMark, FoundMark, Pin,
    RunSummary, State,
};
use crate::job::{Destination, Job};
use crate::monitor::{RowChange, compare_rows};
use crate::remote::{Archives, Listed, RemoteError};
use crate::retain::{self, ROWS_LOST};
use crate::run::BackupError;
use hubvault_model::{BackupId, Cancel, counted};
use hubvault_store::StoreError;
use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;

/// So many backups are added together: their records have all of their tables.
const PORTION: usize = 32;

/// Adds the backups at the destinations of a job with a lease that the catalog does not know. Only the destination that has
/// the lease must be reached: each machine stores there what it made.
pub fn adopt(job: &Job, catalog: &Catalog, cancel: &Cancel) -> Result<(), BackupError> {
    adopt_where(job, catalog, cancel, |_| true)
}

/// The same at the destination that has the lease alone: another one that is down must not hold up a run.
pub(crate) fn adopt_at_lease(
    job: &Job,
    catalog: &Catalog,
    cancel: &Cancel,
) -> Result<(), BackupError> {
    let lease = job.lease.as_ref().map(|lease| lease.destination.as_str());
    adopt_where(job, catalog, cancel, |it| Some(it.name.as_str()) == lease)
}

fn adopt_where(
    job: &Job,
    catalog: &Catalog,
    cancel: &Cancel,
    is_asked: impl Fn(&Destination) -> bool,
) -> Result<(), BackupError> {
    let Some(lease) = &job.lease else {
        return Ok(());
    };
    let mut new = HashSet::new();
    let mut servers = SameServer::of(job, catalog, cancel);
    let others = job.destinations.others().iter();
    for destination in others.filter(|it| is_asked(it)) {
        let before = new.len();
        let adopted = adopt_from(destination, &mut servers, job, catalog, cancel, &mut new);
        servers.warn(destination);
        if new.len() > before {
            tracing::info!(
                "added {} of other machines from {}",
                counted((new.len() - before) as u64, "backup"),
                destination.name
            );
        }
        match adopted {
            Ok(()) => {}
            Err(error) if destination.name == lease.destination => {
                // The next look finds those that were added before known.
                pin_what_is_lost(job, catalog, &new)?;
                return Err(of(error, destination));
            }
            Err(error) => {
                tracing::warn!(
                    "could not look for backups at {}: {error}",
                    destination.name
                );
            }
        }
    }
    Ok(pin_what_is_lost(job, catalog, &new)?)
}

/// Pins the backups here that the machine pinned when it made these: they have rows that later ones lack.
fn pin_what_is_lost(
    job: &Job,
    catalog: &Catalog,
    new: &HashSet<BackupId>,
) -> Result<(), CatalogError> {
    if new.is_empty() {
        return Ok(());
    }
    let records = catalog.runs(&job.name)?;
    let (mut proven, mut newest) = (None, None);
    let is_there = |record: &&BackupRecord| record.copies.iter().any(BackupCopy::is_there);
    for record in records.iter().rev().filter(is_there) {
        if let Some(earlier) = proven.or(newest).filter(|_| new.contains(&record.id)) {
            let (before, after) = (catalog.whole(earlier)?, catalog.whole(record)?);
            let changes = compare_rows(&before, &after, job.monitor.rows);
            let is_lost = !earlier.pinned && changes.iter().any(RowChange::is_loss);
            let pin = || retain::pin(job, catalog, earlier, Some(Pin::now(ROWS_LOST)));
            if is_lost && let Err(error) = pin() {
                tracing::warn!("could not pin backup {}: {error}", earlier.id.short());
            }
        }
        newest = Some(record);
        if record.state == State::Proven {
            proven = newest;
        }
    }
    Ok(())
}

fn adopt_from(
    destination: &Destination,
    servers: &mut SameServer<'_>,
    job: &Job,
    catalog: &Catalog,
    cancel: &Cancel,
    new: &mut HashSet<BackupId>,
) -> Result<(), RemoteError> {
    let archives = Archives::open(destination, cancel)?;
    // First, so that what is pinned here meanwhile is not missed there.
    let known = keys(catalog, destination)?;
    let listed = match archives.list() {
        // What the catalog knows is gone from there.
        Err(RemoteError::Empty { .. }) => Vec::new(),
        listed => listed?,
    };
    let (known_there, mut unknown): (Vec<Listed>, Vec<Listed>) = listed
        .into_iter()
        .partition(|listed| known.contains_key(listed.object.key.as_str()));
    let has_lease = (job.lease.as_ref()).is_some_and(|lease| lease.destination == destination.name);
    for listed in &known_there {
        if let Some(known) = known.get(listed.object.key.as_str()) {
            let (id, pinned, names) = known;
            let at = (destination, has_lease);
            adopt_pin(listed, (*id, *pinned), &archives, at, catalog)?;
            if listed.marks.iter().any(|name| !names.contains(name)) {
                adopt_drills(listed, *id, &archives, destination, catalog)?;
            }
        }
    }
    let all = known_there.iter().chain(&unknown);
    let keys_there: HashSet<String> = all.map(|it| it.object.key.to_string()).collect();
    // One without a lease's number is of a machine that does not share the lease: no rule here is for it.
    unknown.retain(|listed| is_leased(listed.object.key.as_str()));
    // The newest last: rows that it lacks are looked for in those before it.
    for part in unknown.rchunks(PORTION) {
        add(destination, &archives, part, servers, (job, catalog), new)?;
    }
    if has_lease {
        removed_there::record(job, catalog, destination, &archives, &keys_there)?;
    }
    Ok(())
}

/// Adds the backups of these archives, or the copies that they are; `new` are the backups.
fn add(
    destination: &Destination,
    archives: &Archives,
    unknown: &[Listed],
    servers: &mut SameServer<'_>,
    (job, catalog): (&Job, &Catalog),
    new: &mut HashSet<BackupId>,
) -> Result<(), RemoteError> {
    let (records, unreadable) = archives.records_to_add(unknown)?;
    for archive in unreadable.iter().filter(|archive| !archive.is_listed) {
        tracing::warn!("could not add {}: {}", archive.place, archive.why);
    }
    let of_job = records.into_iter().filter(|record| record.job == job.name);
    for record in servers.only(of_job.collect(), destination)? {
        let copy = record.copies.first().cloned();
        let known = catalog.change(record.id, |known| {
            let mut copy = copy.filter(|_| known.copy_at(&destination.name).is_none());
            if let Some(copy) = &mut copy {
                copy.pin_stored = false;
                copy.drill_mark = None;
            }
            known.copies.extend(copy);
            if let Some(pin) = &record.pin {
                known.learn_pin(&destination.name, pin);
            }
            if let Some(mark) = FoundMark::of(&record) {
                known.learn_marks(&destination.name, &[mark]);
            }
        })?;
        if known.is_none() {
            new.insert(record.id);
            catalog.finish(&BackupRecord {
                // Whoever made it notified the recipients.
                delivery: Some(DeliveryRecord::default()),
                ..record
            })?;
        }
    }
    Ok(())
}

/// Whether an archive bears the number of a lease: `critical_backup_20260131_020000.7.tar.gz`.
fn is_leased(key: &str) -> bool {
    let number = key.split('.').nth(1).unwrap_or_default();
    number.parse::<u64>().is_ok()
}

/// Of a copy that the catalog knows: its backup, whether that is pinned there, and which drills are taken into account.
type Known = (BackupId, bool, Vec<String>);

/// Records what drills of other machines showed.
fn adopt_drills(
    listed: &Listed,
    id: BackupId,
    archives: &Archives,
    destination: &Destination,
    catalog: &Catalog,
) -> Result<(), RemoteError> {
    let Some(record) = catalog.find(&id.to_string())? else {
        return Ok(());
    };
    let new = retain::unknown(&record, &destination.name, &listed.marks);
    let found = archives.marks(listed, id, &new)?;
    retain::learn_found(catalog, &destination.name, &record, &found)?;
    Ok(())
}

/// Records that another machine pinned a backup, or released it again: where the lease is, it deleted the pin.
fn adopt_pin(
    listed: &Listed,
    (id, was_pinned): (BackupId, bool),
    archives: &Archives,
    (destination, has_lease): (&Destination, bool),
    catalog: &Catalog,
) -> Result<(), RemoteError> {
    let name = &destination.name;
    if listed.is_pinned == was_pinned {
        return Ok(());
    }
    if let Some(pin) = archives.pin(listed, id)? {
        catalog.change(id, |record| {
            record.learn_pin(name, &pin);
        })?;
    } else if was_pinned && has_lease {
        tracing::info!("backup {} was unpinned at {name}", id.short());
        let record = catalog.change(id, |record| {
            if let Some(copy) = record.copy_at_mut(name) {
                copy.pin_stored = false;
            }
            record.pinned = false;
            record.pin = None;
        })?;
        let written = record.map_or(Ok(()), |record| retain::write_sidecar(&record));
        if let Err(error) = written {
            tracing::warn!("could not record that it was unpinned: {error}");
        }
    }
    Ok(())
}

/// The keys at a destination that the catalog knows, also of what was removed.
fn keys(
    catalog: &Catalog,
    destination: &Destination,
) -> Result<HashMap<String, Known>, CatalogError> {
    let mut keys = HashMap::new();
    catalog.each_summary(None, |RunSummary { run, .. }| {
        let copy = run.copy_at(&destination.name);
        let known = |copy: &BackupCopy| {
            let mark = run.drill_mark.as_ref();
            let drills = mark.map_or_else(Vec::new, DrillMark::with_itself);
            (copy.key.clone(), (run.id, copy.pin_stored, drills))
        };
        keys.extend(copy.map(known));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(keys)
}

fn of(error: RemoteError, destination: &Destination) -> BackupError {
    match error {
        RemoteError::Store(error) => error.into(),
        RemoteError::Catalog(error) => error.into(),
        RemoteError::Cancelled => BackupError::Cancelled,
        other => {
            let why = io::Error::other(other.to_string());
            StoreError::new("reading the backups at", &destination.name, why).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_under_a_lease_is_adopted() {
        for (key, expected) in [
            ("critical_backup_20260131_020000.7.tar.gz", true),
            ("critical_backup_20260131_020000.12.tar.zst.age", true),
            ("critical_backup_20260131_020000.tar.gz", false),
            ("critical_backup_20260131_020000.tar.gz.age", false),
        ] {
            assert_eq!(is_leased(key), expected, "{key}");
        }
    }
}
