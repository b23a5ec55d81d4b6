//! What the archives of a store are taken for, and what the catalog is made of them.

use super::{archive, bucket, name};
use hubvault_archive::{Identities, hex, seal};
use hubvault_engine::catalog::sidecar::{Seal, Sidecar};
use hubvault_engine::catalog::{BackupRecord, Catalog, CopyState, ProofRecord, State};
use hubvault_engine::job::Destination;
use hubvault_engine::remote::{Archives, Backup, Found, RemoteError, rebuild_from};
use hubvault_engine::state::StateDir;
use hubvault_model::BackupId;
use hubvault_store::{Call, ErrorKind, Fault, Key, Location, Store};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Read, Write};
use tempfile::TempDir;

fn rebuild(home: &TempDir, archives: &Archives) -> Result<Found, RemoteError> {
    rebuild_from(
        || Catalog::open(&StateDir::at(home.path())),
        archives,
        false,
    )
}

#[test]
fn a_store_without_backups_makes_no_catalog() {
    let bucket = bucket();
    let home = tempfile::tempdir().unwrap();
    let empty = || fs::read_dir(home.path()).unwrap().next().is_none();
    assert!(rebuild(&home, &bucket.archives).is_err() && empty());
    bucket.put(&name(3), b"not an archive");
    let found = rebuild(&home, &bucket.archives).unwrap();
    assert!(found.unreadable.len() == 1 && empty());
    bucket.backup(&name(1), BackupId::random(), true);
    rebuild(&home, &bucket.archives).unwrap();
    assert!(!empty());
}

#[test]
fn of_a_large_sidecar_only_what_is_known_is_kept() {
    let bucket = bucket();
    let id = BackupId::from_u128(7);
    bucket.backup(&name(1), id, true);
    let key = Key::parse(&format!("{}.manifest.json", name(1))).unwrap();
    let mut text = String::new();
    let mut stored = bucket.store.read_range(&key, 0, u64::MAX).unwrap();
    stored.read_to_string(&mut text).unwrap();
    let more = "x".repeat(100_000);
    let more = vec![more; 60];
    let text = text.replacen('{', &format!("{{\"a_newer_version\": {more:?},"), 1);
    bucket.put(key.as_str(), text.as_bytes());
    let listed = bucket.archives.find(&id.to_string()).unwrap();
    let sidecar = bucket.archives.sidecar(&listed).unwrap().unwrap();
    assert!(sidecar.proof.proven && sidecar.seal.is_none());
    // A store that fails is not a sidecar that cannot be read.
    bucket.fail(Call::Read, Fault::Refused(ErrorKind::Denied));
    assert!(bucket.archives.sidecar(&listed).is_err());
}

#[test]
fn the_catalog_is_made_anew_from_sidecars() {
    let bucket = bucket();
    let (proven, bare) = (BackupId::from_u128(7), BackupId::from_u128(8));
    bucket.backup(&name(1), proven, true);
    bucket.put(&name(2), &archive(bare, &[10]).0);
    bucket.put(&name(3), b"not an archive");
    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&StateDir::at(home.path())).unwrap();
    let found = rebuild(&home, &bucket.archives).unwrap();
    assert_eq!((found.added.len(), found.unreadable.len()), (2, 1));
    assert!(found.unreadable[0].place.ends_with(&name(3)));
    let record = |id: BackupId| catalog.find(&id.to_string()).unwrap().unwrap();
    assert_eq!(record(proven).state, State::Proven);
    assert_eq!(record(bare).state, State::Unproven);
    let copy = &record(proven).copies[0];
    assert_eq!(
        (copy.destination.as_str(), copy.key.as_str()),
        ("s3", name(1).as_str())
    );
    assert!(copy.path().is_none());
    let again = rebuild(&home, &bucket.archives).unwrap();
    assert_eq!((again.added.len(), again.known), (0, 2));
    let mut forgotten = record(proven);
    forgotten.copies.clear();
    catalog.finish(&forgotten).unwrap();
    let again = rebuild(&home, &bucket.archives).unwrap();
    assert_eq!((again.returned.len(), record(proven).copies.len()), (1, 1));
}

#[test]
fn a_rebuild_clears_no_damage() {
    let bucket = bucket();
    let id = BackupId::from_u128(7);
    bucket.backup(&name(1), id, true);
    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&StateDir::at(home.path())).unwrap();
    rebuild(&home, &bucket.archives).unwrap();
    let copy = || catalog.find(&id.to_string()).unwrap().unwrap().copies[0].clone();
    let bytes = copy().bytes;
    for state in [CopyState::Damaged, CopyState::Missing, CopyState::Pending] {
        let set = |record: &mut BackupRecord| {
            record.copies[0].state = state;
            record.copies[0].error = Some("as it was".to_owned());
        };
        catalog.change(id, set).unwrap();
        let found = rebuild(&home, &bucket.archives).unwrap();
        assert_eq!((found.returned.len(), found.known), (0, 1), "{state:?}");
        let is_lost = state != CopyState::Pending;
        assert_eq!(found.unreadable.len(), usize::from(is_lost), "{state:?}");
        let left = (copy().state, copy().error, copy().bytes);
        assert_eq!(left, (state, Some("as it was".to_owned()), bytes));
    }
    // What retention removed is found again, but was not read back since.
    let set = |record: &mut BackupRecord| {
        *record = record.removed(CopyState::Removed, Timestamp::now());
        record.copies[0].checked_at = Some(Timestamp::now());
    };
    catalog.change(id, set).unwrap();
    let found = rebuild(&home, &bucket.archives).unwrap();
    assert_eq!(found.returned.len(), 1);
    assert!(copy().is_present() && copy().checked_at.is_none());
    // The place where it is now counts.
    for place in [None, Some("s3://acme/old".to_owned())] {
        let is_moved = place.is_some();
        let set = |record: &mut BackupRecord| record.copies[0].location = place;
        catalog.change(id, set).unwrap();
        let found = rebuild(&home, &bucket.archives).unwrap();
        assert_eq!(found.returned.len(), usize::from(is_moved));
        assert_eq!(copy().location.as_deref(), Some("s3://acme/hub"));
    }
    // Another size is damage, and the size stays.
    let (other, _) = archive(id, &[2000]);
    bucket.put(&name(1), &other);
    let found = rebuild(&home, &bucket.archives).unwrap();
    assert_eq!((found.known, found.unreadable.len()), (1, 1));
    assert_eq!((copy().state, copy().bytes), (CopyState::Damaged, bytes));
}

#[test]
fn an_archive_too_small_for_its_sidecar_is_damaged() {
    let bucket = bucket();
    let (short, torn, whole) = (7, 8, 9);
    for (day, id) in [(1, short), (2, torn), (3, whole)] {
        bucket.backup(&name(day), BackupId::from_u128(id), true);
    }
    let (bytes, _) = archive(BackupId::from_u128(short), &[1000]);
    bucket.put(&name(1), &bytes[..1000]);
    // As long as before, without its table of contents.
    let mut without = bytes.clone();
    let end = without.len() - 20;
    without[end..].fill(0);
    bucket.put(&name(2), &without);
    let listed = bucket.archives.list().unwrap();
    let (records, unreadable) = bucket.archives.records(&listed).unwrap();
    assert_eq!((records.len(), unreadable.len()), (3, 1));
    assert!(unreadable[0].is_listed && unreadable[0].why.contains("1000 bytes"));
    assert_eq!(records[2].state, State::Unproven);
    assert_eq!(records[2].copies[0].state, CopyState::Damaged);

    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&StateDir::at(home.path())).unwrap();
    let found = rebuild(&home, &bucket.archives).unwrap();
    assert_eq!((found.added.len(), found.unreadable.len()), (3, 2));
    let record = |id: u128| {
        let id = BackupId::from_u128(id).to_string();
        catalog.find(&id).unwrap().unwrap()
    };
    for id in [short, torn] {
        assert_eq!(record(id).state, State::Unproven);
        assert!(!record(id).copies[0].is_present());
    }
    // The size that it has is not the one that it should have.
    assert_eq!(record(short).copies[0].bytes, None);
    assert!(record(whole).copies[0].is_present());
    bucket.put(&name(3), &bytes[..1000]);
    bucket.put(&name(2), &bytes[..1000]);
    let latest = bucket.archives.find("latest").unwrap();
    assert_eq!(latest.object.key.as_str(), name(3), "nothing is whole");
}

#[test]
fn a_whole_copy_found_later_makes_the_backup_known() {
    let (torn, good) = (bucket(), bucket());
    let id = BackupId::from_u128(7);
    for bucket in [&torn, &good] {
        bucket.backup(&name(1), id, true);
    }
    torn.put(&name(1), b"torn");
    let location = Location::parse("s3://acme/other").unwrap();
    let other = Destination::new("other", location);
    let good = Archives::of(&other, good.store.clone(), &good.cancel);
    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&StateDir::at(home.path())).unwrap();
    rebuild(&home, &torn.archives).unwrap();
    let found = rebuild(&home, &good).unwrap();
    assert_eq!(found.returned.len(), 1);
    let record = catalog.find(&id.to_string()).unwrap().unwrap();
    assert_eq!(
        (record.state, record.count_copies()),
        (State::Proven, (1, 2))
    );
    assert!(record.copy_at("other").unwrap().is_present());
}

#[test]
fn an_archive_of_another_backup_is_not_taken_for_the_one_asked_for() {
    let bucket = bucket();
    let (asked, other) = (BackupId::from_u128(7), BackupId::from_u128(8));
    bucket.backup(&name(1), asked, true);
    bucket.put(&name(1), &archive(other, &[1000]).0);
    for word in ["latest", &asked.to_string()] {
        let listed = bucket.archives.find(word).unwrap();
        let backup = Backup::of(bucket.archives.clone(), listed);
        let open = backup.open(&Identities::none()).map(|_| ());
        let read = backup.contents(&Identities::none()).map(|_| ());
        for error in [open.unwrap_err(), read.unwrap_err()] {
            let said = error.to_string();
            let names_both = said.contains(&asked.to_string()) && said.contains(&other.to_string());
            assert!(names_both, "{said}");
        }
    }
    // Who names the archive gets it.
    let opened = bucket.open(&name(1), &Identities::none()).unwrap();
    assert_eq!(opened.manifest().id, other);
    let home = tempfile::tempdir().unwrap();
    let found = rebuild(&home, &bucket.archives).unwrap();
    assert_eq!((found.added.len(), found.unreadable.len()), (0, 1));
    let why = &found.unreadable[0].why;
    assert!(
        why.contains(&asked.to_string()) && why.contains(&other.to_string()),
        "{why}"
    );
}

#[test]
fn backups_of_another_server_are_added_only_where_that_is_asked_for() {
    let bucket = bucket();
    let home = tempfile::tempdir().unwrap();
    let open = || Catalog::open(&StateDir::at(home.path()));
    let sealed = |day: u32, server: &str| {
        let (bytes, mut manifest) = archive(BackupId::from_u128(day.into()), &[1000]);
        manifest.snapshot.system_identifier = Some(server.to_owned());
        let public = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
        let (mut writer, _) = seal(Vec::new(), &[public.parse().unwrap()]).unwrap();
        writer.write_all(&bytes).unwrap();
        let (bytes, sha256) = writer.finish().unwrap();
        let key = bucket.put(&name(day), &bytes);
        let sidecar = Sidecar {
            proof: ProofRecord::default(),
            pinned: false,
            seal: Some(Seal {
                sealed_to: vec![public.to_owned()],
                sha256,
                head_sha256: None,
            }),
            manifest,
        };
        sidecar.put(bucket.store.as_ref(), &key).unwrap();
    };
    sealed(1, "one");
    // Nothing is known: all are added.
    assert_eq!(rebuild(&home, &bucket.archives).unwrap().added.len(), 1);
    sealed(2, "other");
    sealed(3, "one");
    let found = rebuild(&home, &bucket.archives).unwrap();
    assert_eq!((found.added.len(), found.known), (1, 1), "{found:?}");
    let why = &found.unreadable[0].why;
    assert!(
        why.contains("--every-server") && why.contains("other"),
        "{why}"
    );
    let found = rebuild_from(open, &bucket.archives, true).unwrap();
    assert_eq!((found.added.len(), found.known), (1, 2), "{found:?}");
    assert_eq!(found.unreadable.len(), 0);
}

#[test]
fn a_sealed_sidecar_counts_only_beside_what_it_may_be_of() {
    let bucket = bucket();
    let (bytes, _) = archive(BackupId::from_u128(7), &[1000]);
    let foreign = |name: &str| {
        let sidecar = Sidecar {
            proof: ProofRecord::default(),
            pinned: false,
            seal: Some(Seal {
                sealed_to: vec!["age1".to_owned()],
                sha256: "0".repeat(64),
                head_sha256: None,
            }),
            manifest: archive(BackupId::from_u128(8), &[900]).1,
        };
        let key = Key::parse(name).unwrap();
        sidecar.put(bucket.store.as_ref(), &key).unwrap();
    };
    // Beside one that is not sealed.
    bucket.put(&name(1), &bytes);
    foreign(&name(1));
    // Beside one that is far too large.
    let public = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    let sealed = |bytes: &[u8]| {
        let (mut writer, _) = seal(Vec::new(), &[public.parse().unwrap()]).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    let large = format!("{}.age", name(2));
    let (bytes, _) = archive(BackupId::from_u128(9), &[1_000_000]);
    bucket.put(&large, &sealed(&bytes).0);
    foreign(&large);
    let home = tempfile::tempdir().unwrap();
    let found = rebuild(&home, &bucket.archives).unwrap();
    assert_eq!(found.unreadable.len(), 2, "{found:?}");
    assert_eq!(found.added.len(), 1, "{found:?}");
    assert_eq!(found.added[0].0.copies[0].state, CopyState::Damaged);
    // Beside its own, it counts.
    let (bytes, manifest) = archive(BackupId::from_u128(10), &[1000]);
    let own = format!("{}.age", name(3));
    let (bytes, sha256) = sealed(&bytes);
    let key = bucket.put(&own, &bytes);
    let sidecar = Sidecar {
        proof: ProofRecord::default(),
        pinned: false,
        seal: Some(Seal {
            sealed_to: vec![public.to_owned()],
            sha256,
            head_sha256: None,
        }),
        manifest,
    };
    sidecar.put(bucket.store.as_ref(), &key).unwrap();
    let found = rebuild(&home, &bucket.archives).unwrap();
    assert_eq!(found.added.len(), 1, "{found:?}");
    let record = &found.added[0].0;
    assert!(record.copies[0].is_present() && !record.sealed_to.is_empty());
}

/// Two sealed archives of one size with each other's sidecars, as a wrong copy makes them.
#[test]
fn a_sealed_sidecar_of_another_backup_of_the_same_size_is_not_believed() {
    let public = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    let home = tempfile::tempdir().unwrap();
    for has_head in [true, false] {
        let bucket = bucket();
        let swapped = [(1_u32, 2_u32), (2, 1), (3, 3)];
        let made: Vec<_> = (1..=3)
            .map(|day: u32| {
                let id = BackupId::from_u128(u128::from(day) + if has_head { 100 } else { 200 });
                let (bytes, manifest) = archive(id, &[20_000]);
                let (mut writer, _) = seal(Vec::new(), &[public.parse().unwrap()]).unwrap();
                writer.write_all(&bytes).unwrap();
                let (bytes, sha256) = writer.finish().unwrap();
                let head = hex(&Sha256::digest(&bytes[..4096]));
                let seal = Seal {
                    sealed_to: vec![public.to_owned()],
                    sha256,
                    head_sha256: Some(head).filter(|_| has_head),
                };
                (bytes, manifest, seal)
            })
            .collect();
        for (archive, sidecar) in swapped {
            let key = bucket.put(
                &format!("{}.age", name(archive)),
                &made[archive as usize - 1].0,
            );
            let (_, manifest, seal) = &made[sidecar as usize - 1];
            let sidecar = Sidecar {
                proof: ProofRecord {
                    proven: true,
                    ..ProofRecord::default()
                },
                pinned: false,
                seal: Some(seal.clone()),
                manifest: manifest.clone(),
            };
            sidecar.put(bucket.store.as_ref(), &key).unwrap();
        }
        let found = rebuild(&home, &bucket.archives).unwrap();
        assert_eq!(
            (found.added.len(), found.unreadable.len(), found.unread),
            (3, 2, 0)
        );
        for (record, place) in &found.added {
            let copy = &record.copies[0];
            if place.contains(&name(3)) {
                assert!(
                    copy.is_present() && record.state == State::Proven,
                    "{record:?}"
                );
                // Only what was read back whole was compared whole.
                assert_eq!(copy.checked_at.is_some(), !has_head);
            } else {
                assert_eq!(
                    (copy.state, record.state),
                    (CopyState::Damaged, State::Unproven)
                );
                assert!(found.unreadable[0].why.contains("its sidecar describes"));
            }
        }
    }
}
