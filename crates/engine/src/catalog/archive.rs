//! Whether a backup has an archive, and where: everything that asks for it on the disk asks here.

use super::copy::{BackupCopy, CopyState, is_lost, removed_at};
use super::pin::Pin;
use super::record::BackupRecord;
use crate::job::LOCAL;
use jiff::Timestamp;
use std::path::Path;

impl BackupRecord {
    /// The archive on this machine, whether it is there or not; `None` while nothing was published.
    pub fn file(&self) -> Option<&Path> {
        self.local_copy()?.path()
    }

    /// The copy on this machine.
    pub fn local_copy(&self) -> Option<&BackupCopy> {
        self.copies.iter().find(|copy| copy.path().is_some())
    }

    /// The copy at the destination of this name.
    pub fn copy_at(&self, destination: &str) -> Option<&BackupCopy> {
        let mut copies = self.copies.iter();
        copies.find(|copy| copy.destination == destination)
    }

    /// The same, to change it.
    pub fn copy_at_mut(&mut self, destination: &str) -> Option<&mut BackupCopy> {
        let mut copies = self.copies.iter_mut();
        copies.find(|copy| copy.destination == destination)
    }

    /// Records a pin that was found beside a copy. One that is known there is not new, also where it was released since and
    /// is to be deleted.
    pub(crate) fn learn_pin(&mut self, destination: &str, pin: &Pin) -> bool {
        let Some(copy) = self.copy_at_mut(destination).filter(|it| !it.pin_stored) else {
            return false;
        };
        copy.pin_stored = true;
        self.pinned = true;
        self.pin.get_or_insert_with(|| pin.clone());
        true
    }

    /// How many copies are there, of how many that should be.
    pub fn count_copies(&self) -> (usize, usize) {
        let expected = || {
            let copies = self.copies.iter();
            copies.filter(|copy| copy.is_expected() && !copy.is_unconfigured())
        };
        let there = expected().filter(|copy| copy.is_there()).count();
        (there, expected().count())
    }

    /// The archive's name, whether it is there or not.
    pub fn archive_name(&self) -> Option<&str> {
        let key = &self.copies.first()?.key;
        Some(key.rsplit_once('/').map_or(key, |(_, name)| name))
    }

    /// The archive on this machine, where it should be there and is.
    pub fn archive(&self) -> Option<&Path> {
        let copy = self.local_copy()?;
        copy.path()
            .filter(|_| copy.is_expected() && copy.find().is_ok())
    }

    /// Whether an archive was published, even if it was removed since.
    pub fn was_published(&self) -> bool {
        !self.copies.is_empty()
    }

    /// Whether a copy should be there.
    pub fn is_kept(&self) -> bool {
        self.copies.iter().any(BackupCopy::is_expected)
    }

    /// When the last copy was removed, or its loss was accepted; `None` while one should be there.
    pub fn removed_at(&self) -> Option<Timestamp> {
        removed_at(&self.copies)
    }

    /// Whether hubvault did not remove it: its loss was accepted.
    pub fn is_lost(&self) -> bool {
        is_lost(&self.copies)
    }

    /// The same, with every copy that should be there in `state` since `at`, and no longer expected.
    #[must_use]
    pub fn removed(&self, state: CopyState, at: Timestamp) -> Self {
        let mut record = self.clone();
        for copy in record.copies.iter_mut().filter(|copy| copy.is_expected()) {
            copy.state = state;
            copy.removed_at = Some(at);
        }
        record
    }

    /// The same, with its archive found in the destination [`LOCAL`].
    #[must_use]
    pub fn found(&self, path: &Path, bytes: u64) -> Self {
        let mut record = self.clone();
        let before = record.copies.iter().find(|copy| copy.destination == LOCAL);
        let mut copy = BackupCopy::local(path, Some(bytes));
        copy.until_copied = before.is_some_and(|copy| copy.until_copied);
        record.copies.retain(|copy| copy.destination != LOCAL);
        record.copies.insert(0, copy);
        record
    }

    /// Gives the copies of the destination [`LOCAL`] their paths in its directory, which may have been moved. One that is
    /// not there keeps the path at which it was stored: whether that directory is there says whether the archive is lost.
    pub(super) fn locate(&mut self, directory: &Path) {
        for copy in &mut self.copies {
            if copy.destination == LOCAL {
                let here = directory.join(&copy.key);
                let is_known = copy.path.is_some() && copy.path.as_ref() != Some(&here);
                if !is_known || here.exists() {
                    copy.path = Some(here);
                }
            }
            copy.bytes = copy.bytes.or(self.bytes);
        }
    }
}

impl BackupCopy {
    /// Whether it is there: looked for on this machine, elsewhere as far as the record knows.
    pub fn is_there(&self) -> bool {
        self.is_there_if(|| self.find().is_ok())
    }

    /// The same, where `is_found` looks for it on this machine.
    pub(crate) fn is_there_if(&self, is_found: impl FnOnce() -> bool) -> bool {
        match self.path {
            Some(_) => self.is_expected() && self.state != CopyState::Damaged && is_found(),
            None => self.is_present(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_model::BackupId;
    use serde_json::{Value, json};
    use std::fs;

    fn record() -> BackupRecord {
        BackupRecord::begun(BackupId::random(), "hub", at(5))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_record_of_an_earlier_version_has_one_local_copy() {
        let mut old = serde_json::to_value(record()).unwrap();
        let fields = old.as_object_mut().unwrap();
        fields.remove("copies");
        fields.remove("gone");
        fields.remove("removed_at");
        let read =
            |changed: &Value| serde_json::from_value::<BackupRecord>(changed.clone()).unwrap();
        assert!(!read(&old).was_published() && read(&old).file().is_none());
        old["file"] = json!("/old/critical_backup_1.tar.gz");
        old["bytes"] = json!(7);
        let mut kept = read(&old);
        let moved = tempfile::tempdir().unwrap();
        kept.locate(moved.path());
        assert_eq!(
            kept.file(),
            Some(Path::new("/old/critical_backup_1.tar.gz"))
        );
        let here = moved.path().join("critical_backup_1.tar.gz");
        fs::write(&here, "archive").unwrap();
        kept.locate(moved.path());
        assert_eq!(kept.file(), Some(here.as_path()));
        assert_eq!(kept.copies[0].bytes, Some(7));
        assert!(kept.is_kept() && kept.removed_at().is_none());
        old["removed_at"] = json!(at(9));
        let removed = read(&old);
        assert_eq!(removed.copies[0].state, CopyState::Removed);
        assert_eq!(
            (removed.removed_at(), removed.is_lost()),
            (Some(at(9)), false)
        );
        old["gone"] = json!(true);
        assert!(read(&old).is_lost() && !read(&old).is_kept());
    }

    #[test]
    fn an_earlier_version_reads_what_this_one_writes() {
        let kept = record().found(Path::new("/b/critical_backup_1.tar.gz"), 7);
        let json = serde_json::to_value(&kept).unwrap();
        assert_eq!(json["file"], "/b/critical_backup_1.tar.gz");
        assert_eq!(
            (&json["removed_at"], &json["gone"]),
            (&Value::Null, &json!(false))
        );
        let copy = json!({
            "destination": "local", "key": "critical_backup_1.tar.gz", "bytes": 7, "state": "present",
            "removed_at": null,
        });
        assert_eq!(json["copies"], json!([copy]));
        let lost = serde_json::to_value(kept.removed(CopyState::Missing, at(9))).unwrap();
        assert_eq!(
            (&lost["removed_at"], &lost["gone"]),
            (&json!(at(9)), &json!(true))
        );
    }

    #[test]
    fn what_a_newer_version_recorded_survives() {
        let mut json = serde_json::to_value(record().found(Path::new("/b/a"), 7)).unwrap();
        json["receipt"] = json!({"signed_by": "x"});
        json["copies"][0]["mirrored_by"] = json!("x");
        let record: BackupRecord = serde_json::from_value(json).unwrap();
        let again = serde_json::to_value(record.removed(CopyState::Removed, at(9))).unwrap();
        assert_eq!(again["receipt"]["signed_by"], "x");
        assert_eq!(again["copies"][0]["mirrored_by"], "x");
        assert_eq!(again["copies"][0]["state"], "removed");
    }

    #[test]
    fn a_copy_elsewhere_has_what_is_known_of_it_and_no_path() {
        let mut record = record().found(Path::new("/b/a"), 7);
        let mut copy = BackupCopy::pending("s3", "a", Some(7), at(5));
        copy.attempts = 2;
        copy.next_try_at = Some(at(60));
        copy.error = Some("refused".to_owned());
        record.copies.push(copy);
        let json = serde_json::to_value(&record).unwrap();
        let pending = json!({
            "destination": "s3", "key": "a", "bytes": 7, "state": "pending", "removed_at": null, "since": at(5),
            "attempts": 2, "next_try_at": at(60), "error": "refused",
        });
        assert_eq!(json["copies"][1], pending);
        let mut read: BackupRecord = serde_json::from_value(json).unwrap();
        read.locate(Path::new("/b"));
        assert_eq!(read.copies, record.copies);
        assert_eq!(read.copy_at("s3").unwrap().path(), None);
        assert!(read.copies[0].is_present() && !read.copies[1].is_present());
    }

    #[test]
    fn a_copy_is_there_when_it_is_a_regular_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive");
        let record = record().found(&path, 7);
        assert!(record.archive().is_none() && record.file() == Some(&path));
        fs::create_dir(&path).unwrap();
        assert!(record.archive().is_none());
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "archive").unwrap();
        assert_eq!(record.archive(), Some(path.as_path()));
        assert_eq!(record.copies[0].find().unwrap(), 7);
    }
}
