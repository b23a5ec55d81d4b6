//! A run in a few fields, and times of runs.

use super::of_job::OfJob;
use crate::logging;
use hubvault_engine::catalog::{BackupRecord, State};
use jiff::Timestamp;
use serde::Serialize;
use std::ops::ControlFlow;
use utoipa::ToSchema;

/// A run in a few fields; `/backup/{id}` has all of them.
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
    /// The archive's name; null while there is none.
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
    /// Why it failed, or why it is not proven.
    reason: Option<String>,
}

impl Summary {
    pub(crate) fn of(record: &BackupRecord) -> Self {
        let reason = record.error.as_ref().or(record.proof.reason.as_ref());
        let name = record.file.as_ref().and_then(|file| file.file_name());
        Self {
            id: record.id.to_string(),
            job: record.job.clone(),
            state: record.state.as_str(),
            started_at: record.started_at,
            finished_at: record.finished_at,
            duration_seconds: duration(record),
            file: name.map(|name| name.to_string_lossy().into_owned()),
            available: is_there(record),
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

/// Whether the archive lies where the catalog says.
pub(crate) fn is_there(record: &BackupRecord) -> bool {
    record.file.as_ref().is_some_and(|file| file.is_file())
}

/// Whether it is proven and still there.
pub(crate) fn is_proven(record: &BackupRecord) -> bool {
    record.state == State::Proven && is_there(record)
}

/// Seconds from start to end.
pub(crate) fn duration(record: &BackupRecord) -> Option<f64> {
    let took = record.finished_at?.duration_since(record.started_at);
    Some(took.as_secs_f64())
}

/// What the last runs of a job that made an archive took, in the middle; `None` before the first.
pub(crate) fn usual_seconds(app: &OfJob, job: &str) -> anyhow::Result<Option<f64>> {
    let mut seconds = Vec::new();
    app.each(|record| {
        let made = matches!(record.state, State::Proven | State::Unproven);
        seconds.extend(duration(&record).filter(|_| made && record.job == job));
        match seconds.len() {
            15.. => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    })?;
    seconds.sort_by(f64::total_cmp);
    Ok(seconds.get(seconds.len() / 2).copied())
}
