//! The last seven days of a job: what ran, what was proven, what grew, what is at risk.

use super::known::Known;
use super::phrases::{change, size_change};
use super::previous_run::{PreviousFacts, previous};
use crate::catalog::{BackupRecord, State};
use crate::overview::{Overview, Risk, moment};
use hubvault_model::ByteSize;
use jiff::SignedDuration;
use serde::Serialize;

/// The week.
#[derive(Clone, Debug, Serialize)]
pub struct DigestFacts {
    /// When it began.
    pub from: String,
    /// How many runs ended.
    pub runs: usize,
    /// How many of them are proven.
    pub proven: usize,
    /// How many of them have an archive that is not proven.
    pub unproven: usize,
    /// When and why runs failed, newest first.
    pub failed: Vec<String>,
    /// The newest proven backup.
    pub newest: Option<PreviousFacts>,
    /// The size of all archives.
    pub stored: String,
    /// Growth of the archive over the week.
    pub growth: String,
    /// Tables whose rows changed over the week.
    pub tables: Vec<Growth>,
    /// What is at risk, in sentences.
    pub risks: Vec<String>,
    /// Messages that were not delivered, in sentences.
    pub undelivered: Vec<String>,
}

/// One table over the week.
#[derive(Clone, Debug, Serialize)]
pub struct Growth {
    /// Its name.
    pub name: String,
    /// Its rows now.
    pub rows: u64,
    /// Compared with a week ago.
    pub change: String,
}

impl DigestFacts {
    pub(super) fn new(job: &str, known: &Known<'_>) -> Self {
        let (now, zone) = (known.now, known.zone);
        let from = now - SignedDuration::from_hours(24 * 7);
        let of_job = || known.history.iter().filter(|record| record.job == job);
        let overview = Overview::of_runs(of_job(), known.look, known.whole);
        let week: Vec<&BackupRecord> = of_job()
            .filter(|record| {
                // One that was stopped by hand is no failure.
                let has_ended = record.state != State::Running && !record.was_stopped();
                record.started_at >= from && has_ended
            })
            .collect();
        let count = |state| week.iter().filter(|record| record.state == state).count();
        let newest = overview.newest_proven.as_ref();
        let latest = overview.last_published.as_ref();
        let oldest = week.iter().rev().find(|record| record.was_published());
        let mut risks = overview.risks(known.max_age_hours, now);
        risks.extend(known.mails_unsealed.then_some(Risk::MailedUnsealed));
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
                    let why = record.error.as_deref().unwrap_or("unknown cause");
                    format!("{}: {why}", moment(record.started_at, zone))
                })
                .collect(),
            newest: newest.map(|record| previous(record, now, zone)),
            stored: ByteSize(overview.archives_bytes).to_string(),
            growth: match (oldest, latest) {
                (Some(old), Some(new)) => size_change(bytes(old), bytes(new)),
                _ => String::new(),
            },
            tables: growth(latest, oldest.map(|run| (known.whole)(run)).as_ref()),
            risks: match known.risks {
                Some(risks) => risks.to_vec(),
                None => risks.iter().map(ToString::to_string).collect(),
            },
            undelivered: known
                .outbox
                .iter()
                .filter(|item| item.created_at >= from && item.is_missed())
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
