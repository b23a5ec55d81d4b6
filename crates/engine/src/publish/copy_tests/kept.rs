//! What a destination's retention would remove at once is not copied there.

use super::*;
use crate::job::RetentionRules;
use crate::publish::find_absent;
use jiff::SignedDuration;

impl Fixture {
    /// One more backup in the directory, begun so many days ago.
    fn add(&self, days: i64, state: State, is_pinned: bool) -> BackupId {
        let id = BackupId::random();
        let (bytes, manifest) = archive(id);
        let local = self.here.path().join(name(days));
        fs::write(&local, &bytes).unwrap();
        sidecar(manifest).write(&local).unwrap();
        let at = Timestamp::now() - SignedDuration::from_hours(24 * days);
        let size = bytes.len() as u64;
        let mut record = BackupRecord::begun(id, "hub", at).found(&local, size);
        record.state = state;
        record.bytes = Some(size);
        record.pinned = is_pinned;
        self.catalog.finish(&record).unwrap();
        id
    }

    fn keep(&mut self, rules: RetentionRules) {
        let mut far = self.job.destinations.others()[0].clone();
        far.rules.keep = Some(rules);
        self.job.destinations = Destinations::local(self.here.path()).with([far]);
    }

    /// The archives at the destination.
    fn archives(&self) -> Vec<String> {
        let entries = fs::read_dir(self.far.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".tar.gz")).collect();
        names.sort();
        names
    }
}

fn name(days: i64) -> String {
    format!("critical_backup_202601{:02}_020000.tar.gz", 31 - days)
}

fn last(keep_last: u32) -> RetentionRules {
    RetentionRules {
        keep_last,
        ..RetentionRules::default()
    }
}

#[test]
fn a_new_destination_gets_what_its_retention_keeps() {
    let mut fixture = Fixture::new();
    for days in [2, 3, 4] {
        fixture.add(days, State::Proven, false);
    }
    fixture.add(1, State::Unproven, false);
    fixture.add(20, State::Proven, true);
    fixture.job.retention.days = 90;
    fixture.keep(last(2));
    assert_eq!(fixture.outcomes().len(), 3);
    let expected = [20, 2, 0].map(name);
    assert_eq!(fixture.archives(), expected);
    // Nothing of it is removed, and nothing is copied once more.
    assert_eq!(fixture.prune(), [""; 0]);
    assert_eq!(fixture.archives(), expected);
    assert_eq!(fixture.outcomes().len(), 0);
    // Wider rules fetch what is still there.
    fixture.keep(last(9));
    fixture.outcomes();
    assert_eq!(fixture.archives(), [20, 4, 3, 2, 0].map(name));
}

#[test]
fn without_rules_of_its_own_those_of_the_job_count() {
    let mut fixture = Fixture::new();
    fixture.add(2, State::Proven, false);
    fixture.add(9, State::Proven, false);
    fixture.job.retention = RetentionRules {
        days: 7,
        ..RetentionRules::default()
    };
    fixture.outcomes();
    assert_eq!(fixture.archives(), [2, 0].map(name));
}

#[test]
fn the_newest_proven_backup_goes_whatever_the_rules_say() {
    let mut fixture = Fixture::new();
    let set = |record: &mut BackupRecord| record.state = State::Unproven;
    fixture.catalog.change(fixture.id, set).unwrap();
    fixture.add(8, State::Proven, false);
    fixture.add(9, State::Proven, false);
    fixture.keep(last(0));
    fixture.outcomes();
    assert_eq!(fixture.archives(), [8, 0].map(name));
}

#[test]
fn what_can_not_be_copied_displaces_nothing() {
    let mut fixture = Fixture::new();
    fixture.add(2, State::Proven, false);
    fixture.add(3, State::Proven, false);
    fixture.keep(last(1));
    let of_another = sidecar(archive(BackupId::random()).1);
    of_another.write(&fixture.there()).unwrap();
    let error = fixture.sync().unwrap();
    assert!(error.contains("another archive's already"), "{error}");
    assert_eq!(fixture.archives(), [""; 0]);
    fixture.outcomes();
    assert_eq!(fixture.archives(), [2].map(name));
}

#[test]
fn what_is_queued_and_kept_no_longer_is_not_sent() {
    let mut fixture = Fixture::new();
    let id = fixture.add(5, State::Proven, false);
    let queue = |record: &mut BackupRecord| {
        let key = record.archive_name().unwrap().to_owned();
        let copy = BackupCopy::pending("far", &key, record.bytes, record.started_at);
        record.copies.push(copy);
    };
    fixture.catalog.change(id, queue).unwrap();
    fixture.keep(last(1));
    fixture.outcomes();
    assert_eq!(fixture.archives(), [0].map(name));
    assert_eq!(fixture.prune(), [""; 0]);
    let record = fixture.catalog.find(&id.to_string()).unwrap().unwrap();
    assert_eq!(record.copy_at("far").unwrap().state, CopyState::Removed);
}

#[test]
fn what_is_missing_and_kept_by_no_rule_is_not_made_again() {
    let mut fixture = Fixture::new();
    fixture.job.retention.days = 90;
    let old = [2, 3, 4].map(|days| fixture.add(days, State::Proven, false));
    fixture.sync();
    assert_eq!(fixture.archives().len(), 4);
    fixture.keep(last(3));
    for entry in fs::read_dir(fixture.far.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let look = || find_absent(&fixture.job, &fixture.catalog, None, &Cancel::new()).unwrap();
    let found = look();
    assert_eq!((found.copies.len(), found.problems.len()), (4, 0));
    assert_eq!(fixture.outcomes().len(), 3);
    assert_eq!(fixture.archives().len(), 3);
    let record = fixture.catalog.find(&old[2].to_string()).unwrap().unwrap();
    assert_eq!(record.copy_at("far").unwrap().state, CopyState::Removed);
    assert_eq!(look().copies, []);
    assert!(fixture.outcomes().is_empty());
}

#[test]
fn where_a_disk_may_not_be_mounted_nothing_is_made_again() {
    let mut fixture = Fixture::new();
    fixture.keep(last(5));
    let ids = [fixture.id, fixture.add(1, State::Proven, false)];
    assert_eq!(fixture.outcomes().len(), 2);
    let known = fixture.record().copy_at("far").unwrap().filesystem.clone();
    assert!(known.is_some());
    let stored_on = |filesystem: Option<&str>| {
        for id in ids {
            let set = |record: &mut BackupRecord| {
                let copy = record.copy_at_mut("far").unwrap();
                copy.filesystem = filesystem.map(str::to_owned);
            };
            fixture.catalog.change(id, set).unwrap();
        }
    };
    let look = || find_absent(&fixture.job, &fixture.catalog, None, &Cancel::new()).unwrap();
    // Of copies that an earlier version stored it is recorded once they were seen.
    stored_on(None);
    assert!(look().problems.is_empty());
    assert_eq!(fixture.record().copy_at("far").unwrap().filesystem, known);

    for entry in fs::read_dir(fixture.far.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for earlier in [Some("another"), None] {
        stored_on(earlier);
        for _ in 0..2 {
            let problems = look().problems;
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains("is its disk mounted?"), "{problems:?}");
            assert!(fixture.outcomes().is_empty());
        }
        assert!(fixture.archives().is_empty());
        assert_eq!(fixture.state("far"), CopyState::Missing);
    }
    let warnings = fixture.record().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].message.starts_with("all 2 copies at far"));

    stored_on(known.as_deref());
    assert!(look().problems.is_empty());
    assert!(fixture.outcomes().iter().all(|it| it.is_stored));
    assert_eq!(fixture.archives().len(), 2);
}

#[test]
fn a_new_copy_does_not_fill_the_disk_below_a_place_that_is_not_mounted() {
    let mut fixture = Fixture::new();
    fixture.keep(last(5));
    assert_eq!(fixture.sync(), None);
    let known = fixture.record().copy_at("far").unwrap().filesystem.clone();
    let new = fixture.add(1, State::Proven, false);
    let copy = || {
        let record = fixture.catalog.find(&new.to_string()).unwrap().unwrap();
        record.copy_at("far").unwrap().clone()
    };
    // The same disk under another number: what was stored is there.
    let on = |filesystem: &str| {
        fixture.change("far", |copy| copy.filesystem = Some(filesystem.to_owned()));
    };
    on("another");
    assert_eq!(fixture.outcomes().len(), 1);
    assert_eq!(copy().filesystem, known);
    // An empty directory of another disk.
    let forget = |record: &mut BackupRecord| record.copies.retain(|it| it.destination != "far");
    fixture.catalog.change(new, forget).unwrap();
    let far = fixture.far.path();
    let disk = far.with_extension("disk");
    fs::rename(far, &disk).unwrap();
    fs::create_dir(far).unwrap();
    for state in [CopyState::Present, CopyState::Missing] {
        fixture.change("far", |copy| copy.state = state);
        let outcomes = fixture.outcomes();
        assert!(outcomes.iter().all(|it| !it.is_stored), "{outcomes:?}");
        let why = copy().error.unwrap();
        assert!(why.contains("is its disk mounted?"), "{why}");
        assert!(
            why.contains("another name and run hubvault copies sync"),
            "{why}"
        );
        assert_eq!(copy().state, CopyState::Pending);
        assert!(copy().next_try_at.is_some());
        assert_eq!(fs::read_dir(far).unwrap().count(), 0);
    }
    // Mounted again.
    fs::remove_dir(far).unwrap();
    fs::rename(&disk, far).unwrap();
    fixture.change("far", |copy| copy.state = CopyState::Present);
    assert!(fixture.outcomes().iter().all(|it| it.is_stored));
    assert_eq!(copy().state, CopyState::Present);
    // Another disk in its place, on purpose: under another name it is a new one.
    on("another");
    fs::rename(far, &disk).unwrap();
    fs::create_dir(far).unwrap();
    fixture.catalog.change(new, forget).unwrap();
    assert!(fixture.sync().unwrap().contains("is its disk mounted?"));
    let location = Location::Directory(far.to_owned());
    fixture.job.destinations =
        Destinations::local(fixture.here.path()).with([Destination::new("new", location)]);
    assert!(fixture.outcomes().iter().all(|it| it.is_stored));
    assert_eq!(fixture.archives(), [name(0)]);
    fs::remove_dir_all(disk).unwrap();
}
