//! Removals at real directories, some of which are not there.

use super::*;
use crate::catalog::sidecar::ENDING;
use crate::catalog::{Pin, State};
use crate::job::{Destinations, RetentionRules};
use crate::retain::decided;
use crate::retain::plan::decide_all;
use crate::state::StateDir;
use hubvault_store::{Call, Fault, Faulty, LocalDirectory, Location};
use serde_json::json;
use std::fs;
use std::path::PathBuf;

mod marks;

const DAY: i64 = 86_400;

struct Fixture {
    root: tempfile::TempDir,
    catalog: Catalog,
    destinations: Destinations,
}

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + day * DAY).unwrap()
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        for name in ["home", "one", "two"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let other =
            |name: &str| Destination::new(name, Location::Directory(root.path().join(name)));
        Self {
            catalog: Catalog::open(&StateDir::open(&home).unwrap()).unwrap(),
            destinations: Destinations::local(&home).with([other("one"), other("two")]),
            root,
        }
    }

    fn file(&self, destination: &str, day: i64) -> PathBuf {
        self.root.path().join(destination).join(name(day))
    }

    /// A backup with a copy at both.
    fn stored(&self, day: i64) -> BackupRecord {
        let mut record = BackupRecord::begun(BackupId::random(), "hub", at(day));
        record.state = State::Proven;
        record.bytes = Some(7);
        for destination in ["one", "two"] {
            let mut copy = BackupCopy::pending(destination, &name(day), Some(7), at(day));
            copy.state = CopyState::Present;
            record.copies.push(copy);
            let file = self.file(destination, day);
            fs::write(&file, "archive").unwrap();
            fs::write(sidecar(&file), sidecar_of(record.id)).unwrap();
        }
        self.catalog.finish(&record).unwrap();
        record
    }

    /// Keeps the newest one.
    fn decided(&self) -> Decided<'_> {
        let (rules, zone) = (RetentionRules::default(), TimeZone::UTC);
        let decide = || {
            let records: Vec<Rc<BackupRecord>> =
                self.catalog.runs("hub")?.into_iter().map(Rc::new).collect();
            let destinations = &self.destinations;
            Ok(decide_all(&records, destinations, &rules, at(9), &zone))
        };
        decided(&self.catalog, &self.destinations, decide, &zone, false).unwrap()
    }

    fn prune(&self) -> Applied {
        apply(&self.catalog, self.decided(), at(9), &TimeZone::UTC).unwrap()
    }

    fn state(&self, record: &BackupRecord, destination: &str) -> CopyState {
        let record = self.catalog.find(&record.id.to_string()).unwrap().unwrap();
        record.copy_at(destination).unwrap().state
    }

    /// How often the catalog was written: `SQLite` counts that in its file.
    fn writes(&self) -> u32 {
        let bytes = fs::read(self.root.path().join("home/.hubvault/catalog.sqlite")).unwrap();
        u32::from_be_bytes(bytes[24..28].try_into().unwrap())
    }
}

/// The sidecar of a backup's archive.
fn sidecar_of(id: BackupId) -> String {
    let at = Timestamp::UNIX_EPOCH;
    let manifest = json!({
        "format_version": 1, "id": id, "job": "hub", "tool": { "name": "hubvault", "version": "0" },
        "started_at": at, "finished_at": at, "codec": "gzip",
        "snapshot": {
            "id": "1", "lsn": "0/1", "taken_at": at, "database": "hub", "server_version": "15",
            "server_version_num": 150_000, "standby": false, "system_identifier": null,
        },
        "scope": { "tables": [], "exclude": [], "windows": [] }, "tables": [], "sequences": [],
        "left_out": [], "not_valid": [], "files": [], "warnings": [], "entries": [],
    });
    let proof = crate::catalog::ProofRecord::default();
    json!({ "proof": proof, "manifest": manifest }).to_string()
}

fn name(day: i64) -> String {
    format!("critical_backup_{day}.tar.gz")
}

fn sidecar(archive: &Path) -> PathBuf {
    PathBuf::from(format!("{}{ENDING}", archive.display()))
}

#[test]
fn a_destination_that_is_not_there_holds_up_no_other_and_is_tried_again() {
    let fixture = Fixture::new();
    let (old, next, new) = (fixture.stored(1), fixture.stored(2), fixture.stored(8));
    let (two, away) = (
        fixture.root.path().join("two"),
        fixture.root.path().join("away"),
    );
    fs::rename(&two, &away).unwrap();
    let applied = fixture.prune();
    assert_eq!(applied.removed, 1);
    let [problem, kept] = applied.problems.as_slice() else {
        panic!("{applied:?}");
    };
    assert!(
        problem.contains("could not remove 2 copies from the destination two, tried again"),
        "{problem}"
    );
    let expected = format!(
        "backup {} is kept at one until two can be asked whether newer backups failed a drill",
        next.id.short()
    );
    assert_eq!(*kept, expected);
    assert!(!fixture.file("one", 1).exists() && !sidecar(&fixture.file("one", 1)).exists());
    assert!(fixture.file("one", 2).exists());
    assert_eq!(fixture.state(&old, "one"), CopyState::Removed);
    assert_eq!(fixture.state(&old, "two"), CopyState::Present);

    fs::rename(&away, &two).unwrap();
    let applied = fixture.prune();
    assert_eq!((applied.removed, applied.problems.len()), (3, 0));
    assert!(!fixture.file("two", 1).exists() && fixture.file("two", 8).exists());
    assert!(!fixture.file("one", 2).exists());
    assert_eq!(fixture.state(&old, "two"), CopyState::Removed);
    assert_eq!(fixture.state(&new, "one"), CopyState::Present);
    assert_eq!(fixture.prune().removed, 0);
}

#[test]
fn an_interrupted_removal_is_finished_and_another_object_is_left() {
    let fixture = Fixture::new();
    let (interrupted, other, _) = (fixture.stored(1), fixture.stored(2), fixture.stored(8));
    // As a process leaves it that was ended after it had recorded the removal.
    fixture
        .catalog
        .change_copies(&[interrupted.id], |record| {
            let copy = record.copy_at_mut("one").unwrap();
            copy.state = CopyState::Removed;
            copy.removed_at = Some(at(8));
            copy.next_try_at = Some(at(8));
        })
        .unwrap();
    fs::write(fixture.file("one", 2), "another archive").unwrap();
    let applied = fixture.prune();
    assert_eq!(
        applied.problems,
        ["critical_backup_2.tar.gz at one is another object now; not removed"]
    );
    assert!(!fixture.file("one", 1).exists() && fixture.file("one", 2).exists());
    assert!(!fixture.file("two", 2).exists());
    assert_eq!(fixture.state(&other, "one"), CopyState::Present);
}

#[test]
fn what_its_sidecar_calls_another_archive_is_left() {
    let fixture = Fixture::new();
    let (other, bare, _) = (fixture.stored(1), fixture.stored(2), fixture.stored(8));
    let text = sidecar_of(BackupId::random());
    fs::write(sidecar(&fixture.file("one", 1)), text).unwrap();
    fs::remove_file(sidecar(&fixture.file("one", 2))).unwrap();
    let mut applied = fixture.prune();
    applied.problems.sort();
    assert_eq!(
        applied.problems,
        [
            "critical_backup_1.tar.gz at one is another archive's; not removed",
            "critical_backup_2.tar.gz at one has no sidecar that says which backup it is; not removed",
        ]
    );
    assert_eq!(applied.removed, 2, "those of the other destination");
    assert!(fixture.file("one", 1).exists() && fixture.file("one", 2).exists());
    assert!(sidecar(&fixture.file("one", 1)).exists());
    assert_eq!(fixture.state(&other, "one"), CopyState::Present);
    assert_eq!(fixture.state(&bare, "one"), CopyState::Present);
}

#[test]
fn a_damaged_copy_that_was_stored_there_needs_no_sidecar() {
    let fixture = Fixture::new();
    let (old, _) = (fixture.stored(1), fixture.stored(8));
    let one = fixture.destinations.named("one").unwrap();
    fixture
        .catalog
        .change_copies(&[old.id], |record| {
            let copy = record.copy_at_mut("one").unwrap();
            copy.location = Some(one.location.to_string());
            copy.state = CopyState::Damaged;
        })
        .unwrap();
    fs::write(fixture.file("one", 1), "rotten").unwrap();
    fs::remove_file(sidecar(&fixture.file("one", 1))).unwrap();
    let applied = fixture.prune();
    assert_eq!(
        (applied.removed, applied.problems.len()),
        (2, 0),
        "{applied:?}"
    );
    assert!(!fixture.file("one", 1).exists());
}

#[test]
fn a_store_that_refuses_is_asked_three_times_and_everything_stays_recorded() {
    let fixture = Fixture::new();
    let old: Vec<BackupRecord> = (0..6).map(|day| fixture.stored(day)).collect();
    fixture.stored(8);
    let local = LocalDirectory::open(&fixture.root.path().join("one")).unwrap();
    let store = Faulty::new(Box::new(local));
    for _ in 0..3 {
        store.fail_next(Call::Delete, Fault::AnswerLost);
    }
    let mut applied = Applied::default();
    let removal = Removal {
        marks: &HashMap::new(),
        catalog: &fixture.catalog,
        destination: fixture.destinations.named("one").unwrap(),
        store: Arc::new(store),
        now: at(9),
        zone: &TimeZone::UTC,
        failures: 0,
        skipped: 0,
        applied: &mut applied,
    };
    let records: Vec<Rc<BackupRecord>> = old.iter().cloned().map(Rc::new).collect();
    removal.run(&records.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(applied.removed, 0);
    assert_eq!(applied.problems.len(), 4, "{applied:?}");
    assert_eq!(
        applied.problems[3],
        "3 copies more at one were not tried after that"
    );
    let states = old.iter().map(|record| fixture.state(record, "one"));
    let kept = states.filter(|state| *state == CopyState::Present).count();
    assert_eq!(kept, 3);
    let applied = fixture.prune();
    assert_eq!(
        (applied.removed, applied.problems.len()),
        (12, 0),
        "{applied:?}"
    );
    assert!((0..6).all(|day| !fixture.file("one", day).exists()));
}

#[test]
fn many_removals_take_few_transactions() {
    let fixture = Fixture::new();
    for day in -500..0 {
        fixture.stored(day);
    }
    fixture.stored(8);
    let before = fixture.writes();
    let applied = fixture.prune();
    assert_eq!(applied.removed, 1000);
    // Two for each 200 at each destination.
    assert_eq!(fixture.writes() - before, 12);
}

#[test]
fn of_many_removals_those_that_somebody_pinned_are_left_at_every_destination() {
    let fixture = Fixture::new();
    let old: Vec<BackupRecord> = (-12..0).map(|day| fixture.stored(day)).collect();
    fixture.stored(8);
    let pin = Pin::now("on another machine");
    let text = pin.text(old[3].id).unwrap();
    fs::write(
        format!("{}.pinned", fixture.file("two", -9).display()),
        text,
    )
    .unwrap();
    let applied = fixture.prune();
    assert_eq!((applied.removed, applied.problems.len()), (22, 0));
    for destination in ["one", "two"] {
        assert!(fixture.file(destination, -9).exists());
        assert_eq!(fixture.state(&old[3], destination), CopyState::Present);
    }
    let known = fixture.catalog.find(&old[3].id.to_string()).unwrap();
    assert_eq!(known.unwrap().pin, Some(pin));
    assert_eq!(fixture.prune().removed, 0);
}

#[test]
fn a_copy_that_no_rule_would_keep_is_not_waited_for() {
    let fixture = Fixture::new();
    let (old, _) = (fixture.stored(1), fixture.stored(8));
    fixture
        .catalog
        .change_copies(&[old.id], |record| {
            record.copy_at_mut("two").unwrap().state = CopyState::Pending;
        })
        .unwrap();
    let applied = fixture.prune();
    assert_eq!((applied.removed, applied.problems.len()), (1, 0));
    assert_eq!(fixture.state(&old, "two"), CopyState::Removed);
    assert!(fixture.file("two", 1).exists(), "nothing of it is removed");
}

#[test]
fn where_the_kept_one_is_gone_or_another_nothing_is_removed() {
    let fixture = Fixture::new();
    let (old, new) = (fixture.stored(1), fixture.stored(8));
    // Another machine removed it, and something else is at the second place.
    fs::remove_file(fixture.file("one", 8)).unwrap();
    fs::write(fixture.file("two", 8), "something else").unwrap();
    let applied = fixture.prune();
    assert_eq!(applied.removed, 0, "{applied:?}");
    let gone = format!(
        "nothing was removed from one: backup {}, which is kept there, is not there any more",
        new.id.short()
    );
    assert!(applied.problems[0].starts_with(&gone), "{applied:?}");
    let other = "which is kept there, has another size now";
    assert!(applied.problems[1].contains(other), "{applied:?}");
    for destination in ["one", "two"] {
        assert_eq!(fixture.state(&old, destination), CopyState::Present);
        assert!(fixture.file(destination, 1).exists());
    }
}

#[test]
fn what_stays_beside_an_archive_that_is_gone_is_said_once() {
    let fixture = Fixture::new();
    let (old, _) = (fixture.stored(1), fixture.stored(8));
    let removing = |record: &mut BackupRecord| {
        let copy = record.copy_at_mut("one").unwrap();
        copy.state = CopyState::Removed;
        copy.removed_at = Some(at(9));
        copy.next_try_at = Some(at(9));
    };
    fixture.catalog.change(old.id, removing).unwrap();
    let archive = fixture.file("one", 1);
    fs::remove_file(&archive).unwrap();
    // What is called like its sidecar cannot be removed.
    let stuck = sidecar(&archive);
    fs::remove_file(&stuck).unwrap();
    fs::create_dir_all(stuck.join("full")).unwrap();
    let problems = fixture.prune().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("could not remove backup"),
        "{problems:?}"
    );
    assert_eq!(fixture.prune().problems, [""; 0]);
    fs::remove_dir_all(&stuck).unwrap();
    assert_eq!(fixture.prune().problems, [""; 0]);
    let record = fixture.catalog.find(&old.id.to_string()).unwrap().unwrap();
    assert_eq!(record.copy_at("one").unwrap().next_try_at, None);
}
