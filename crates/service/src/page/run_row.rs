//! One run in a list.

use super::shown::{Clock, When, span};
use crate::logging;
use hubvault_engine::catalog::{BackupRecord, RunSummary, State};
use hubvault_engine::overview::{Presence, presence};
use hubvault_model::{ByteSize, grouped};
use serde::Serialize;
use std::cmp::Ordering;

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
    /// Against the backup of the day before.
    change: Option<Change>,
    copies: String,
    pinned: bool,
    sealed: bool,
    warnings: usize,
    /// Why it failed, or why it is not proven.
    reason: Option<String>,
}

/// What changed since the backup of the day before.
#[derive(Clone, Debug, Serialize)]
struct Change {
    rows: String,
    bytes: String,
    before: When,
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
            change: None,
            copies: copies(record),
            pinned: record.pinned,
            sealed: !record.sealed_to.is_empty(),
            warnings: summary.warnings,
            reason: reason.map(|reason| logging::masked(reason)),
        }
    }

    /// With what changed since another backup.
    pub(super) fn since(
        self,
        before: Option<&RunSummary>,
        now: &RunSummary,
        clock: &Clock,
    ) -> Self {
        let change = before.map(|before| Change::between(before, now, clock));
        Self { change, ..self }
    }
}

impl Change {
    fn between(before: &RunSummary, now: &RunSummary, clock: &Clock) -> Self {
        let bytes = |summary: &RunSummary| summary.run.bytes.unwrap_or_default();
        Self {
            rows: signed(before.rows, now.rows, grouped),
            bytes: signed(bytes(before), bytes(now), |bytes| {
                ByteSize(bytes).to_string()
            }),
            before: clock.when(before.run.started_at),
        }
    }
}

/// `+12`, `−3`, `±0`.
fn signed(before: u64, now: u64, say: impl Fn(u64) -> String) -> String {
    let sign = match now.cmp(&before) {
        Ordering::Greater => "+",
        Ordering::Less => "\u{2212}",
        Ordering::Equal => "\u{b1}",
    };
    format!("{sign}{}", say(now.abs_diff(before)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_its_sign() {
        let said =
            [(1, 1_235), (1_235, 1), (7, 7)].map(|(before, now)| signed(before, now, grouped));
        assert_eq!(said, ["+1,234", "\u{2212}1,234", "\u{b1}0"]);
    }
}
