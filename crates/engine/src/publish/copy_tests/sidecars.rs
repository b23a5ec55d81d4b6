//! Which sidecar is beside a copy.

use super::*;

fn read(archive: &PathBuf) -> Option<Sidecar> {
    let json = fs::read(Sidecar::path(archive)).unwrap();
    Sidecar::parse(json.as_slice(), fs::metadata(archive).unwrap().len())
}

/// Sidecars that are not that of the archive: of another backup, of other entries, cut.
fn wrong_sidecars(fixture: &Fixture) -> [Vec<u8>; 3] {
    let text = |manifest| serde_json::to_vec(&sidecar(manifest)).unwrap();
    let whole = text(archive(fixture.id).1);
    [
        text(archive(BackupId::random()).1),
        text(samples::archive(fixture.id, &[7, 7]).1),
        whole[..whole.len() / 2].to_vec(),
    ]
}

#[test]
fn a_wrong_local_sidecar_goes_nowhere_and_verify_names_it() {
    for at in 0..3 {
        let fixture = Fixture::new();
        fixture
            .catalog
            .change(fixture.id, |record| record.proof.proven = true)
            .unwrap();
        assert_eq!(fixture.sync(), None);
        let good = fs::read(Sidecar::path(&fixture.there())).unwrap();
        let wrong = &wrong_sidecars(&fixture)[at];
        fs::write(Sidecar::path(&fixture.local()), wrong).unwrap();
        fixture.change("far", |copy| copy.error = Some("look again".to_owned()));
        assert_eq!(fixture.sync(), None);
        let there = read(&fixture.there()).unwrap();
        let before = Sidecar::parse(good.as_slice(), fixture.whole.len() as u64).unwrap();
        assert_eq!(
            there.manifest.sha256().unwrap(),
            before.manifest.sha256().unwrap()
        );
        assert!(there.proof.proven, "as the catalog says");
        let found = fixture.verify();
        assert_eq!(found[0].destination, "local");
        let why = found[0].error.as_deref().unwrap_or_default();
        assert!(why.contains("its sidecar"), "{found:?}");
        assert_eq!(found[1].error, None, "{found:?}");
        // Nor where nothing was yet.
        fs::remove_file(fixture.there()).unwrap();
        fs::remove_file(Sidecar::path(&fixture.there())).unwrap();
        fixture.verify();
        assert_eq!(fixture.sync(), None);
        let there = read(&fixture.there()).unwrap();
        assert_eq!(
            there.manifest.sha256().unwrap(),
            before.manifest.sha256().unwrap()
        );
    }
}

#[test]
fn a_foreign_sidecar_beside_this_archive_is_replaced() {
    for is_sealed in [false, true] {
        let fixture = Fixture::new();
        if is_sealed {
            let mut sealed = sidecar(archive(fixture.id).1);
            sealed.seal = Some(Seal {
                sealed_to: vec!["age1".to_owned()],
                sha256: sha256_of(&fixture.local()).unwrap(),
                head_sha256: None,
            });
            sealed.write(&fixture.local()).unwrap();
        }
        let set = |record: &mut BackupRecord| {
            record.sealed_to = vec!["age1".to_owned(); usize::from(is_sealed)];
        };
        fixture.catalog.change(fixture.id, set).unwrap();
        assert_eq!(fixture.sync(), None);
        let good = fs::read(Sidecar::path(&fixture.there())).unwrap();
        fs::write(
            Sidecar::path(&fixture.there()),
            &wrong_sidecars(&fixture)[0],
        )
        .unwrap();
        let why = fixture.verify()[1].error.clone().unwrap();
        assert!(why.contains("of another backup"), "{why}");
        assert_eq!(fixture.sync(), None);
        assert_eq!(fs::read(Sidecar::path(&fixture.there())).unwrap(), good);
        assert_eq!(fixture.verify()[1].error, None);
        if !is_sealed {
            fs::write(
                Sidecar::path(&fixture.there()),
                &wrong_sidecars(&fixture)[0],
            )
            .unwrap();
            fs::write(fixture.there(), fixture.rotten()).unwrap();
            assert_eq!(fixture.verify()[1].state, CopyState::Damaged);
            assert_eq!(fixture.sync(), None);
            assert_eq!(fs::read(fixture.there()).unwrap(), fixture.whole);
            assert_eq!(fixture.verify()[1].error, None);
        }
    }
}

#[test]
fn the_good_sidecar_of_a_sealed_copy_is_kept_where_the_local_one_is_wrong() {
    let fixture = Fixture::new();
    let mut sealed = sidecar(archive(fixture.id).1);
    sealed.seal = Some(Seal {
        sealed_to: vec!["age1".to_owned()],
        sha256: sha256_of(&fixture.local()).unwrap(),
        head_sha256: None,
    });
    sealed.write(&fixture.local()).unwrap();
    let mut task = fixture.task(Some(sha256_of(&fixture.local()).unwrap()));
    task.is_sealed = true;
    let store: Arc<dyn Store> = Arc::new(LocalDirectory::open(fixture.far.path()).unwrap());
    fixture.upload(&store, &task).unwrap();
    let good = fs::read(Sidecar::path(&fixture.there())).unwrap();
    for wrong in wrong_sidecars(&fixture) {
        fs::write(Sidecar::path(&fixture.local()), wrong).unwrap();
        assert_eq!(fixture.upload(&store, &task).unwrap().flaw, None);
        assert_eq!(fs::read(Sidecar::path(&fixture.there())).unwrap(), good);
        // Without that one none is stored, and it is said.
        fs::remove_file(Sidecar::path(&fixture.there())).unwrap();
        let flaw = fixture.upload(&store, &task).unwrap().flaw.unwrap();
        assert!(flaw.contains("is not of this backup"), "{flaw}");
        assert!(!Sidecar::path(&fixture.there()).exists());
        fs::write(Sidecar::path(&fixture.there()), &good).unwrap();
    }
}

#[test]
fn a_missing_sidecar_is_named_and_made_again_where_the_local_copy_is_gone() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    fs::remove_file(fixture.local()).unwrap();
    fs::remove_file(Sidecar::path(&fixture.local())).unwrap();
    fs::remove_file(Sidecar::path(&fixture.there())).unwrap();
    let found = fixture.verify();
    assert_eq!(found[0].state, CopyState::Missing);
    let why = found[1].error.as_deref().unwrap_or_default();
    assert!(why.contains("its sidecar is not there"), "{found:?}");
    assert_eq!(fixture.sync(), None);
    assert_eq!(read(&fixture.there()).unwrap().manifest.id, fixture.id);
    assert_eq!(fixture.verify()[1].error, None);
}

#[test]
fn a_new_copy_says_all_that_is_known_of_its_backup() {
    let fixture = Fixture::new();
    let drill = crate::catalog::DrillRecord {
        not_rebuilt: vec!["view \"<script>\"".to_owned()],
        ..crate::catalog::DrillRecord::default()
    };
    let pin = crate::catalog::Pin {
        machine: Some("db2".to_owned()),
        ..crate::catalog::Pin::now("by hand")
    };
    let set = |record: &mut BackupRecord| {
        (record.pinned, record.pin) = (true, Some(pin.clone()));
        record.proof.drill = Some(drill.clone());
    };
    fixture.catalog.change(fixture.id, set).unwrap();
    fs::remove_file(Sidecar::path(&fixture.local())).unwrap();
    assert_eq!(fixture.sync(), None);
    let there = read(&fixture.there()).unwrap();
    assert_eq!(there.proof.drill, Some(drill));
    let pin_there = crate::catalog::Pin::beside(&fixture.there(), fixture.id);
    assert_eq!(pin_there.as_ref(), Some(&pin));
    // A pin that comes later, too.
    fs::remove_file(format!("{}.pinned", fixture.there().display())).unwrap();
    fixture.change("far", |copy| copy.pin_stored = false);
    assert_eq!(fixture.sync(), None);
    let pin_there = crate::catalog::Pin::beside(&fixture.there(), fixture.id);
    assert_eq!(pin_there, Some(pin));
}
