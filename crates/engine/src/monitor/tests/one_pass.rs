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

#[test]
fn the_directory_says_of_each_archive_what_its_file_says() {
    use std::os::unix::ffi::OsStrExt;
    let house = House::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let place = |what: &str, file: &Path| match what {
        "gone" => std::fs::remove_file(file).unwrap(),
        "directory" => {
            std::fs::remove_file(file).unwrap();
            std::fs::create_dir(file).unwrap();
        }
        "shorter" => std::fs::write(file, "x").unwrap(),
        "link" => {
            let to = elsewhere.path().join("linked");
            std::fs::rename(file, &to).unwrap();
            std::os::unix::fs::symlink(to, file).unwrap();
        }
        "dangling" => {
            std::fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink(elsewhere.path().join("nothing"), file).unwrap();
        }
        _ => {}
    };
    let all = ["whole", "gone", "directory", "shorter", "link", "dangling"];
    for (age, what) in (0..).zip(all) {
        let record = house.ran(house.now - DAY * age, 100);
        place(what, record.file().unwrap());
    }
    let hostile = std::ffi::OsStr::from_bytes(b"critical_backup_<script>\xff\n.tar.gz");
    std::fs::write(house.directory.path().join(hostile), "x").unwrap();
    let zone = TimeZone::UTC;
    let look = Look::new(&house.job, &house.catalog, house.now, &zone).unwrap();
    let found: Vec<String> = (look.known.iter())
        .map(|it| format!("{:?}", it.found))
        .collect();
    let by_file: Vec<String> = (look.known.iter())
        .map(|it| crate::disk::size_of(&it.path).map_err(|error| error.to_string()))
        .map(|it| format!("{it:?}"))
        .collect();
    assert_eq!(found, by_file);
    assert_eq!([found[0].as_str(), &found[3]], ["Ok(100)", "Ok(1)"]);
    assert_eq!(look.overview.archives, 3, "{found:?}");
    assert_eq!(look.overview.missing.len(), 3);
    assert_eq!(look.files.error().map(ToString::to_string), None);
}

#[test]
fn a_directory_that_is_away_is_read_as_no_archive_and_no_time() {
    let house = House::new();
    house.ran(house.now, 100);
    let mut job = house.job.clone();
    job.destinations = Destinations::local(house.directory.path().join("unmounted"));
    let zone = TimeZone::UTC;
    let look = Look::new(&job, &house.catalog, house.now, &zone).unwrap();
    // The record names where it is, and that is asked.
    assert_eq!(look.known[0].found, Ok(100));
    let found = examine(&look, &Cancel::new(), &|name| name == "clock");
    assert_eq!(found[0].state, CheckState::Skipped, "{found:?}");
    assert!(found[0].what.contains("unmounted: "), "{found:?}");
}

#[test]
fn of_files_from_the_future_the_latest_is_named() {
    let house = House::new();
    let file = house.ran(house.now, 100).file().unwrap().to_owned();
    let beside = |name: &str| house.directory.path().join(name);
    let (copied, sidecar) = (
        beside("critical_backup_1.tar.gz.copied"),
        beside("critical_backup_1.tar.gz.manifest.json"),
    );
    // What the record of its archive says is not looked for in a sidecar.
    for (path, days) in [(&file, 2), (&copied, 3), (&sidecar, 4)] {
        let at = std::time::SystemTime::from(house.now + DAY * days);
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.set_modified(at).unwrap();
    }
    house.fails("clock", house.now, ".tar.gz.copied is of ");
}
