//! What the checks look at.

use crate::catalog::{BackupRecord, Catalog, CatalogError, OutboxItem};
use crate::job::Job;
use crate::overview::{Overview, Presence, looked_for, presence};
use crate::state::StateDir;
use crate::state::service_lock::{Seen, ServiceLock};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::ops::ControlFlow;
use std::path::Path;

/// So far back is looked for a run that was due, in days.
const LOOK_BACK: i64 = 32;

/// Runs whose archives are gone are looked at only if they are among the newest.
const RECENT: usize = 100;

/// One look at one job: everything that the checks go by, read once.
pub struct Look<'a> {
    /// The job.
    pub job: &'a Job,
    /// What ran.
    pub catalog: &'a Catalog,
    /// The moment that counts as now.
    pub now: Timestamp,
    /// The zone of moments in what is said.
    pub zone: &'a TimeZone,
    /// Whether a service keeps the schedule.
    pub service: Seen,
    /// When a service makes the next run.
    pub next_due: Option<Timestamp>,
    /// When a service should have made the last one.
    pub last_due: Option<Timestamp>,
    /// Its newest runs and all with an archive, newest first.
    pub records: Vec<BackupRecord>,
    /// What they say together.
    pub overview: Overview,
    /// All messages, newest first.
    pub outbox: Vec<OutboxItem>,
}

impl std::fmt::Debug for Look<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look")
            .field("job", &self.job.name)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl<'a> Look<'a> {
    /// Reads what the catalog knows of `job`, and when a service is to run it, where one is at work.
    pub fn new(
        job: &'a Job,
        catalog: &'a Catalog,
        now: Timestamp,
        zone: &'a TimeZone,
    ) -> Result<Self, CatalogError> {
        let (mut records, mut overview) = (Vec::new(), Overview::default());
        catalog.each(|record| {
            if record.job == job.name {
                overview.add(&record, looked_for);
                if records.len() < RECENT || record.is_kept() {
                    records.push(record);
                }
            }
            ControlFlow::Continue(())
        })?;
        let service = ServiceLock::seen(&StateDir::of(job.state_root()));
        let (next_due, last_due) = match service {
            Seen::AtWork { since } => (
                job.schedule.next_after(&job.name, now),
                // What was due before anybody served was not missed.
                job.schedule
                    .last_due(&job.name, now, LOOK_BACK)
                    .filter(|due| *due > since),
            ),
            _ => (None, None),
        };
        Ok(Self {
            job,
            catalog,
            now,
            zone,
            service,
            next_due,
            last_due,
            overview,
            records,
            outbox: catalog.outbox()?,
        })
    }

    /// The backups of which a copy is there, newest first.
    pub fn archives(&self) -> impl Iterator<Item = &BackupRecord> {
        let is_there = |record: &&BackupRecord| presence(record) == Presence::Present;
        self.records.iter().filter(is_there)
    }

    /// The archives that should lie on this machine, newest first.
    pub fn known(&self) -> impl Iterator<Item = (&BackupRecord, &Path)> {
        self.records
            .iter()
            .filter_map(|record| record.local_copy().map(|copy| (record, copy)))
            .filter(|(_, copy)| copy.is_expected())
            .filter_map(|(record, copy)| Some((record, copy.path()?)))
    }

    /// How long ago that was; nothing where it is yet to come.
    pub(super) fn since(&self, at: Timestamp) -> SignedDuration {
        self.now.duration_since(at).max(SignedDuration::ZERO)
    }
}
