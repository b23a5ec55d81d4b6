//! Two machines that copy to one place without a lease.

use super::*;
use crate::catalog::FoundMark;
use crate::job::LeaseOptions;
use crate::publish::other_machines::{UnknownArchives, new_unknown_archives, unknown_archives};
use std::time::Duration;

fn look(fixture: &Fixture) -> Vec<UnknownArchives> {
    let (job, catalog) = (&fixture.job, Some(&fixture.catalog));
    unknown_archives(job, catalog, &Cancel::new(), &|_| true).unwrap()
}

#[test]
fn archives_that_the_catalog_does_not_know_are_said_with_what_to_set() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    assert_eq!(look(&fixture), []);
    // It stores a newer one there.
    fixture.other_machine();
    let newest = "critical_backup_20260202_020000.tar.gz";
    let file = fixture.far.path().join(newest);
    let [found] = look(&fixture).try_into().unwrap();
    assert_eq!((found.count, found.newest.as_str()), (1, newest));
    assert_eq!((found.job.as_deref(), &found.machine), (Some("hub"), &None));
    let said = found.to_string();
    for words in [
        "1 archive at far is not in the catalog here, the newest",
        "a directory or prefix of its own",
        "hubvault catalog rebuild --from far adds them",
    ] {
        assert!(said.contains(words), "{said}");
    }
    // A directory keeps no lease.
    assert!(!said.contains("lease"), "{said}");
    // What a drill left beside it names the machine, whatever that is called.
    let id = Sidecar::beside(&file).unwrap().manifest.id;
    let mark = serde_json::json!({ "name": "1-00000000", "machine": "db2\u{1b}[31m\n" });
    let mark = FoundMark {
        mark: serde_json::from_value(mark).unwrap(),
        proof: drills::proven(),
    };
    let beside = format!("{}.1-00000000.proof", file.display());
    fs::write(beside, mark.text(id, false).unwrap()).unwrap();
    let said = look(&fixture)[0].to_string();
    assert!(said.contains("db2"), "{said}");
    assert!(!said.contains(['\u{1b}', '\n']), "{said}");
    // With a lease it is expected.
    fixture.job.lease = Some(LeaseOptions {
        destination: "far".to_owned(),
        lasts: Duration::from_mins(1),
    });
    assert_eq!(look(&fixture), []);
}

#[test]
fn a_run_says_it_once_for_each_new_one() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sync(), None);
    let is_new = || {
        let found = new_unknown_archives(&fixture.job, &fixture.catalog, &Cancel::new(), &|_| true);
        !found.unwrap().is_empty()
    };
    assert!(!is_new());
    fixture.other_machine();
    assert_eq!([is_new(), is_new()], [true, false]);
    let newer = fixture
        .far
        .path()
        .join("critical_backup_20260203_020000.tar.gz");
    fs::copy(fixture.there(), newer).unwrap();
    assert_eq!([is_new(), is_new()], [true, false]);
    let nowhere = |_: &Destination| false;
    let none = new_unknown_archives(&fixture.job, &fixture.catalog, &Cancel::new(), &nowhere);
    assert_eq!(none.unwrap(), []);
}
