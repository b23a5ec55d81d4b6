//! What is said of copies.

use super::*;
use crate::catalog::CopyState;
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
    // A sync takes no copy back into the archive directory.
    set(&mut record, LOCAL, CopyState::Damaged);
    let next = house.finds("copies", house.now).next;
    assert!(
        next.contains("--destination") && !next.contains("sync"),
        "{next}"
    );
    set(&mut record, LOCAL, CopyState::Present);
    set(&mut record, "vault", CopyState::Damaged);
    assert_eq!(
        house.finds("copies", house.now).next,
        "hubvault copies sync"
    );
    house.fails("copies", house.now, "is damaged at vault");
    let zone = TimeZone::UTC;
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
