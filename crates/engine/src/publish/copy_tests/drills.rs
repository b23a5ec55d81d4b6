//! What a drill showed is seen by every machine that uses a place.

use super::*;
use crate::catalog::{DrillRecord, FoundMark, rebuild};
use crate::remote::{Archives, Backup};
use crate::retain::{learn_drills, record_drill, store_drills};
use hubvault_archive::Identities;
use std::os::unix::fs::symlink;

pub(super) fn proven() -> ProofRecord {
    ProofRecord {
        proven: true,
        drill: Some(DrillRecord::default()),
        ..ProofRecord::default()
    }
}

pub(super) fn failed() -> ProofRecord {
    ProofRecord::rejected("rows of users differ")
}

impl Fixture {
    pub(super) fn drill(&self, proof: &ProofRecord) {
        record_drill(&self.catalog, self.id, proof, None).unwrap();
    }

    pub(super) fn store(&self) -> Vec<retain::Unstored> {
        store_drills(&self.job, &self.catalog, None).unwrap()
    }

    pub(super) fn learn(&self) {
        assert_eq!(learn_drills(&self.job, &self.catalog).unwrap(), [""; 0]);
    }

    /// The files that say what drills of the archive at this path showed.
    pub(super) fn marks(archive: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(archive.parent().unwrap()).unwrap();
        let name = archive.file_name().unwrap().to_str().unwrap();
        let is_mark = |path: &PathBuf| {
            let found = path.file_name().unwrap().to_str().unwrap();
            found.starts_with(name) && path.extension().is_some_and(|it| it == "proof")
        };
        let mut all: Vec<PathBuf> = entries
            .map(|it| it.unwrap().path())
            .filter(is_mark)
            .collect();
        all.sort();
        all
    }

    /// A mark of another machine beside the copy elsewhere.
    pub(super) fn put(&self, name: &str, after: &[&str], proof: &ProofRecord) -> PathBuf {
        Self::put_of((self.id, &self.there()), name, after, proof)
    }

    /// The same beside an archive in another directory.
    pub(super) fn put_beside(&self, archive: &Path, name: &str, proof: &ProofRecord) -> PathBuf {
        Self::put_of((self.id, archive), name, &[], proof)
    }

    fn put_of(
        (id, archive): (BackupId, &Path),
        name: &str,
        after: &[&str],
        proof: &ProofRecord,
    ) -> PathBuf {
        let after: Vec<String> = after.iter().map(ToString::to_string).collect();
        let mark = serde_json::from_value(serde_json::json!({ "name": name, "after": after }));
        let (mark, proof) = (mark.unwrap(), proof.clone());
        let path = PathBuf::from(format!("{}.{name}.proof", archive.display()));
        fs::write(&path, FoundMark { mark, proof }.text(id, false).unwrap()).unwrap();
        path
    }

    pub(super) fn is_proven(&self) -> bool {
        let record = self.record();
        assert_eq!(record.state == State::Proven, record.proof.proven);
        record.proof.proven
    }

    pub(super) fn stored(&self) -> Archives {
        Archives::open(&self.job.destinations.others()[0], &Cancel::new()).unwrap()
    }
}

#[test]
fn what_one_machine_drilled_the_retention_of_another_one_knows() {
    for (first, then) in [(failed(), proven()), (proven(), failed())] {
        let fixture = Fixture::new();
        fixture.drill(&first);
        assert_eq!(fixture.sync(), None);
        let other = fixture.other_machine();
        assert_eq!(other.is_proven(), first.proven);
        // The newer one is not proven, so that the older one stays if it is.
        let newest = |record: &BackupRecord| record.id != fixture.id;
        let newer = other.catalog.list().unwrap().into_iter().find(newest);
        let unproven = |record: &mut BackupRecord| record.state = State::Unproven;
        (other.catalog.change(newer.unwrap().id, unproven)).unwrap();
        fixture.drill(&then);
        assert_eq!(fixture.store().len(), 0);
        assert_eq!(
            Fixture::marks(&fixture.there()).len(),
            1,
            "the first one is deleted"
        );
        if first.proven {
            // Where nothing is to be removed, retention asks for nothing.
            assert_eq!(other.prune(), [""; 0]);
            assert!(other.is_proven());
            other.learn();
        }
        assert_eq!(other.prune(), [""; 0]);
        assert_eq!(fixture.there().exists(), then.proven);
        assert_eq!(
            Fixture::marks(&fixture.there()).len(),
            usize::from(then.proven)
        );
        assert_eq!(other.is_proven(), then.proven);
        if then.proven {
            // So do a catalog that is made again, `list` of the place, `latest` and `show`.
            assert!(fixture.other_machine().is_proven());
            let archives = fixture.stored();
            let (records, _) = archives.records(&archives.list().unwrap()).unwrap();
            let found = records.iter().find(|record| record.id == fixture.id);
            assert_eq!(found.unwrap().state, State::Proven);
            let listed = archives.find(NAME).unwrap();
            let shown = Backup::of(archives, listed).contents(&Identities::none());
            assert!(shown.unwrap().proof.unwrap().proven);
        }
    }
}

#[test]
fn what_a_later_drill_disproved_is_no_reason_to_remove_what_is_proven() {
    let fixture = Fixture::new();
    fixture.drill(&proven());
    assert_eq!(fixture.sync(), None);
    let other = fixture.other_machine();
    let (records, older) = (other.catalog.list().unwrap(), fixture.id);
    let newer = records.iter().find(|record| record.id != older).unwrap();
    // Another machine finds that the newer one, which this one counts as proven, fails.
    let file = PathBuf::from(&newer.copies[0].key);
    let mark = serde_json::from_value(serde_json::json!({ "name": "1-00000000" })).unwrap();
    let text = FoundMark {
        mark,
        proof: failed(),
    }
    .text(newer.id, false)
    .unwrap();
    let name = format!("{}.1-00000000.proof", file.display());
    fs::write(fixture.far.path().join(name), text).unwrap();
    assert_eq!(other.prune(), [""; 0]);
    assert!(fixture.there().exists());
    let known = other.catalog.find(&newer.id.to_string()).unwrap().unwrap();
    assert_eq!(known.state, State::Unproven);
    assert!(known.proof.reason.unwrap().contains("rows of users differ"));
}

#[test]
fn a_rebuild_records_the_drill_of_a_copy_that_was_known() {
    let fixture = Fixture::new();
    fixture.drill(&proven());
    assert_eq!(fixture.sync(), None);
    let other = fixture.other_machine();
    fixture.drill(&failed());
    fixture.store();
    other.rebuild();
    assert!(!other.is_proven());
    // A damaged copy is proven by no drill.
    fixture.drill(&proven());
    fixture.store();
    fs::write(fixture.there(), &fixture.whole[..7]).unwrap();
    let archives = fixture.stored();
    let (records, _) = archives.records(&archives.list().unwrap()).unwrap();
    let found = records.iter().find(|record| record.id == fixture.id);
    assert_eq!(found.unwrap().state, State::Unproven);
}

#[test]
fn what_a_destination_could_not_take_comes_later() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let (far, away) = (
        fixture.far.path(),
        fixture.far.path().with_extension("away"),
    );
    fs::rename(far, &away).unwrap();
    fixture.drill(&failed());
    let unstored = fixture.store();
    let [one] = unstored.as_slice() else {
        panic!("{unstored:?}");
    };
    assert_eq!((one.destination.as_str(), one.backup), ("far", fixture.id));
    assert!(
        one.problem.contains("is not stored there yet"),
        "{unstored:?}"
    );
    assert!(crate::publish::is_tending_due(
        &fixture.job,
        &fixture.catalog
    ));
    assert_eq!(Fixture::marks(&fixture.local()).len(), 1);
    assert!(fixture.sync().unwrap().contains("is not stored there yet"));
    fs::rename(&away, far).unwrap();
    assert_eq!(fixture.sync(), None);
    assert_eq!(Fixture::marks(&fixture.there()).len(), 1);
    // Nothing is done twice, and a copy that is made again has it, too.
    assert!(!crate::retain::is_drill_due(
        &fixture.job,
        &fixture.record()
    ));
    fixture.remove("far").unwrap();
    assert_eq!(fs::read_dir(far).unwrap().count(), 0);
    fixture
        .catalog
        .change(fixture.id, |record| {
            record.copies.retain(|copy| copy.destination != "far");
        })
        .unwrap();
    assert_eq!(fixture.sync(), None);
    assert_eq!(Fixture::marks(&fixture.there()).len(), 1);
}

#[test]
fn of_two_drills_that_did_not_see_each_other_the_one_that_failed_counts() {
    for (here, there) in [(proven(), failed()), (failed(), proven())] {
        let fixture = Fixture::new();
        assert_eq!(fixture.sync(), None);
        fixture.put("7-12345678", &[], &there);
        fixture.drill(&here);
        assert_eq!(fixture.store().len(), 0);
        assert!(!fixture.is_proven(), "{:?}", fixture.record().proof);
        assert!(!fixture.other_machine().is_proven());
        // A drill that was made with both in sight counts over both, whatever the clocks say.
        fixture.drill(&proven());
        assert_eq!(fixture.store().len(), 0);
        assert!(fixture.is_proven() && fixture.other_machine().is_proven());
        assert_eq!(Fixture::marks(&fixture.there()).len(), 1);
    }
    // Whoever looks first has seen it.
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    fixture.put("7-12345678", &[], &failed());
    fixture.learn();
    assert!(!fixture.is_proven());
    fixture.drill(&proven());
    fixture.store();
    assert!(fixture.is_proven());
    let name = fixture.record().drill_mark.unwrap().name;
    assert!(name.starts_with("8-"), "{name}");
}

#[test]
fn a_drill_that_could_not_be_made_takes_nothing_back() {
    let fixture = Fixture::new();
    fixture.drill(&proven());
    let nothing = ProofRecord {
        reason: Some("no PostgreSQL is installed here".to_owned()),
        ..ProofRecord::default()
    };
    let mark = fixture.record().drill_mark;
    fixture.drill(&nothing);
    assert!(fixture.is_proven());
    assert_eq!(fixture.record().drill_mark, mark);
}

#[test]
fn forged_marks_prove_nothing_and_cost_little() {
    let fixture = Fixture::new();
    fixture.drill(&failed());
    assert_eq!(fixture.sync(), None);
    let beside = |name: &str| PathBuf::from(format!("{}.{name}.proof", fixture.there().display()));
    // Of another backup, without a drill, no mark at all, too large, no file.
    Fixture::put_of(
        (BackupId::random(), &fixture.there()),
        "90-00000000",
        &[],
        &proven(),
    );
    let claimed = ProofRecord {
        drill: None,
        ..proven()
    };
    fixture.put("91-00000000", &[], &claimed);
    fs::write(beside("92-00000000"), "{").unwrap();
    let own = Fixture::marks(&fixture.there()).remove(0);
    let mut large = fs::read(fixture.put("93-00000000", &[], &proven())).unwrap();
    large.resize(1 << 20, b' ');
    fs::write(beside("93-00000000"), large).unwrap();
    symlink(&own, beside("94-00000000")).unwrap();
    let pipe = beside("95-00000000");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    // One that does not know the failure stands beside it.
    fixture.put("4294967295-ffffffff", &[], &proven());
    fixture.put("99999999999-ffffffff", &[], &proven());
    fixture.put("x-ffffffff", &[], &proven());
    let other = fixture.other_machine();
    assert!(!other.is_proven());
    assert!(!fixture.other_machine().is_proven());
    fixture.learn();
    assert!(!fixture.is_proven());
    // Only so many are read; a drill that saw them counts.
    for number in 100..200 {
        Fixture::put_of(
            (BackupId::random(), &fixture.there()),
            &format!("{number}-00000000"),
            &[],
            &proven(),
        );
    }
    fixture.drill(&proven());
    assert_eq!(fixture.store().len(), 0);
    assert!(fixture.is_proven());
}

#[test]
fn what_is_long_is_cut_and_a_sealed_backup_says_no_more_than_its_sidecar() {
    let fixture = Fixture::new();
    let mut proof = ProofRecord {
        reason: Some("x".repeat(100_000)),
        drill: Some(DrillRecord {
            not_rebuilt: vec!["y".repeat(100_000); 1000],
            ..DrillRecord::default()
        }),
        ..ProofRecord::default()
    };
    let mark: crate::catalog::DrillMark =
        serde_json::from_value(serde_json::json!({ "name": "1-00000000" })).unwrap();
    let found = |proof: &ProofRecord| FoundMark {
        mark: mark.clone(),
        proof: proof.clone(),
    };
    let text = found(&proof).text(fixture.id, false).unwrap();
    assert!(text.len() < 10_000, "{}", text.len());
    let broken = "fk constraint a on b (1 row of b breaks it: id = 4711)";
    proof.drill.as_mut().unwrap().not_valid = vec![broken.to_owned()];
    for is_sealed in [false, true] {
        let text = found(&proof).text(fixture.id, is_sealed).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("fk constraint a on b"), "{text}");
        assert_eq!(text.contains("4711"), !is_sealed, "{text}");
    }
    proof.reason = ProofRecord::rejected("Key (email)=(ada@example.org) exists").reason;
    proof.drill = None;
    let text = found(&proof).text(fixture.id, true).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        !text.contains("ada@example.org") && text.contains("rejected by a drill"),
        "{text}"
    );
}

#[test]
fn a_directory_is_read_with_the_marks_of_others() {
    let fixture = Fixture::new();
    fixture.drill(&failed());
    fixture.store();
    let mark = fixture.record().drill_mark.unwrap();
    let state = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&crate::state::StateDir::at(state.path())).unwrap();
    let rebuilt = rebuild(&catalog, fixture.here.path()).unwrap();
    let [added] = rebuilt.added.as_slice() else {
        panic!("{rebuilt:?}");
    };
    assert_eq!(added.state, State::Unproven);
    assert_eq!(added.proof.reason, failed().reason);
    assert_eq!(added.drill_mark.as_ref().unwrap().name, mark.name);
    assert_eq!(added.local_copy().unwrap().drill_mark, Some(mark.name));
}
