//! What a message is written from, besides the run that it is about.

use crate::catalog::{BackupRecord, OutboxItem};
use crate::overview::LookFn;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What is known when a message is written.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The database on its host.
    pub source: &'a str,
    /// The runs of the job, newest first, as [`Catalog::runs`](crate::catalog::Catalog::runs) has them.
    pub history: &'a [BackupRecord],
    /// How to read all of the record of one of them.
    pub whole: &'a dyn Fn(&BackupRecord) -> BackupRecord,
    /// All its messages, newest first.
    pub outbox: &'a [OutboxItem],
    /// How to find out whether a copy is there.
    pub look: LookFn,
    /// How old the newest proven backup may be.
    pub max_age_hours: u32,
    /// Whether archives are mailed that anybody can read.
    pub mails_unsealed: bool,
    /// What is at risk, in sentences, where the caller found that out; else the history alone says it.
    pub risks: Option<&'a [String]>,
    /// The moment that counts as now.
    pub now: Timestamp,
    /// The zone of moments in the message.
    pub zone: &'a TimeZone,
}
