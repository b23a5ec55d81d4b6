//! What is said of copies.

use super::*;
use crate::catalog::{CopyState, FoundMark, ProofRecord};
use crate::job::{Destination, LOCAL};
use hubvault_store::Location;

#[test]
fn copies_that_are_late_or_lost_are_told_and_one_place_is_noticed() {
    let hours = SignedDuration::from_hours(2);
    let mut house = House::new();
    house.ran(house.now, 100);
    assert_eq!(house.finds("copies", house.now).state, CheckState::Skipped);
    let other = tempfile::tempdir().unwrap();
    let to = |name: &str, place: &Path| Destination::new(name, Location::Directory(place.into()));
    let mut lax = to("lax", other.path());
    lax.rules.required = false;
    house.job.destinations =
        Destinations::local(house.directory.path()).with([to("vault", other.path()), lax]);
    let mut record = house.catalog.list().unwrap().remove(0);
    for name in ["vault", "lax"] {
        let pending = BackupCopy::pending(name, "a", Some(100), house.now);
        record.copies.push(pending);
    }
    let set = |record: &mut BackupRecord, name: &str, state: CopyState| {
        let copy = record.copy_at_mut(name).unwrap();
        copy.state = state;
        copy.error = (state == CopyState::Pending).then(|| "connection refused".to_owned());
        house.catalog.finish(record).unwrap();
    };
    set(&mut record, "vault", CopyState::Pending);
    let found = house.finds("copies", house.now + hours);
    assert_eq!(
        found.what,
        "1 copy on the way; of the newest proven one 1 of 3 copies in 1 place"
    );
    let late = house.now + hours + SignedDuration::from_secs(1);
    let why = "is not copied to vault: connection refused";
    house.fails("copies", late, why);
    set(&mut record, "vault", CopyState::Present);
    let found = house.finds("copies", late);
    assert_eq!(found.state, CheckState::Ok);
    assert!(
        found.what.contains("2 of 3 copies, all in one place"),
        "{found:?}"
    );
    // A sync brings it back. `status` names it once.
    set(&mut record, LOCAL, CopyState::Damaged);
    let next = house.finds("copies", house.now).next;
    assert_eq!(next, "hubvault copies sync");
    let zone = TimeZone::UTC;
    let look = Look::new(&house.job, &house.catalog, house.now, &zone).unwrap();
    let named = risks(&look).unwrap();
    let damaged = named.iter().filter(|risk| risk.contains("damaged"));
    assert_eq!(damaged.count(), 1, "{named:?}");
    set(&mut record, LOCAL, CopyState::Present);
    set(&mut record, "vault", CopyState::Damaged);
    assert_eq!(
        house.finds("copies", house.now).next,
        "hubvault copies sync"
    );
    house.fails("copies", house.now, "is damaged at vault");
    let look = Look::new(&house.job, &house.catalog, house.now, &zone).unwrap();
    let risks = risks(&look).unwrap();
    let damaged = risks.iter().filter(|risk| risk.contains("damaged"));
    assert_eq!(damaged.count(), 1, "{risks:?}");
    let copies = crate::retain::missing(&house.catalog, "hub")
        .unwrap()
        .copies;
    assert_eq!(copies.len(), 1);
    crate::retain::accept_missing(&house.catalog, &copies, house.now).unwrap();
    house.passes("copies", house.now);
}

/// Beside the copy of a backup a mark is found that another machine made.
fn found_mark(house: &House, of: &BackupRecord, machine: &str, number: u32, proof: &ProofRecord) {
    let after: Vec<String> = (1..number).map(|it| format!("{it}-00000000")).collect();
    let text = serde_json::json!({
        "format_version": 1, "id": of.id, "after": after, "at": house.now, "machine": machine, "proof": proof,
    });
    let text = serde_json::to_vec(&text).unwrap();
    let name = format!("{number}-00000000");
    let found = FoundMark::parse(&name, &text, of.id).unwrap();
    let learn = |record: &mut BackupRecord| assert!(record.learn_marks(LOCAL, &[found]));
    house.catalog.change(of.id, learn).unwrap();
}

/// The risks that `status` names of unproven backups, and those of the history alone that have these words.
fn unproven_risks(house: &House, words: &str) -> (Vec<String>, usize) {
    let zone = TimeZone::UTC;
    let look = Look::new(&house.job, &house.catalog, house.now, &zone).unwrap();
    let mut risks = risks(&look).unwrap();
    risks.retain(|risk| risk.contains("did not prove") || risk.contains("unproven"));
    let of_history = look.overview.risks(1000, house.now).into_iter();
    let texts = of_history.map(|risk| risk.to_string());
    (risks, texts.filter(|text| text.contains(words)).count())
}

#[test]
fn what_a_drill_of_another_machine_disproved_is_told_until_another_one_proves_it() {
    let house = House::new();
    let older = house.ran(house.now - DAY, 100);
    house.ran(house.now, 100);
    house.passes("proof", house.now);
    let rejected = ProofRecord::rejected("rows of users differ");
    found_mark(&house, &older, "db2\n<script>", 1, &rejected);
    let found = house.finds("proof", house.now);
    let id = older.id.short();
    let told = format!("did not prove backup {id}: rejected by a drill: rows of users differ");
    assert_eq!(found.state, CheckState::Failing);
    let what = &found.what;
    assert!(what.starts_with("a drill on db2"), "{what}");
    assert!(what.ends_with(&told) && !what.contains('\n'), "{what}");
    let next = format!("hubvault drill {id}");
    assert!(found.next.contains(&next), "{found:?}");
    assert_eq!(unproven_risks(&house, &told), (vec![found.what], 1));
    let known = || crate::overview::disproved(&house.catalog, "hub").unwrap();
    assert_eq!(known().len(), 1);
    let proven = ProofRecord {
        proven: true,
        ..older.proof.clone()
    };
    found_mark(&house, &older, "db3", 2, &proven);
    assert_eq!(known(), []);
    house.passes("proof", house.now);
}

#[test]
fn a_later_drill_counts_where_none_is_made_here_and_beside_what_else_is_unproven() {
    let mut house = House::new();
    let older = house.ran(house.now - DAY, 100);
    let mut newest = house.ran(house.now, 100);
    let rejected = ProofRecord::rejected("rows of users differ");
    found_mark(&house, &older, "db2", 1, &rejected);
    let told = format!("did not prove backup {}", older.id.short());
    house.job.proof.when = ProofWhen::Off;
    house.fails("proof", house.now, &told);
    // An archive that is gone needs no proof.
    let file = older.file().unwrap();
    let away = file.with_extension("away");
    std::fs::rename(file, &away).unwrap();
    assert_eq!(house.finds("proof", house.now).state, CheckState::Skipped);
    std::fs::rename(away, file).unwrap();
    house.job.proof.when = ProofWhen::Always;
    newest.state = State::Unproven;
    newest.proof = ProofRecord {
        reason: Some("no PostgreSQL".to_owned()),
        ..ProofRecord::default()
    };
    house.catalog.finish(&newest).unwrap();
    house.fails("proof", house.now, &told);
    let unproven = "the newest archive is unproven: no PostgreSQL";
    house.fails("proof", house.now, unproven);
    assert_eq!(unproven_risks(&house, &told).0.len(), 1);
}
