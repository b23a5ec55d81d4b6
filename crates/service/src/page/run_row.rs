//! One run in a list.

use super::shown::{Clock, When, span};
use crate::logging;
use hubvault_engine::catalog::{BackupRecord, RunSummary, State};
use hubvault_engine::overview::{Presence, presence};
use hubvault_model::{ByteSize, grouped};
use serde::Serialize;

/// A run, for a template.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RunRow {
    pub(super) id: String,
    short: String,
    /// Of the mark: `proven`, `unproven`, `failed`, `running`, `stopped`.
    mark: &'static str,
    state: String,
    began: When,
    took: Option<String>,
    bytes: Option<String>,
    rows: String,
    tables: usize,
    copies: String,
    pinned: bool,
    sealed: bool,
    warnings: usize,
    /// Why it failed, or why it is not proven.
    reason: Option<String>,
}

/// The mark of a state.
pub(super) fn mark(record: &BackupRecord) -> &'static str {
    match record.state {
        State::Failed if record.was_stopped() => "stopped",
        state => state.as_str(),
    }
}

impl RunRow {
    pub(super) fn of(summary: &RunSummary, clock: &Clock) -> Self {
        let record = &summary.run;
        let reason = record.error.as_ref().or(record.proof.reason.as_ref());
        Self {
            id: record.id.to_string(),
            short: record.id.short(),
            mark: mark(record),
            state: record.state_text(),
            began: clock.when(record.started_at),
            took: record.seconds().map(span),
            bytes: record.bytes.map(|bytes| ByteSize(bytes).to_string()),
            rows: grouped(summary.rows),
            tables: summary.tables,
            copies: copies(record),
            pinned: record.pinned,
            sealed: !record.sealed_to.is_empty(),
            warnings: summary.warnings,
            reason: reason.map(|reason| logging::masked(reason)),
        }
    }
}

/// `2 of 3`, or why there is none.
fn copies(record: &BackupRecord) -> String {
    let (there, of) = record.count_copies();
    match presence(record) {
        Presence::NeverMade => "none".to_owned(),
        Presence::Removed => "removed".to_owned(),
        Presence::Missing => "missing".to_owned(),
        Presence::Present if there == of => there.to_string(),
        Presence::Present => format!("{there} of {of}"),
    }
}
