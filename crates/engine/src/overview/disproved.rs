//! Backups that a drill did not prove after they were stored, by whichever machine made it.

use super::moments::moment;
use super::presence::{Presence, presence};
use crate::catalog::{BackupRecord, Catalog, CatalogError, State};
use hubvault_model::BackupId;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt;
use std::ops::ControlFlow;

/// So many unproven backups are looked at for [`disproved`].
const NEWEST: u64 = 100;

/// A stored backup that its latest drill did not prove. It is one until it is drilled again, or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disproved {
    /// The backup.
    pub backup: BackupId,
    /// When its run began.
    pub started_at: Timestamp,
    /// When it was drilled, by the clock of the machine that did it.
    pub at: Option<Timestamp>,
    /// That machine, where it was another one.
    pub machine: Option<String>,
    /// Why it is not proven.
    pub reason: String,
}

impl Disproved {
    pub(super) fn of(record: &BackupRecord) -> Option<Self> {
        let mark = record.drill_mark.as_ref()?;
        (record.state == State::Unproven).then(|| Self {
            backup: record.id,
            started_at: record.started_at,
            at: mark.at,
            machine: mark.other_machine().map(str::to_owned),
            reason: (record.proof.reason.clone()).unwrap_or_else(|| "unknown cause".to_owned()),
        })
    }

    /// In words: `a drill on db2 at 2026-11-27 02:00 UTC did not prove backup 1a2b3c4d: rejected by a drill: ...`.
    pub fn text(&self, zone: &TimeZone) -> String {
        let on =
            (self.machine.as_ref()).map_or_else(String::new, |machine| format!(" on {machine}"));
        let at = (self.at).map_or_else(String::new, |at| format!(" at {}", moment(at, zone)));
        let (id, reason) = (self.backup.short(), &self.reason);
        format!("a drill{on}{at} did not prove backup {id}: {reason}")
    }
}

impl fmt::Display for Disproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&TimeZone::UTC))
    }
}

/// Those of a job whose archives are there, newest first. Only the newest unproven backups are looked at.
pub fn disproved(catalog: &Catalog, job: &str) -> Result<Vec<Disproved>, CatalogError> {
    let mut all = Vec::new();
    catalog.each_unproven(job, NEWEST, |record| {
        all.extend(Disproved::of(&record).filter(|_| presence(&record) == Presence::Present));
        ControlFlow::Continue(())
    })?;
    Ok(all)
}
