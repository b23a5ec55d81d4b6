//! No good copy is lost, and nothing damaged counts as present: uploads, verification and removal against stores that
//! hold what they should not, or fail.

use super::check_copies::{CheckedCopy, Depth, check_copies};
use super::copies::{Copier, Copying};
use super::fill::CopyOutcome;
use super::remove_copy::{Removed, remove_copy};
use super::source::{CopyError, Source, Task};
use super::upload::{Uploaded, upload};
use crate::catalog::sidecar::{Seal, Sidecar, sha256_of};
use crate::catalog::{BackupCopy, BackupRecord, Catalog, CopyState, ProofRecord, State};
use crate::job::{Destination, Destinations, Job};
use crate::monitor::tests::job;
use crate::progress::Silent;
use crate::retain;
use hubvault_archive::Manifest;
use hubvault_model::{BackupId, Cancel};
use hubvault_store::{Call, ErrorKind, Fault, Faulty, Key, LocalDirectory, Location, Store};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

mod drills;
mod kept;
mod moved;
mod one_reading;
mod one_sending;
mod pins;
mod other_machines;
mod places;
mod leftovers;
mod adopted;
mod brought_back;
mod removal;
#[path = "../../tests/samples/mod.rs"]
mod samples;
mod sidecar_locks;
mod servers;
mod sidecars;
mod strange_marks;

const NAME: &str = "critical_backup_20260131_020000.tar.gz";

/// An archive of one file.
fn archive(id: BackupId) -> (Vec<u8>, Manifest) {
    samples::archive(id, &[20_000])
}

/// A backup here, and a directory elsewhere that is empty.
struct Fixture {
    here: TempDir,
    far: TempDir,
    id: BackupId,
    whole: Vec<u8>,
    job: Job,
    catalog: Catalog,
}

impl Fixture {
    fn new() -> Self {
        let (here, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = BackupId::random();
        let (whole, manifest) = archive(id);
        let local = here.path().join(NAME);
        fs::write(&local, &whole).unwrap();
        sidecar(manifest).write(&local).unwrap();
        let mut job = job(here.path());
        let location = Location::Directory(far.path().to_owned());
        job.destinations = job.destinations.with([Destination::new("far", location)]);
        let catalog = Catalog::open(&crate::state::StateDir::at(here.path())).unwrap();
        let bytes = whole.len() as u64;
        let mut record = BackupRecord::begun(id, "hub", Timestamp::now()).found(&local, bytes);
        record.state = State::Proven;
        record.bytes = Some(bytes);
        catalog.finish(&record).unwrap();
        Self {
            here,
            far,
            id,
            whole,
            job,
            catalog,
        }
    }

    fn local(&self) -> PathBuf {
        self.here.path().join(NAME)
    }

    fn there(&self) -> PathBuf {
        self.far.path().join(NAME)
    }

    fn rotten(&self) -> Vec<u8> {
        let mut bytes = self.whole.clone();
        bytes[self.whole.len() / 2] ^= 1;
        bytes
    }

    fn record(&self) -> BackupRecord {
        self.catalog.find(&self.id.to_string()).unwrap().unwrap()
    }

    fn state(&self, name: &str) -> CopyState {
        self.record().copy_at(name).unwrap().state
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut BackupCopy)) {
        let set = |record: &mut BackupRecord| change(record.copy_at_mut(name).unwrap());
        self.catalog.change(self.id, set).unwrap();
    }

    fn outcomes(&self) -> Vec<CopyOutcome> {
        let copier = Copier {
            job: &self.job,
            catalog: &self.catalog,
            zone: &TimeZone::UTC,
            cancel: &Cancel::new(),
            progress: Arc::new(Silent),
            limit: None,
            only: None,
            lease: None,
        };
        copier.copy(Copying::Everything).unwrap()
    }

    /// The error of the only copy, if any was to be made.
    fn sync(&self) -> Option<String> {
        self.outcomes().pop().and_then(|outcome| outcome.error)
    }

    fn verify(&self) -> Vec<CheckedCopy> {
        check_copies(&self.job, &self.catalog, None, Depth::Full, &Cancel::new()).unwrap()
    }

    fn remove(&self, name: &str) -> Result<Removed, String> {
        remove_copy(&self.job, &self.catalog, &self.record(), name)
            .map_err(|error| error.to_string())
    }

    /// The problems of retention.
    fn prune(&self) -> Vec<String> {
        let (job, catalog, now, zone) = (&self.job, &self.catalog, Timestamp::now(), TimeZone::UTC);
        let decide = || retain::plan(catalog, job, false, now, &zone);
        let decided = retain::decided(catalog, &job.destinations, decide, &zone, false).unwrap();
        retain::apply(catalog, decided, now, &zone)
            .unwrap()
            .problems
    }

    fn task(&self, sha256: Option<String>) -> Task {
        Task {
            backup: self.id,
            key: Key::parse(NAME).unwrap(),
            bytes: self.whole.len() as u64,
            sha256,
            is_sealed: false,
            was_stored: false,
            proof: ProofRecord::default(),
            pin: None,
            source: Source::File(self.local()),
            lease: None,
        }
    }

    fn upload(&self, store: &Arc<dyn Store>, task: &Task) -> Result<Uploaded, CopyError> {
        let destination = &self.job.destinations.others()[0];
        upload(store, destination, task, &Cancel::new(), &|_| ())
    }
}

fn sidecar(manifest: Manifest) -> Sidecar {
    Sidecar {
        proof: ProofRecord::default(),
        pinned: false,
        seal: None,
        manifest,
    }
}

#[test]
fn a_damaged_archive_is_never_sent_and_is_recorded_as_damaged() {
    let fixture = Fixture::new();
    fs::write(fixture.local(), fixture.rotten()).unwrap();
    let error = fixture.sync().unwrap();
    assert!(error.contains("not what was proven"), "{error}");
    assert!(!fixture.there().exists());
    assert_eq!(fixture.state("local"), CopyState::Damaged);
    assert!(!fixture.record().copy_at("far").unwrap().is_present());
}

#[test]
fn a_whole_copy_is_kept_where_the_local_archive_is_damaged() {
    for is_recorded in [false, true] {
        let fixture = Fixture::new();
        assert_eq!(fixture.sync(), None);
        fixture.change("far", |copy| {
            copy.state = CopyState::Missing;
            copy.sha256 = copy.sha256.take().filter(|_| is_recorded);
        });
        fs::write(fixture.local(), fixture.rotten()).unwrap();
        assert_eq!(fixture.sync(), None);
        assert_eq!(fs::read(fixture.there()).unwrap(), fixture.whole);
        assert_eq!(fixture.state("far"), CopyState::Present);
        // With a recorded checksum the local one was not needed.
        let local = if is_recorded {
            CopyState::Present
        } else {
            CopyState::Damaged
        };
        assert_eq!(fixture.state("local"), local);
        let mut found = fixture.verify();
        found.retain(|copy| copy.state != CopyState::Present);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].destination, "local");
    }
}

#[test]
fn a_damaged_copy_is_replaced_only_from_what_was_proven() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    fs::write(fixture.there(), fixture.rotten()).unwrap();
    let found = fixture.verify();
    assert_eq!(found[1].state, CopyState::Damaged, "{found:?}");
    fs::write(fixture.local(), "another content").unwrap();
    assert!(fixture.sync().unwrap().contains("not what was proven"));
    assert_eq!(fs::read(fixture.there()).unwrap(), fixture.rotten());
    fs::write(fixture.local(), &fixture.whole).unwrap();
    fixture.verify();
    assert_eq!(fixture.sync(), None);
    assert_eq!(fs::read(fixture.there()).unwrap(), fixture.whole);
}

#[test]
fn a_store_that_fails_while_it_is_read_back_loses_nothing() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let sha256 = sha256_of(&fixture.local()).unwrap();
    let faulty = Arc::new(Faulty::new(Box::new(
        LocalDirectory::open(fixture.far.path()).unwrap(),
    )));
    // The sidecar is read first.
    faulty.fail_next(Call::Read, Fault::CutAfter(u64::MAX));
    faulty.fail_next(Call::Read, Fault::CutAfter(100));
    faulty.fail_next(Call::Put, Fault::Refused(ErrorKind::Unavailable));
    let store: Arc<dyn Store> = faulty.clone();
    let error = fixture
        .upload(&store, &fixture.task(Some(sha256)))
        .unwrap_err();
    assert!(
        error.to_string().contains("the connection was cut"),
        "{error}"
    );
    assert!(error.may_be_retried());
    assert_eq!(fs::read(fixture.there()).unwrap(), fixture.whole);
    // The put's fault is still there: none was tried.
    let probe = faulty.put(&Key::parse("probe").unwrap(), &mut &b"x"[..]);
    probe.unwrap_err();
}

#[test]
fn without_a_recorded_checksum_the_manifest_says_what_is_damaged() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    fs::write(fixture.there(), fixture.rotten()).unwrap();
    fixture.change("far", |copy| copy.sha256 = None);
    let found = [0, 1].map(|at| fixture.verify()[at].state);
    assert_eq!(found, [CopyState::Present, CopyState::Damaged]);
    // One that is only looked for stays damaged.
    let job = &fixture.job;
    check_copies(job, &fixture.catalog, None, Depth::Look, &Cancel::new()).unwrap();
    assert_eq!(fixture.state("far"), CopyState::Damaged);
}

#[test]
fn a_sealed_archive_is_compared_with_its_sidecar() {
    let fixture = Fixture::new();
    let mut task = fixture.task(None);
    task.is_sealed = true;
    let store: Arc<dyn Store> = Arc::new(LocalDirectory::open(fixture.far.path()).unwrap());
    let error = fixture.upload(&store, &task).unwrap_err().to_string();
    assert!(error.contains("cannot be compared"), "{error}");
    let mut sealed = sidecar(archive(fixture.id).1);
    sealed.seal = Some(Seal {
        sealed_to: vec!["age1".to_owned()],
        sha256: sha256_of(&fixture.local()).unwrap(),
        head_sha256: None,
    });
    sealed.write(&fixture.local()).unwrap();
    fs::write(fixture.local(), fixture.rotten()).unwrap();
    let error = fixture.upload(&store, &task).unwrap_err().to_string();
    assert!(error.contains("not what was proven"), "{error}");
    fs::write(fixture.local(), &fixture.whole).unwrap();
    fixture.upload(&store, &task).unwrap();
    assert_eq!(fs::read(fixture.there()).unwrap(), fixture.whole);
}

#[test]
fn the_first_sidecar_says_whose_a_key_is() {
    let fixture = Fixture::new();
    let manifest = archive(BackupId::random()).1;
    sidecar(manifest).write(&fixture.there()).unwrap();
    let before = fs::read(Sidecar::path(&fixture.there())).unwrap();
    assert!(
        fixture
            .sync()
            .unwrap()
            .contains("another archive's already")
    );
    assert!(!fixture.there().exists());
    assert_eq!(fs::read(Sidecar::path(&fixture.there())).unwrap(), before);
}

#[test]
fn a_missing_sidecar_is_found_and_stored_again() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let sidecar = Sidecar::path(&fixture.there());
    let before = fs::read(&sidecar).unwrap();
    fs::remove_file(&sidecar).unwrap();
    let found = fixture.verify();
    let error = found[1].error.as_deref().unwrap_or_default();
    assert!(error.contains("its sidecar is not there"), "{found:?}");
    assert_eq!(fixture.sync(), None);
    assert_eq!(fs::read(&sidecar).unwrap(), before);
    assert!(fixture.verify()[1].error.is_none());
    // A cut archive without its sidecar is this backup's, too.
    fs::remove_file(&sidecar).unwrap();
    fs::write(fixture.there(), &fixture.whole[..1000]).unwrap();
    assert_eq!(fixture.verify()[1].state, CopyState::Damaged);
    assert_eq!(fixture.sync(), None);
    assert_eq!(fs::read(fixture.there()).unwrap(), fixture.whole);
}

#[test]
fn of_two_hosts_that_store_under_one_key_one_is_refused() {
    let hosts = [Fixture::new(), Fixture::new()];
    let place = tempfile::tempdir().unwrap();
    let done: Vec<Result<Uploaded, CopyError>> = std::thread::scope(|scope| {
        let tasks = hosts.each_ref().map(|host| host.task(None));
        let at = hosts[0].job.destinations.others()[0].clone();
        let both = tasks.map(|task| {
            let local = LocalDirectory::open(place.path()).unwrap();
            let (store, at): (Arc<dyn Store>, _) = (Arc::new(local), at.clone());
            scope.spawn(move || upload(&store, &at, &task, &Cancel::new(), &|_| ()))
        });
        both.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let winner = done.iter().position(Result::is_ok).unwrap();
    let error = done[1 - winner].as_ref().unwrap_err();
    assert!(matches!(error, CopyError::Refused(_)), "{error}");
    let there = place.path().join(NAME);
    assert_eq!(fs::read(&there).unwrap(), hosts[winner].whole);
    assert_eq!(
        Sidecar::beside(&there).unwrap().manifest.id,
        hosts[winner].id
    );
}
