//! A summary of a run.

use crate::logging;
use hubvault_engine::catalog::{BackupCopy, BackupRecord, CopyState, RunSummary};
use hubvault_engine::overview::{Presence, presence};
use jiff::Timestamp;
use serde::Serialize;
#[cfg(test)]
use utoipa::ToSchema;

/// One copy of an archive.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct CopySummary {
    /// The destination's name.
    destination: String,
    /// `pending`, `present`, `missing` or `damaged`.
    state: &'static str,
    /// When it was last compared with what was stored.
    #[cfg_attr(test, schema(value_type = Option<String>, format = DateTime))]
    checked_at: Option<Timestamp>,
    /// Until when nobody can remove it.
    #[cfg_attr(test, schema(value_type = Option<String>, format = DateTime))]
    locked_until: Option<Timestamp>,
    /// Why it is not there.
    error: Option<String>,
}

impl CopySummary {
    fn of(copy: &BackupCopy) -> Self {
        let is_lost = copy.state == CopyState::Present && !copy.is_there();
        let state = if is_lost {
            CopyState::Missing
        } else {
            copy.state
        };
        Self {
            destination: copy.destination.clone(),
            state: state.as_str(),
            checked_at: copy.checked_at,
            locked_until: copy.locked_until,
            error: copy.error.as_deref().map(logging::masked),
        }
    }
}

/// A summary of a run; `/backup/{id}` has all fields.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct Summary {
    /// UUID.
    id: String,
    job: String,
    /// `running`, `proven`, `unproven` or `failed`.
    state: &'static str,
    #[cfg_attr(test, schema(value_type = String, format = DateTime))]
    started_at: Timestamp,
    #[cfg_attr(test, schema(value_type = Option<String>, format = DateTime))]
    finished_at: Option<Timestamp>,
    /// Seconds from start to end.
    duration_seconds: Option<f64>,
    /// The archive's name; null if there is none.
    file: Option<String>,
    /// Whether a copy of the archive is still there.
    available: bool,
    /// Its copies that should be there, by destination.
    copies: Vec<CopySummary>,
    /// The archive's size.
    bytes: Option<u64>,
    tables: usize,
    rows: u64,
    warnings: usize,
    sealed: bool,
    pinned: bool,
    /// Why the run failed, or why the backup is not proven.
    reason: Option<String>,
}

impl Summary {
    pub(crate) fn of(record: &BackupRecord) -> Self {
        Self::of_run(&RunSummary::of(record))
    }

    pub(crate) fn of_run(summary: &RunSummary) -> Self {
        let record = &summary.run;
        let reason = record.error.as_ref().or(record.proof.reason.as_ref());
        Self {
            id: record.id.to_string(),
            job: record.job.clone(),
            state: record.state.as_str(),
            started_at: record.started_at,
            finished_at: record.finished_at,
            duration_seconds: record.seconds(),
            file: record.archive_name().map(str::to_owned),
            available: presence(record) == Presence::Present,
            copies: record
                .copies
                .iter()
                .filter(|copy| copy.is_expected())
                .map(CopySummary::of)
                .collect(),
            bytes: record.bytes,
            tables: summary.tables,
            rows: summary.rows,
            warnings: summary.warnings,
            sealed: !record.sealed_to.is_empty(),
            pinned: record.pinned,
            reason: reason.map(|reason| logging::masked(reason)),
        }
    }
}
