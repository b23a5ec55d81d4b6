//! A summary of a run.

use crate::logging;
use hubvault_engine::catalog::BackupRecord;
use hubvault_engine::overview::{Presence, presence};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// A summary of a run; `/backup/{id}` has all fields.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Summary {
    /// UUID.
    id: String,
    job: String,
    /// `running`, `proven`, `unproven` or `failed`.
    state: &'static str,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// Seconds from start to end.
    duration_seconds: Option<f64>,
    /// The archive's name; null if there is none.
    file: Option<String>,
    /// Whether the archive is still there.
    available: bool,
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
            bytes: record.bytes,
            tables: record.tables.len(),
            rows: record.rows(),
            warnings: record.warnings.len(),
            sealed: !record.sealed_to.is_empty(),
            pinned: record.pinned,
            reason: reason.map(|reason| logging::masked(reason)),
        }
    }
}
