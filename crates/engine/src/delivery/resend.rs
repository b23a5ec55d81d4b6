//! Mails that an administrator asks for.

use super::notifier::Notifier;
use super::outcome::DeliveryOutcome;
use crate::catalog::{BackupRecord, State};
use jiff::Timestamp;

impl Notifier<'_> {
    /// Mails the administrators again about a run that has an archive, with the archive if it fits.
    pub fn resend(&self, record: &BackupRecord) -> DeliveryOutcome {
        self.mail("success", record, Some(record))
    }

    /// Mails the administrators a failure that no run of this program knows of, in somebody's own words.
    pub fn report_failure(&self, words: &str) -> DeliveryOutcome {
        let mut record = self.now();
        record.state = State::Failed;
        record.finished_at = Some(Timestamp::now());
        record.error = Some(words.to_owned());
        self.send("failure", Some(&record))
    }
}
