//! What was told once, told again because somebody asks.

use super::{Teller, Told};
use crate::catalog::{BackupRecord, State};
use hubvault_model::BackupId;
use jiff::Timestamp;

impl Teller<'_> {
    /// Mails the administrators once more what came of a run that has an archive, with the archive
    /// where it fits.
    pub fn again(&self, record: &BackupRecord) -> Told {
        let (facts, trouble) = self.linked_facts("success", record);
        let facts = facts.masked(&self.delivery().masks);
        let mut letters = self.letters("success", &facts, Some(record));
        letters.warnings.extend(trouble);
        self.dispatch(letters)
    }

    /// Mails the administrators a failure that no run of this program knows of, in somebody's own
    /// words.
    pub fn failed_elsewhere(&self, words: &str) -> Told {
        let now = Timestamp::now();
        let mut record = BackupRecord::begun(BackupId::random(), &self.job.name, now);
        record.state = State::Failed;
        record.finished_at = Some(now);
        record.error = Some(words.to_owned());
        self.send("failure", Some(&record))
    }
}
