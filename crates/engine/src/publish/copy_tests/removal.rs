//! Which copies are removed.

use super::places::by_sftp;
use super::*;
use crate::catalog::DeliveryRecord;
use crate::publish::copies::leave_spool;
use crate::publish::remove_copy::{alone, remove_stored};
use hubvault_archive::seal;
use hubvault_testkit::SftpServer;
use std::io::Write;

#[test]
fn a_pending_copy_is_only_dequeued_and_another_archive_stays() {
    let fixture = Fixture::new();
    let (other, manifest) = archive(BackupId::random());
    fs::write(fixture.there(), &other).unwrap();
    assert!(
        fixture
            .sync()
            .unwrap()
            .contains("another archive's already")
    );
    fixture.remove("far").unwrap();
    assert_eq!(fs::read(fixture.there()).unwrap(), other);
    assert_eq!(fixture.state("far"), CopyState::Removed);
    // Nothing is left to retention, either.
    assert_eq!(fixture.prune(), [""; 0]);
    for has_sidecar in [false, true] {
        if has_sidecar {
            sidecar(manifest.clone()).write(&fixture.there()).unwrap();
        }
        fixture.change("far", |copy| {
            copy.state = CopyState::Present;
            copy.removed_at = None;
        });
        let error = fixture.remove("far").unwrap_err();
        assert!(error.contains("was not removed"), "{error}");
        assert_eq!(fs::read(fixture.there()).unwrap(), other);
        assert_eq!(fixture.state("far"), CopyState::Present);
    }
}

#[test]
fn the_last_copy_that_is_found_is_not_removed() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    fs::remove_file(fixture.there()).unwrap();
    let error = fixture.remove("local").unwrap_err();
    assert!(error.contains("is the only one"), "{error}");
    assert!(fixture.local().exists());
    // Nor where the other's destination is not configured any more.
    let mut fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    fixture.job.destinations = crate::job::Destinations::local(fixture.here.path());
    fixture.remove("local").unwrap_err();
    assert!(fixture.local().exists());
}

#[test]
fn a_copy_at_the_same_place_is_no_other_copy() {
    let mut fixture = Fixture::new();
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("link");
    std::os::unix::fs::symlink(fixture.far.path(), &link).unwrap();
    let again = Destination::new("again", Location::Directory(link));
    fixture.job.destinations = fixture.job.destinations.with([again]);
    assert_eq!(fixture.sync(), None);
    fs::remove_file(fixture.local()).unwrap();
    for name in ["far", "again"] {
        fixture.change(name, |copy| copy.state = CopyState::Present);
        let error = fixture.remove(name).unwrap_err();
        assert!(error.contains("is the only one"), "{error}");
    }
    assert!(fixture.there().exists());
}

#[test]
fn a_damaged_archive_on_the_disk_is_no_other_copy() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    fs::write(fixture.local(), fixture.rotten()).unwrap();
    let why = fixture.remove("far").unwrap_err();
    assert!(why.contains("the only one"), "{why}");
    assert!(fixture.there().exists());
    fs::write(fixture.local(), &fixture.whole).unwrap();
    fixture.remove("far").unwrap();
    assert!(!fixture.there().exists());
}

#[test]
fn what_may_be_gone_counts_no_more_and_retention_removes_the_rest() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let far = LocalDirectory::open(fixture.far.path()).unwrap();
    let far = Faulty::new(Box::new(far));
    let remove = |fault| {
        far.fail_next(Call::Delete, fault);
        let record = fixture.record();
        let copy = record.copy_at("far").unwrap();
        remove_stored(&fixture.catalog, &record, copy, &far).unwrap()
    };
    remove(Fault::Refused(ErrorKind::Denied)).unwrap_err();
    assert!(fixture.there().exists());
    assert_eq!(fixture.state("far"), CopyState::Present);
    // It counts as before.
    assert_eq!(fixture.record().copy_at("far").unwrap().error, None);
    assert!(remove(Fault::AnswerLost).unwrap_err().is_uncertain);
    let sidecar = Sidecar::path(&fixture.there());
    assert!(!fixture.there().exists() && sidecar.exists());
    assert_eq!(fixture.state("far"), CopyState::Removed);
    assert_eq!(fixture.prune(), [""; 0]);
    assert!(!sidecar.exists());
    assert_eq!(fixture.state("far"), CopyState::Removed);
}

#[test]
fn what_is_recorded_as_lost_is_removed_only_where_another_copy_is_whole() {
    for state in [CopyState::Missing, CopyState::Damaged] {
        let fixture = Fixture::new();
        assert_eq!(fixture.sync(), None);
        // The mount came back, or what was found then was wrong.
        fixture.change("far", |copy| copy.state = state);
        fs::remove_file(fixture.local()).unwrap();
        let why = fixture.remove("far").unwrap_err();
        assert!(why.contains("is the only one"), "{why}");
        assert_eq!(fs::read(fixture.there()).unwrap(), fixture.whole);
        fs::write(fixture.local(), &fixture.whole).unwrap();
        assert_eq!(fixture.remove("far"), Ok(Removed::Copy));
        assert!(!fixture.there().exists());
    }
}

#[test]
fn nothing_is_touched_at_a_place_at_which_the_copy_was_not_stored() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let elsewhere = tempfile::tempdir().unwrap();
    let now = elsewhere.path().join(NAME);
    for (from, to) in [
        (fixture.there(), now.clone()),
        (Sidecar::path(&fixture.there()), Sidecar::path(&now)),
    ] {
        fs::copy(from, to).unwrap();
    }
    let location = Location::Directory(elsewhere.path().to_owned());
    fixture.job.destinations = crate::job::Destinations::local(fixture.here.path())
        .with([Destination::new("far", location)]);
    fs::write(fixture.local(), fixture.rotten()).unwrap();
    let why = fixture.remove("far").unwrap_err();
    assert!(why.contains("is the only one"), "{why}");
    assert_eq!(fixture.state("far"), CopyState::Present);
    fs::write(fixture.local(), &fixture.whole).unwrap();
    assert_eq!(fixture.remove("far"), Ok(Removed::Record));
    assert!(fixture.record().copy_at("far").is_none());
    assert!(fixture.there().exists() && now.exists());
    assert!(Sidecar::path(&now).exists());
    // The place of now is without its copy.
    fs::remove_file(&now).unwrap();
    assert_eq!(fixture.sync(), None);
    assert_eq!(fs::read(&now).unwrap(), fixture.whole);
    assert_eq!(fixture.state("far"), CopyState::Present);
}

#[test]
fn a_copy_with_an_error_or_another_content_is_no_other_copy() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    // Of neither a checksum is recorded.
    fixture.change("far", |copy| copy.sha256 = None);
    fs::write(fixture.there(), fixture.rotten()).unwrap();
    let why = fixture.remove("local").unwrap_err();
    assert!(why.contains("is the only one"), "{why}");
    fs::write(fixture.there(), &fixture.whole).unwrap();
    fixture.change("far", |copy| copy.error = Some("not read back".to_owned()));
    let why = fixture.remove("local").unwrap_err();
    assert!(why.contains("is the only one"), "{why}");
    assert!(fixture.local().exists());
    fixture.change("far", |copy| copy.error = None);
    assert_eq!(fixture.remove("local"), Ok(Removed::Copy));
}

#[test]
fn a_damaged_copy_without_a_sidecar_is_of_whom_the_catalog_says() {
    let damaged = |fixture: &Fixture, bytes: usize| {
        fs::write(fixture.there(), vec![7; bytes]).unwrap();
        fs::remove_file(Sidecar::path(&fixture.there())).unwrap();
        assert_eq!(fixture.verify()[1].state, CopyState::Damaged);
    };
    let fixture = Fixture::new();
    let bytes = fixture.whole.len();
    for bytes in [bytes, bytes - 1] {
        assert_eq!(fixture.sync(), None);
        damaged(&fixture, bytes);
        assert_eq!(fixture.sync(), None, "{bytes}");
        assert_eq!(fs::read(fixture.there()).unwrap(), fixture.whole);
    }
    damaged(&fixture, bytes);
    assert_eq!(fixture.remove("far"), Ok(Removed::Copy));
    assert!(!fixture.there().exists());
    // A sidecar of another backup says more.
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    damaged(&fixture, bytes);
    let manifest = archive(BackupId::random()).1;
    sidecar(manifest).write(&fixture.there()).unwrap();
    assert!(
        fixture
            .sync()
            .unwrap()
            .contains("another archive's already")
    );
    assert!(
        fixture
            .remove("far")
            .unwrap_err()
            .contains("was not removed")
    );
    assert_eq!(fs::read(fixture.there()).unwrap(), vec![7; bytes]);
}

#[test]
fn an_archive_leaves_its_spool_directory_only_if_its_copy_is_found() {
    let mut fixture = Fixture::new();
    fixture.job.destinations = fixture.job.destinations.spool_only();
    assert_eq!(fixture.sync(), None);
    let set = |record: &mut BackupRecord| record.delivery = Some(DeliveryRecord::default());
    fixture.catalog.change(fixture.id, set).unwrap();
    fixture.change("local", |copy| copy.until_copied = true);
    let leave = || leave_spool(&fixture.job, &fixture.catalog).unwrap();
    fs::remove_file(fixture.there()).unwrap();
    let problems = leave();
    assert!(problems[0].contains("at far was not found"), "{problems:?}");
    assert!(fixture.local().exists());
    fs::write(fixture.there(), &fixture.whole).unwrap();
    // Somebody removes the copy there, as there is one here.
    let lock = alone(&fixture.catalog).unwrap().unwrap();
    assert_eq!(leave(), [""; 0]);
    assert!(fixture.local().exists());
    let why = fixture.remove("far").unwrap_err();
    assert!(why.contains("another process removes copies"), "{why}");
    drop(lock);
    assert_eq!(leave(), [""; 0]);
    assert!(!fixture.local().exists() && fixture.there().exists());
}

#[test]
fn what_was_missing_counts_again_only_by_its_content() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let look = || {
        let (job, cancel) = (&fixture.job, Cancel::new());
        check_copies(job, &fixture.catalog, None, Depth::Look, &cancel).unwrap();
        let copy = fixture.record().copy_at("far").unwrap().clone();
        (copy.state, copy.checked_at.is_some())
    };
    fs::remove_file(fixture.there()).unwrap();
    assert_eq!(look(), (CopyState::Missing, false));
    fs::write(fixture.there(), fixture.rotten()).unwrap();
    assert_eq!(look(), (CopyState::Damaged, false));
    let why = fixture.remove("local").unwrap_err();
    assert!(why.contains("is the only one"), "{why}");
    assert!(fixture.local().exists());
    fs::remove_file(fixture.there()).unwrap();
    assert_eq!(look(), (CopyState::Missing, false));
    fs::write(fixture.there(), &fixture.whole).unwrap();
    assert_eq!(look(), (CopyState::Present, true));
    assert_eq!(fixture.remove("local"), Ok(Removed::Copy));
}

#[test]
fn the_copy_that_remains_is_read_back_also_where_it_was_compared() {
    let server = SftpServer::start();
    let mut fixture = Fixture::new();
    let destinations = Destinations::local(fixture.here.path());
    fixture.job.destinations = destinations.with([by_sftp(&server)]);
    assert_eq!(fixture.sync(), None);
    assert!(
        fixture
            .record()
            .copy_at("again")
            .unwrap()
            .checked_at
            .is_some()
    );
    fs::write(server.directory().join(NAME), fixture.rotten()).unwrap();
    let why = fixture.remove("local").unwrap_err();
    assert!(why.contains("is the only one"), "{why}");
    assert!(fixture.local().exists());
    fs::write(server.directory().join(NAME), &fixture.whole).unwrap();
    assert_eq!(fixture.remove("local"), Ok(Removed::Copy));
}

#[test]
fn a_sealed_archive_without_a_sidecar_may_be_another_hosts() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let public = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    let (mut writer, _) = seal(Vec::new(), &[public.parse().unwrap()]).unwrap();
    writer.write_all(&fixture.whole).unwrap();
    let sealed = &writer.finish().unwrap().0[..fixture.whole.len() - 1];
    fs::write(fixture.there(), sealed).unwrap();
    fs::remove_file(Sidecar::path(&fixture.there())).unwrap();
    assert_eq!(fixture.verify()[1].state, CopyState::Damaged);
    let why = fixture.remove("far").unwrap_err();
    assert!(why.contains("was not removed"), "{why}");
    let why = fixture.sync().unwrap();
    assert!(why.contains("another archive's already"), "{why}");
    assert_eq!(fs::read(fixture.there()).unwrap(), sealed);
}

#[test]
fn an_archive_of_another_backup_is_no_copy() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let (other, manifest) = archive(BackupId::random());
    fs::write(fixture.there(), &other).unwrap();
    sidecar(manifest).write(&fixture.there()).unwrap();
    // It was recorded by a sidecar that lay beside it.
    fixture.change("far", |copy| {
        copy.bytes = Some(other.len() as u64);
        copy.sha256 = None;
    });
    fs::remove_file(fixture.local()).unwrap();
    let set = |record: &mut BackupRecord| {
        record.copies.retain(|copy| copy.destination == "far");
        record.sealed_to = vec!["age1".to_owned()];
    };
    fixture.catalog.change(fixture.id, set).unwrap();
    for depth in [Depth::Look, Depth::Full] {
        fixture.change("far", |copy| copy.state = CopyState::Present);
        let (job, cancel) = (&fixture.job, Cancel::new());
        let found = check_copies(job, &fixture.catalog, None, depth, &cancel).unwrap();
        assert_eq!(found[0].state, CopyState::Missing, "{found:?}");
    }
    assert_eq!(fs::read(fixture.there()).unwrap(), other);
}
