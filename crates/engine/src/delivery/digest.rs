//! The last seven days of a job: what ran, what was proven, what grew, what is at risk.

use super::phrases::{age, change, moment, size_change};
use super::previous_run::{PreviousFacts, previous};
use crate::catalog::{BackupRecord, OutboxItem, State};
use hubvault_model::ByteSize;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// The week.
#[derive(Clone, Debug, Serialize)]
pub struct DigestFacts {
    /// From when.
    pub from: String,
    /// Runs that ended.
    pub runs: usize,
    /// Of them proven.
    pub proven: usize,
    /// Of them with an archive that is not proven.
    pub unproven: usize,
    /// Of them failed, newest first: when and why.
    pub failed: Vec<String>,
    /// The newest proven backup.
    pub newest: Option<PreviousFacts>,
    /// What all archives measure together.
    pub stored: String,
    /// Growth of the archive over the week.
    pub growth: String,
    /// Tables whose rows changed over the week.
    pub tables: Vec<Growth>,
    /// What is at risk, in sentences.
    pub risks: Vec<String>,
    /// Messages that nobody got, in sentences.
    pub undelivered: Vec<String>,
}

/// One table over the week.
#[derive(Clone, Debug, Serialize)]
pub struct Growth {
    /// Its name.
    pub name: String,
    /// Its rows now.
    pub rows: u64,
    /// Against a week ago.
    pub change: String,
}

impl DigestFacts {
    pub(super) fn new(
        job: &str,
        history: &[BackupRecord],
        outbox: &[OutboxItem],
        now: Timestamp,
        zone: &TimeZone,
    ) -> Self {
        let from = now - SignedDuration::from_hours(24 * 7);
        let of_job = || history.iter().filter(|record| record.job == job);
        let week: Vec<&BackupRecord> = of_job()
            .filter(|record| record.started_at >= from && record.state != State::Running)
            .collect();
        let count = |state| week.iter().filter(|record| record.state == state).count();
        let newest = of_job().find(|record| record.state == State::Proven && is_there(record));
        let latest = of_job().find(|record| record.file.is_some());
        let oldest = week.iter().rev().find(|record| record.file.is_some());
        let stored = of_job()
            .filter(|record| is_there(record))
            .filter_map(|record| record.bytes)
            .sum();
        let bytes = |record: &BackupRecord| record.bytes.unwrap_or_default();
        Self {
            from: moment(from, zone),
            runs: week.len(),
            proven: count(State::Proven),
            unproven: count(State::Unproven),
            failed: week
                .iter()
                .filter(|record| record.state == State::Failed)
                .map(|record| {
                    let why = record.error.as_deref().unwrap_or("it is not known why");
                    format!("{}: {why}", moment(record.started_at, zone))
                })
                .collect(),
            newest: newest.map(|record| previous(record, now, zone)),
            stored: ByteSize(stored).to_string(),
            growth: match (oldest, latest) {
                (Some(old), Some(new)) => size_change(bytes(old), bytes(new)),
                _ => String::new(),
            },
            tables: growth(latest, oldest.copied()),
            risks: risks(latest, newest, now),
            undelivered: outbox
                .iter()
                .filter(|item| item.created_at >= from && !item.reached_all())
                .map(|item| {
                    let (kind, channel) = (&item.kind, &item.channel);
                    let why = item.why_not().unwrap_or("not tried yet");
                    format!(
                        "{}: {kind} by {channel}: {why}",
                        moment(item.created_at, zone)
                    )
                })
                .collect(),
        }
    }
}

fn is_there(record: &BackupRecord) -> bool {
    record.file.is_some() && record.removed_at.is_none()
}

fn growth(latest: Option<&BackupRecord>, oldest: Option<&BackupRecord>) -> Vec<Growth> {
    let (Some(latest), Some(oldest)) = (latest, oldest) else {
        return Vec::new();
    };
    let before = |name: &str| {
        let found = oldest.tables.iter().find(|table| table.name == name);
        found.map(|table| table.rows)
    };
    latest
        .tables
        .iter()
        .map(|table| Growth {
            name: table.name.clone(),
            rows: table.rows,
            change: before(&table.name)
                .map_or_else(|| "new".to_owned(), |rows| change(rows, table.rows)),
        })
        .collect()
}

fn risks(
    latest: Option<&BackupRecord>,
    newest: Option<&BackupRecord>,
    now: Timestamp,
) -> Vec<String> {
    let mut risks = Vec::new();
    match newest {
        None => risks.push("no proven backup exists".to_owned()),
        Some(proven) if now.duration_since(proven.started_at).as_hours() >= 48 => {
            let age = age(proven.started_at, now);
            risks.push(format!("the newest proven backup is {age} old"));
        }
        Some(_) => {}
    }
    if let Some(latest) = latest {
        risks.extend(latest.warnings.iter().map(ToString::to_string));
        if latest.sealed_to.is_empty() {
            risks.push(
                "archives are not sealed: whoever gets one has the secrets and password hashes in it"
                    .to_owned(),
            );
        }
    }
    risks
}
