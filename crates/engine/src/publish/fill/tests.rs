//! What comes of copies on their way.

use super::*;
use crate::catalog::sidecar::sha256_of;
use crate::catalog::{BackupRecord, ProofRecord};
use crate::job::Destinations;
use crate::progress::Silent;
use crate::publish::record_copy::pause;
use crate::publish::remove_copy;
use crate::publish::source::Source;
use crate::state::StateDir;
use hubvault_model::{ByteSize, Masks};
use hubvault_store::{Key, Location};
use jiff::Timestamp;
use std::path::PathBuf;

/// A new copy of the archive in this file.
fn task(backup: BackupId, archive: PathBuf) -> Task {
    let name = archive.file_name().unwrap().to_str().unwrap();
    Task {
        backup,
        key: Key::parse(name).unwrap(),
        bytes: std::fs::metadata(&archive).unwrap().len(),
        sha256: Some(sha256_of(&archive).unwrap()),
        is_sealed: false,
        was_stored: false,
        proof: ProofRecord::default(),
        pin: None,
        source: Source::File(archive),
        lease: None,
    }
}

#[test]
fn a_limit_of_time_ends_an_upload_and_nothing_half_is_there() {
    let here = tempfile::tempdir().unwrap();
    let far = tempfile::tempdir().unwrap();
    let archive = here.path().join("critical_backup_20260131_020000.tar.gz");
    std::fs::write(&archive, vec![7; 1 << 20]).unwrap();
    let catalog = Catalog::open(&StateDir::at(here.path())).unwrap();
    let id = BackupId::random();
    let record = BackupRecord::begun(id, "hub", Timestamp::now());
    catalog.finish(&record.found(&archive, 1 << 20)).unwrap();
    let location = Location::Directory(far.path().to_owned());
    let mut destination = Destination::new("far", location);
    destination.rules.bytes_per_second = Some(ByteSize(1));
    let task = task(id, archive);
    let work = Work {
        state: catalog.state().clone(),
        destinations: Destinations::local(here.path()),
        masks: Masks::default(),
        progress: Arc::new(Silent),
        stop: Cancel::new(),
    };
    let plan = Plan {
        refusal: None,
        stored: Vec::new(),
        destination,
        tasks: vec![task],
    };
    let outcomes = fill(vec![plan], &work, &Cancel::new(), Some(Duration::ZERO));
    let stopped = |outcome: &CopyOutcome| {
        let error = outcome.error.as_deref();
        error == Some("stopped before it was copied")
    };
    // A machine with much to do may not get so far.
    assert!(outcomes.iter().all(stopped), "{outcomes:?}");
    let there = std::fs::read_dir(far.path()).unwrap();
    let names = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!names.into_iter().any(|name| name.ends_with(".tar.gz")));
    let known = catalog.find(&id.to_string()).unwrap().unwrap();
    assert!(!known.copy_at("far").is_some_and(BackupCopy::is_present));
}

#[test]
fn what_is_removed_while_copies_are_made_is_not_made_again() {
    let (here, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let name = "critical_backup_20260131_020000.tar.gz";
    let archive = here.path().join(name);
    std::fs::write(&archive, vec![7; 9]).unwrap();
    let catalog = Catalog::open(&StateDir::at(here.path())).unwrap();
    let id = BackupId::random();
    let mut record = BackupRecord::begun(id, "hub", Timestamp::now()).found(&archive, 9);
    let pending = BackupCopy::pending("far", name, Some(9), Timestamp::now());
    record.copies.push(pending);
    catalog.finish(&record).unwrap();
    let location = Location::Directory(far.path().to_owned());
    let far_away = Destination::new("far", location);
    let mut job = crate::monitor::tests::job(here.path());
    job.destinations = Destinations::local(here.path()).with([far_away.clone()]);
    let remove = || remove_copy(&job, &catalog, &record, "far");
    let work = Work {
        state: catalog.state().clone(),
        destinations: job.destinations.clone(),
        masks: Masks::default(),
        progress: Arc::new(Silent),
        stop: Cancel::new(),
    };
    let turn = lock(&work.state, &far_away, &work.stop).unwrap();
    let why = remove().unwrap_err().to_string();
    assert!(why.contains("copies are being made at far now"), "{why}");
    drop(turn);
    // It was planned before.
    remove().unwrap();
    let task = task(id, archive);
    let plan = Plan {
        refusal: None,
        stored: Vec::new(),
        destination: far_away,
        tasks: vec![task],
    };
    let outcomes = fill(vec![plan], &work, &Cancel::new(), None);
    assert!(!outcomes[0].is_stored, "{outcomes:?}");
    assert_eq!(std::fs::read_dir(far.path()).unwrap().count(), 0);
    let known = catalog.find(&id.to_string()).unwrap().unwrap();
    assert_eq!(known.copy_at("far").unwrap().state, CopyState::Removed);
}

#[test]
fn the_pause_grows_to_six_hours_and_stays_there() {
    let minutes = |attempts| pause(attempts, false).as_mins();
    assert_eq!([1, 2, 3, 7, 40].map(minutes), [5, 10, 20, 320, 360]);
    assert_eq!(pause(1, true).as_mins(), 15);
}
