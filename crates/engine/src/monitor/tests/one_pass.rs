//! What is found while the summaries and the disk are read once.

use super::*;

#[test]
fn the_newest_archive_is_compared_with_the_one_that_a_search_finds() {
    // Newest first: P is proven, U is not, M is proven and missing.
    for states in [
        "P", "PP", "UP", "UUP", "UUPU", "MUMP", "UMUM", "PMUPU", "MM",
    ] {
        let house = House::new();
        for (age, state) in (0..).zip(states.chars()) {
            let mut record = house.ran(house.now - DAY * age, 100);
            if state == 'U' {
                record.state = State::Unproven;
                house.catalog.finish(&record).unwrap();
            }
            if state == 'M' {
                std::fs::remove_file(record.file().unwrap()).unwrap();
            }
        }
        let zone = TimeZone::UTC;
        let look = Look::new(&house.job, &house.catalog, house.now, &zone).unwrap();
        let newest = look.archives().next();
        let found = newest.and_then(|it| proven_before(&house.catalog, it).unwrap());
        let id = |record: &Option<BackupRecord>| record.as_ref().map(|it| it.id);
        assert_eq!(id(&look.earlier), id(&found), "{states}");
    }
}

#[test]
fn an_archive_is_looked_for_once() {
    let house = House::new();
    let record = house.ran(house.now, 100);
    let zone = TimeZone::UTC;
    let look = Look::new(&house.job, &house.catalog, house.now, &zone).unwrap();
    let file = record.file().unwrap();
    let away = file.with_extension("away");
    std::fs::rename(file, &away).unwrap();
    let found = examine(&look, &Cancel::new(), &|name| name == "files");
    // It was there when it was looked for; reading it back finds out.
    assert!(!found[0].what.contains("is missing"), "{found:?}");
    house.fails("files", house.now, "is missing");
}
