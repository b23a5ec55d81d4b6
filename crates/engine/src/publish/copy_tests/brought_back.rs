//! Archives that are lost in the directory in which they are made, and come back from a copy elsewhere.

use super::*;
use jiff::SignedDuration;

impl Fixture {
    /// A file in the directory, by its name.
    fn here(&self, name: &str) -> PathBuf {
        self.here.path().join(name)
    }

    fn lose(&self) {
        for file in [self.local(), Sidecar::path(&self.local())] {
            fs::remove_file(file).unwrap();
        }
    }

    fn is_back(&self) {
        assert_eq!(fs::read(self.local()).unwrap(), self.whole);
        let record = self.record();
        let copy = record.local_copy().unwrap();
        assert!(copy.is_present() && copy.checked_at.is_some(), "{copy:?}");
        assert_eq!(copy.made_again_from.as_deref(), Some("far"));
        assert_eq!((&copy.location, &copy.error), (&None, &None));
        let sidecar = Sidecar::beside(&self.local()).unwrap();
        assert_eq!(sidecar.manifest.id, self.id);
        let names = fs::read_dir(self.here.path()).unwrap();
        let partial = names.filter(|it| {
            let name = it.as_ref().unwrap().file_name();
            name.to_string_lossy().contains("partial")
        });
        assert_eq!(partial.count(), 0);
    }
}

#[test]
fn a_sync_brings_back_what_is_missing_or_damaged_here() {
    for has_checksum in [true, false] {
        let fixture = Fixture::new();
        assert_eq!(fixture.sync(), None);
        if !has_checksum {
            fixture.change("far", |copy| copy.sha256 = None);
        }
        fixture.lose();
        assert_eq!(fixture.sync(), None);
        fixture.is_back();
        fs::write(fixture.local(), fixture.rotten()).unwrap();
        fixture.verify();
        assert_eq!(fixture.state("local"), CopyState::Damaged);
        assert_eq!(fixture.sync(), None);
        fixture.is_back();
        assert!(fixture.outcomes().is_empty());
        assert!(fixture.verify().iter().all(|it| it.error.is_none()));
    }
}

#[test]
fn what_is_not_whole_elsewhere_does_not_come_back() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    fixture.lose();
    fs::write(fixture.there(), fixture.rotten()).unwrap();
    let error = fixture.sync().unwrap();
    assert!(error.contains("not what was proven"), "{error}");
    assert!(!fixture.local().exists());
    assert_eq!(fixture.state("local"), CopyState::Missing);
    assert_eq!(fixture.state("far"), CopyState::Damaged);
    // Another backup's file under its name stays.
    fixture.change("far", |copy| copy.state = CopyState::Present);
    fs::write(fixture.there(), &fixture.whole).unwrap();
    let (other, manifest) = archive(BackupId::random());
    fs::write(fixture.local(), &other).unwrap();
    sidecar(manifest).write(&fixture.local()).unwrap();
    fixture.change("local", |copy| copy.state = CopyState::Damaged);
    let outcomes = fixture.outcomes();
    let here = outcomes
        .iter()
        .find(|it| it.destination == "local")
        .unwrap();
    let error = here.error.as_deref().unwrap();
    assert!(error.contains("another archive's already"), "{error}");
    assert_eq!(fs::read(fixture.local()).unwrap(), other);
}

#[test]
fn what_nobody_wants_here_does_not_come_back() {
    let mut fixture = Fixture::new();
    // Its loss was accepted.
    assert_eq!(fixture.sync(), None);
    fixture.lose();
    let accept = |copy: &mut BackupCopy| copy.removed_at = Some(Timestamp::now());
    fixture.change("local", accept);
    assert!(fixture.outcomes().is_empty());
    // Retention would remove it at once: a newer one is proven.
    fixture.change("local", |copy| copy.removed_at = None);
    let newer = BackupId::random();
    let (bytes, manifest) = archive(newer);
    let file = fixture.here("critical_backup_20260202_020000.tar.gz");
    fs::write(&file, &bytes).unwrap();
    sidecar(manifest).write(&file).unwrap();
    let (at, size) = (
        Timestamp::now() + SignedDuration::from_secs(1),
        bytes.len() as u64,
    );
    let mut record = BackupRecord::begun(newer, "hub", at).found(&file, size);
    record.state = State::Proven;
    record.bytes = Some(size);
    fixture.catalog.finish(&record).unwrap();
    fixture.outcomes();
    assert!(!fixture.local().exists());
    fixture.job.retention.days = 30;
    fixture.outcomes();
    fixture.is_back();
}

#[test]
fn why_nothing_can_be_made_again_is_what_is_known() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    fixture.lose();
    fixture.change("far", |copy| {
        copy.state = CopyState::Removed;
        copy.removed_at = Some(Timestamp::now());
    });
    let why = super::super::source::no_source(&fixture.record());
    assert_eq!(
        why,
        "no copy is left to make it from: retention, somebody or another machine removed it at far"
    );
}
