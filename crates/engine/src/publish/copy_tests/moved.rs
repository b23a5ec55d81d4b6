//! Copies that were moved, and copies of which the catalog says less than is there.

use super::*;
use std::path::Path;
use tempfile::TempDir;

/// A backup that was at `far` only, which is configured as this now.
fn only_far(name: &str, place: &Path) -> Fixture {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    for file in [fixture.local(), Sidecar::path(&fixture.local())] {
        fs::remove_file(file).unwrap();
    }
    fixture.change("local", |copy| copy.state = CopyState::Missing);
    let destination = Destination::new(name, Location::Directory(place.to_owned()));
    fixture.job.destinations = Destinations::local(fixture.here.path()).with([destination]);
    let catalog = Catalog::open(fixture.catalog.state()).unwrap();
    fixture.catalog = catalog.of_job("hub", &fixture.job.destinations);
    fixture
}

/// A backup that is at one destination only, which has another URL now.
struct Moved {
    fixture: Fixture,
    now: TempDir,
}

impl Moved {
    fn new() -> Self {
        let now = tempfile::tempdir().unwrap();
        let fixture = only_far("far", now.path());
        Self { fixture, now }
    }

    fn bring(&self, archive: &[u8]) {
        let there = self.now.path().join(NAME);
        fs::write(&there, archive).unwrap();
        let sidecar = Sidecar::path(&self.fixture.there());
        fs::copy(sidecar, Sidecar::path(&there)).unwrap();
    }

    fn far(&self) -> BackupCopy {
        self.fixture.record().copy_at("far").unwrap().clone()
    }

    fn is_taken(&self) {
        let copy = self.far();
        assert!(copy.is_present(), "{copy:?}");
        let url = format!("file://{}", self.now.path().display());
        assert_eq!(copy.location, Some(url));
        assert!(copy.checked_at.is_some());
    }
}

#[test]
fn a_copy_that_was_moved_is_taken_over_where_it_is_whole() {
    for is_recorded in [true, false] {
        let moved = Moved::new();
        let fixture = &moved.fixture;
        if !is_recorded {
            fixture.change("far", |copy| copy.sha256 = None);
        }
        let before = moved.far();
        assert!(before.is_unconfigured() && !before.is_present());
        let error = fixture.sync().unwrap();
        assert!(error.contains("no whole copy is left"), "{error}");
        moved.bring(&fixture.rotten());
        fixture.sync().unwrap();
        assert_eq!(moved.far().location, before.location);
        moved.bring(&fixture.whole);
        assert_eq!(fixture.sync(), None);
        moved.is_taken();
        assert_eq!(fs::read(fixture.there()).unwrap(), fixture.whole);
    }
}

#[test]
fn a_destination_with_another_name_has_the_copies_of_its_place() {
    let place = tempfile::tempdir().unwrap();
    let mut fixture = only_far("far", place.path());
    let location = Location::Directory(fixture.far.path().to_owned());
    let renamed = Destination::new("renamed", location);
    fixture.job.destinations = Destinations::local(fixture.here.path()).with([renamed]);
    assert_eq!(fixture.sync(), None);
    let record = fixture.record();
    assert!(record.copy_at("renamed").unwrap().checked_at.is_some());
    // What is recorded under the name of before can be forgotten.
    let catalog = Catalog::open(fixture.catalog.state()).unwrap();
    fixture.catalog = catalog.of_job("hub", &fixture.job.destinations);
    assert_eq!(fixture.remove("far"), Ok(Removed::Record));
    assert!(fixture.record().copy_at("far").is_none() && fixture.there().exists());
}

#[test]
fn verify_takes_the_copies_of_a_renamed_destination_over() {
    let place = tempfile::tempdir().unwrap();
    let mut fixture = only_far("far", place.path());
    let location = Location::Directory(fixture.far.path().to_owned());
    let renamed = Destination::new("renamed", location);
    fixture.job.destinations = Destinations::local(fixture.here.path()).with([renamed]);
    let catalog = Catalog::open(fixture.catalog.state()).unwrap();
    fixture.catalog = catalog.of_job("hub", &fixture.job.destinations);
    fixture.remove("far").unwrap_err();
    fs::write(fixture.there(), fixture.rotten()).unwrap();
    let named = |found: Vec<CheckedCopy>| found.into_iter().find(|it| it.destination == "renamed");
    assert_eq!(named(fixture.verify()).unwrap().state, CopyState::Damaged);
    assert!(fixture.record().copy_at("renamed").is_none());
    fs::write(fixture.there(), &fixture.whole).unwrap();
    assert!(named(fixture.verify()).unwrap().read_back);
    let record = fixture.record();
    assert!(record.copy_at("renamed").unwrap().is_present());
    assert!(record.copy_at("far").is_none());
}

#[test]
fn verify_takes_a_moved_copy_over_once_it_was_read() {
    let moved = Moved::new();
    let fixture = &moved.fixture;
    let far = |found: Vec<CheckedCopy>| found.into_iter().find(|it| it.destination == "far");
    assert!(far(fixture.verify()).is_none());
    moved.bring(&fixture.rotten());
    // It is named, and it is no copy.
    let damaged = far(fixture.verify()).unwrap();
    assert_eq!(damaged.state, CopyState::Damaged);
    assert!(damaged.error.is_some());
    assert!(moved.far().is_unconfigured());
    moved.bring(&fixture.whole);
    let (job, cancel) = (&fixture.job, Cancel::new());
    let looked = check_copies(job, &fixture.catalog, None, Depth::Look, &cancel).unwrap();
    assert!(far(looked).is_none() && moved.far().is_unconfigured());
    assert_eq!(far(fixture.verify()).unwrap().state, CopyState::Present);
    moved.is_taken();
}

#[test]
fn what_is_whole_becomes_present_whatever_was_recorded() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let far = || fixture.record().copy_at("far").unwrap().clone();
    // A crash before it was recorded, or a catalog that was put back.
    fixture.change("far", |copy| {
        copy.state = CopyState::Pending;
        (copy.location, copy.sha256, copy.checked_at) = (None, None, None);
    });
    fixture.verify();
    assert!(far().is_present() && far().location.is_some());
    // A rebuild that found it cut, before the rest of it came.
    let set = |record: &mut BackupRecord| {
        record.bytes = None;
        record.state = State::Unproven;
        record.copies.retain(|copy| copy.destination == "far");
        let copy = &mut record.copies[0];
        copy.state = CopyState::Damaged;
        (copy.bytes, copy.sha256) = (None, None);
        copy.error = Some("its entries alone need more".to_owned());
    };
    fixture.catalog.change(fixture.id, set).unwrap();
    let (job, cancel) = (&fixture.job, Cancel::new());
    check_copies(job, &fixture.catalog, None, Depth::Look, &cancel).unwrap();
    assert_eq!(far().state, CopyState::Damaged);
    fixture.verify();
    assert!(far().is_present() && far().error.is_none());
    let bytes = Some(fixture.whole.len() as u64);
    assert_eq!((far().bytes, fixture.record().bytes), (bytes, bytes));
    // A look alone says where it is, too.
    fixture.change("far", |copy| copy.location = None);
    check_copies(job, &fixture.catalog, None, Depth::Look, &cancel).unwrap();
    assert!(far().location.is_some());
}

#[test]
fn a_copy_that_cannot_be_made_is_named() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.local()).unwrap();
    fixture.change("local", |copy| copy.state = CopyState::Missing);
    let error = fixture.sync().unwrap();
    assert!(error.contains("no whole copy is left"), "{error}");
    assert!(fixture.record().copy_at("far").is_none());
    // Nothing is missing once its loss is accepted.
    fixture.change("local", |copy| copy.removed_at = Some(Timestamp::now()));
    assert_eq!(fixture.sync(), None);
}

#[test]
fn a_directory_that_is_written_otherwise_is_the_same_one() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let catalog = Catalog::open(fixture.catalog.state()).unwrap();
    let catalog = catalog.of_job("hub", &fixture.job.destinations);
    for (before, after, is_same) in [("", "/", true), ("/.", "/", true), ("", "/below", false)] {
        let url = format!("file://{before}{}{after}", fixture.far.path().display());
        fixture.change("far", |copy| copy.location = Some(url.clone()));
        let record = catalog.find(&fixture.id.to_string()).unwrap().unwrap();
        let copy = record.copy_at("far").unwrap();
        assert_eq!(copy.is_unconfigured(), !is_same, "{url}");
        assert_eq!(copy.is_present(), is_same, "{url}");
    }
}

#[test]
fn one_url_at_another_server_is_another_place() {
    let mut fixture = Fixture::new();
    let at = |endpoint: Option<&str>| {
        let mut destination = Destination::new("s3", Location::parse("s3://b/hub").unwrap());
        destination.options.object.endpoint = endpoint.map(str::to_owned);
        destination
    };
    let (one, other) = (
        Some("http://one.example:9000"),
        Some("http://other.example:9000"),
    );
    let key = Key::parse(NAME).unwrap();
    let bytes = fixture.whole.len() as u64;
    let set = |record: &mut BackupRecord| {
        record
            .copies
            .push(BackupCopy::stored(&at(one), &key, bytes));
        record.copies[1].checked_at = Some(Timestamp::now());
    };
    fixture.catalog.change(fixture.id, set).unwrap();
    let is_at = |endpoint| fixture.record().copies[1].is_at(&at(endpoint));
    assert!(is_at(one) && is_at(Some("http://ONE.example:9000/")));
    assert!(!is_at(other) && !is_at(None));
    // Nothing is asked of the other server, and nothing at the first is called removed.
    let all = Destinations::local(fixture.here.path()).with([at(other)]);
    fixture.catalog = Catalog::open(fixture.catalog.state())
        .unwrap()
        .of_job("hub", &all);
    fixture.job.destinations = all;
    let copy = fixture.record().copies[1].clone();
    assert!(copy.is_unconfigured());
    let place = copy.place().unwrap();
    assert_eq!(place, "s3://b/hub at http://one.example:9000");
    // An earlier version recorded no server.
    fixture.change("s3", |copy| copy.server = None);
    assert!(fixture.record().copies[1].is_at(&at(other)));
    fixture.change("s3", |copy| copy.server = one.map(str::to_owned));
    assert_eq!(fixture.remove("s3"), Ok(Removed::Record));
}
