//! Copies that are queued at a job with a lease: they are made under it, and not once another machine made the run instead.

use super::adopt::adopt;
use super::held_lease::{HeldLease, Term};
use super::same_server::number;
use crate::catalog::{BackupRecord, Catalog, CatalogError, CopyState};
use crate::job::Job;
use hubvault_model::{BackupId, Cancel};
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;

/// Whether copies may be made, and under which lease.
pub(super) struct LeasedQueue {
    /// Given back once the copies are made.
    held: Option<HeldLease>,
    /// What uploads ask.
    pub(super) term: Option<Arc<Term>>,
    /// Backups that stay queued.
    pub(super) left_out: HashSet<BackupId>,
    /// Stops the copies when the lease is lost.
    pub(super) stop: Cancel,
}

impl LeasedQueue {
    /// Takes the lease where something is queued that needs it and the copies are not a run's, which has it. What another
    /// machine made instead is taken from the queue.
    pub(super) fn of(
        job: &Job,
        catalog: &Catalog,
        term: Option<&Arc<Term>>,
        cancel: &Cancel,
    ) -> Result<Self, CatalogError> {
        let mut queue = Self {
            held: None,
            term: term.cloned(),
            left_out: HashSet::new(),
            stop: Cancel::new(),
        };
        let Some(lease) = &job.lease else {
            return Ok(queue);
        };
        let queued = |records: &[BackupRecord]| {
            let is_queued = |record: &&BackupRecord| is_queued(record, &lease.destination);
            let queued = records.iter().filter(is_queued);
            queued.map(|record| record.id).collect::<HashSet<_>>()
        };
        let all = queued(&catalog.runs(&job.name)?);
        if all.is_empty() {
            return Ok(queue);
        }
        if term.is_none() {
            let taken = HeldLease::take_at_once(job, &queue.stop);
            match taken.and_then(|held| adopt(job, catalog, cancel).map(|()| held)) {
                Ok(held) => {
                    queue.held = held;
                    queue.term = queue.held.as_ref().map(HeldLease::term);
                }
                Err(error) => {
                    tracing::warn!("copies stay queued: {error}");
                    queue.left_out = all;
                    return Ok(queue);
                }
            }
        }
        let records = catalog.runs(&job.name)?;
        for record in records.iter().filter(|record| all.contains(&record.id)) {
            if is_replaced(record, &records, &lease.destination) {
                give_up(catalog, record.id)?;
            }
        }
        Ok(queue)
    }
}

/// Whether no other machine can know of a backup yet.
fn is_queued(record: &BackupRecord, leased: &str) -> bool {
    let copy = record.copy_at(leased);
    copy.is_some_and(|copy| {
        copy.state == CopyState::Pending && copy.is_expected() && number(copy).is_some()
    })
}

/// Whether another machine made a backup later: this one was not there, so that the run was made again.
fn is_replaced(record: &BackupRecord, records: &[BackupRecord], leased: &str) -> bool {
    let own = record.copy_at(leased).and_then(number);
    records.iter().any(|other| {
        let copy = other.copy_at(leased).filter(|copy| copy.is_present());
        other.local_copy().is_none() && copy.and_then(number) > own
    })
}

fn give_up(catalog: &Catalog, id: BackupId) -> Result<(), CatalogError> {
    tracing::warn!(
        "backup {} is not copied: another machine made the run instead before it was",
        id.short()
    );
    let changed = catalog.change(id, |record| {
        for copy in &mut record.copies {
            if copy.state == CopyState::Pending && copy.is_expected() {
                copy.state = CopyState::Removed;
                copy.removed_at = Some(Timestamp::now());
                copy.next_try_at = None;
                copy.error = Some("another machine made the run instead".to_owned());
            }
        }
    });
    changed.map(|_| ())
}
