//! A pin is seen by every machine that uses a place.

use super::*;
use crate::catalog::{Pin, rebuild};
use crate::remote::{Archives, rebuild_from};
use crate::retain::{Unstored, pin};

impl Fixture {
    fn pin(&self, pinned: bool) -> Vec<Unstored> {
        let reason = pinned.then(|| Pin::now("for the test"));
        pin(&self.job, &self.catalog, &self.record(), reason).unwrap()
    }

    /// The file that pins the archive at this path.
    fn pin_beside(archive: &Path) -> PathBuf {
        PathBuf::from(format!("{}.pinned", archive.display()))
    }

    fn is_pinned_there(&self) -> bool {
        Self::pin_beside(&self.there()).exists()
    }

    /// Another machine that uses the same place, with what it finds there and a newer proven backup.
    pub(super) fn other_machine(&self) -> Self {
        let here = tempfile::tempdir().unwrap();
        let (newer, manifest) = archive(BackupId::random());
        let id = manifest.id;
        let file = self
            .there()
            .with_file_name("critical_backup_20260202_020000.tar.gz");
        fs::write(&file, newer).unwrap();
        sidecar(manifest).write(&file).unwrap();
        let mut job = job(here.path());
        job.destinations = job
            .destinations
            .with(self.job.destinations.others().to_vec());
        let other = Self {
            catalog: Catalog::open(&crate::state::StateDir::at(here.path())).unwrap(),
            far: tempfile::tempdir().unwrap(),
            id: self.id,
            whole: self.whole.clone(),
            here,
            job,
        };
        other.rebuild();
        let set = |record: &mut BackupRecord| {
            record.started_at = Timestamp::now();
            record.state = State::Proven;
        };
        other.catalog.change(id, set).unwrap();
        other
    }

    pub(super) fn rebuild(&self) {
        let far = &self.job.destinations.others()[0];
        let archives = Archives::open(far, &Cancel::new()).unwrap();
        rebuild_from(
            || Ok(Catalog::open(self.catalog.state()).unwrap()),
            &archives,
            false,
        )
        .unwrap();
    }
}

#[test]
fn what_one_machine_pins_the_retention_of_another_one_keeps() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let knew_before = fixture.other_machine();
    assert!(!knew_before.record().pinned);
    assert!(fixture.pin(true).is_empty());
    assert!(fixture.is_pinned_there() && Fixture::pin_beside(&fixture.local()).exists());
    // Asking says it, and it is recorded.
    assert_eq!(knew_before.prune(), [""; 0]);
    assert!(fixture.there().exists());
    let known = knew_before.record();
    assert!(known.pinned && known.copy_at("far").unwrap().pin_stored);
    let pin = known.pin.unwrap();
    assert_eq!(pin, fixture.record().pin.unwrap());
    assert!(pin.machine.is_some() && pin.at.is_some());
    let set = |record: &mut BackupRecord| {
        record.pin.as_mut().unwrap().machine = Some("db2".to_owned());
    };
    knew_before.catalog.change(fixture.id, set).unwrap();
    let (now, zone) = (Timestamp::now(), TimeZone::UTC);
    let plan = retain::plan(&knew_before.catalog, &knew_before.job, false, now, &zone).unwrap();
    let mut reasons = plan.iter().map(|it| it.decision.reason.as_str());
    let today = pin.at.unwrap().to_zoned(zone).date();
    assert!(reasons.any(|reason| reason == format!("pinned by db2 on {today}")));
    // So does a catalog that is made again, and `list` of the place.
    let from_there = fixture.other_machine();
    assert!(from_there.record().pinned);
    let far = &fixture.job.destinations.others()[0];
    let archives = Archives::open(far, &Cancel::new()).unwrap();
    let (records, _) = archives.records(&archives.list().unwrap()).unwrap();
    let pinned = records.iter().filter(|record| record.pinned);
    let pinned: Vec<_> = pinned.map(|record| record.id).collect();
    assert_eq!(pinned, [fixture.id]);

    assert!(fixture.pin(false).is_empty());
    assert!(!fixture.is_pinned_there() && !Fixture::pin_beside(&fixture.local()).exists());
    let last = fixture.other_machine();
    assert!(!last.record().pinned);
    assert_eq!(last.prune(), [""; 0]);
    assert!(!fixture.there().exists());
}

#[test]
fn a_rebuild_records_the_pin_of_a_copy_that_was_known() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let other = fixture.other_machine();
    fixture.pin(true);
    other.rebuild();
    assert!(other.record().pinned);
    // What was released here is not pinned again by what could not be deleted there yet.
    let away = fixture.far.path().with_extension("away");
    fs::rename(fixture.far.path(), &away).unwrap();
    let unstored = other.pin(false);
    assert_eq!(unstored.len(), 1, "{unstored:?}");
    fs::rename(&away, fixture.far.path()).unwrap();
    other.rebuild();
    assert!(!other.record().pinned && fixture.is_pinned_there());
    assert_eq!(other.prune(), [""; 0]);
    assert!(!fixture.there().exists() && !fixture.is_pinned_there());
}

#[test]
fn a_pin_that_could_not_be_stored_or_deleted_is_recorded_and_done_later() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let (far, away) = (
        fixture.far.path(),
        fixture.far.path().with_extension("away"),
    );
    for pinned in [true, false] {
        fs::rename(far, &away).unwrap();
        let unstored = fixture.pin(pinned);
        let [one] = unstored.as_slice() else {
            panic!("{unstored:?}");
        };
        assert_eq!((one.destination.as_str(), one.backup), ("far", fixture.id));
        let said = if pinned {
            "not stored there yet"
        } else {
            "not removed from there yet"
        };
        assert!(one.problem.contains(said), "{unstored:?}");
        assert!(crate::publish::is_tending_due(
            &fixture.job,
            &fixture.catalog
        ));
        let error = fixture.sync().unwrap();
        assert!(error.contains(said), "{error}");
        fs::rename(&away, far).unwrap();
        assert_eq!(fixture.is_pinned_there(), !pinned);
        assert_eq!(fixture.sync(), None);
        assert_eq!(fixture.is_pinned_there(), pinned);
    }
    // What an earlier version pinned is stored, too.
    let set = |record: &mut BackupRecord| record.pinned = true;
    fixture.catalog.change(fixture.id, set).unwrap();
    assert_eq!(fixture.sync(), None);
    assert!(fixture.is_pinned_there());
}

#[test]
fn a_new_copy_has_its_pin_before_its_archive_and_both_are_removed() {
    let fixture = Fixture::new();
    fixture.pin(true);
    assert!(!fixture.is_pinned_there());
    let store = Faulty::new(Box::new(LocalDirectory::open(fixture.far.path()).unwrap()));
    // The archive is read to its end, then the sidecar and the pin are stored, and it ends there.
    for fault in [
        Fault::CutAfter(u64::MAX),
        Fault::CutAfter(u64::MAX),
        Fault::AnswerLost,
    ] {
        store.fail_next(Call::Put, fault);
    }
    let store: Arc<dyn Store> = Arc::new(store);
    let task = Task {
        pin: fixture.record().pin,
        ..fixture.task(None)
    };
    fixture.upload(&store, &task).unwrap_err();
    assert!(fixture.is_pinned_there() && !fixture.there().exists());
    assert_eq!(fixture.sync(), None);
    assert!(fixture.there().exists());
    assert!(fixture.record().copy_at("far").unwrap().pin_stored);
    fixture.remove("far").unwrap();
    assert_eq!(fs::read_dir(fixture.far.path()).unwrap().count(), 0);
}

#[test]
fn a_pin_of_another_backup_holds_nothing_and_one_that_cannot_be_read_does() {
    let of_another = Pin::now("").text(BackupId::random()).unwrap();
    let of_another = String::from_utf8(of_another).unwrap();
    for (text, is_kept) in [
        (of_another.clone(), false),
        ("{ \"format_version\": 2 }".to_owned(), true),
        (String::new(), true),
    ] {
        let fixture = Fixture::new();
        assert_eq!(fixture.sync(), None);
        let other = fixture.other_machine();
        fs::write(Fixture::pin_beside(&fixture.there()), text).unwrap();
        assert_eq!(other.prune(), [""; 0]);
        assert_eq!(fixture.there().exists(), is_kept);
        assert_eq!(other.record().pinned, is_kept);
    }
    // Where it is needed, it is replaced.
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    fs::write(Fixture::pin_beside(&fixture.there()), of_another).unwrap();
    assert!(fixture.pin(true).is_empty());
    assert!(fixture.other_machine().record().pinned);
}

#[test]
fn a_directory_is_read_with_the_pins_of_others() {
    let fixture = Fixture::new();
    let text = Pin::now("on another machine").text(fixture.id).unwrap();
    fs::write(Fixture::pin_beside(&fixture.local()), text).unwrap();
    let state = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&crate::state::StateDir::at(state.path())).unwrap();
    let rebuilt = rebuild(&catalog, fixture.here.path()).unwrap();
    let [added] = rebuilt.added.as_slice() else {
        panic!("{rebuilt:?}");
    };
    assert!(added.pinned && added.local_copy().unwrap().pin_stored);
    let pin = catalog.whole(added).unwrap().pin.unwrap();
    assert_eq!(pin.reason.as_deref(), Some("on another machine"));
}
