//! Retention with several destinations, one of them on another file system where there is one.

use crate::hub::{Hub, archives_and_partials, stderr, stdout};
use crate::retention::next_second;
use hubvault_testkit::database_with;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

/// A directory in memory, where the host has that.
fn elsewhere() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn count(directory: &Path) -> usize {
    archives_and_partials(directory).len()
}

fn states(hub: &Hub, destination: &str) -> Vec<String> {
    let listed = hub.run_expecting(0, &["list", "--json"]);
    let all: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let copies = |record: &Value| record["copies"].as_array().unwrap().clone();
    let here = all.as_array().unwrap().iter().flat_map(copies);
    here.filter(|copy| copy["destination"] == destination)
        .map(|copy| copy["state"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn each_destination_keeps_by_its_rules_and_one_that_is_away_catches_up() {
    let database = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (1)");
    let mut hub = Hub::whole(&database);
    let (near, root) = (tempfile::tempdir().unwrap(), elsewhere());
    let (far, away) = (root.path().join("far"), root.path().join("away"));
    std::fs::create_dir(&far).unwrap();
    let table = |name: &str, at: &Path, more: &str| {
        let url = at.display();
        format!("[[destination]]\nname = \"{name}\"\nurl = \"{url}\"\n{more}\n")
    };
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[retention]\ndays = 0\nkeep_last = 0\n{}{}",
        table("near", near.path(), "keep = { days = 1 }"),
        table("far", &far, "")
    ));
    for _ in 0..3 {
        hub.backup();
        next_second();
    }
    let all = [hub.backups().as_path(), near.path(), &far].map(count);
    assert_eq!(all, [1, 3, 1]);
    let plan = stdout(&hub.run_expecting(0, &["prune", "--dry-run"]));
    for word in [
        "local: file://",
        "near: file://",
        "far: file://",
        "younger than 1 day",
    ] {
        assert!(plan.contains(word), "{plan}");
    }

    std::fs::rename(&far, &away).unwrap();
    hub.backup();
    next_second();
    let (record, archive) = hub.backup();
    assert!(archive.exists());
    // The one between is waited for no longer, and no source of a copy was removed.
    assert_eq!(states(&hub, "far")[..2], ["pending", "removed"]);
    let listed = stdout(&hub.run_expecting(0, &["list", "--limit", "1"]));
    assert!(listed.contains("2 of 3 copies"), "{listed}");
    let shown = stdout(&hub.run_expecting(0, &["show", record["id"].as_str().unwrap()]));
    assert!(
        shown.contains("Copies\n") && shown.contains("pending, since 20"),
        "{shown}"
    );
    std::fs::rename(&away, &far).unwrap();
    hub.run_expecting(0, &["copies", "sync", "--no-progress"]);
    hub.run_expecting(0, &["prune"]);
    let all = [hub.backups().as_path(), near.path(), &far].map(count);
    assert_eq!(all, [1, 5, 1]);
    assert_eq!(states(&hub, "far")[0], "present");

    // A copy that somebody removed is found when it is looked for, and can be accepted.
    std::fs::remove_file(near.path().join(archive.file_name().unwrap())).unwrap();
    hub.run(&["copies", "verify"]);
    assert_eq!(states(&hub, "near")[0], "missing");
    let gone = stdout(&hub.run_expecting(0, &["prune", "--gone"]));
    assert!(
        gone.contains("at near (backup ") && gone.contains("is missing"),
        "{gone}"
    );
    let gone = stdout(&hub.run_expecting(0, &["prune", "--gone"]));
    assert_eq!(gone, "no archive is missing\n");
    let listed = stdout(&hub.run_expecting(0, &["list", "--limit", "1"]));
    assert!(!listed.contains("copies"), "{listed}");
}

#[test]
fn what_prune_prints_is_what_it_does_with_the_drills_of_other_machines() {
    let database = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (1)");
    let mut hub = Hub::whole(&database);
    let _drills = hub.prove();
    let far = tempfile::tempdir().unwrap();
    let configuration = |last: u32| {
        format!(
            "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[retention]\ndays = 0\nkeep_last = {last}\n\
             [[destination]]\nname = \"far\"\nurl = \"{}\"\nkeep = {{ keep_last = 9 }}\n",
            far.path().display()
        )
    };
    hub.write(&configuration(9));
    let made: Vec<_> = (0..3)
        .map(|_| {
            next_second();
            hub.backup()
        })
        .collect();
    assert!(made.iter().all(|(record, _)| record["state"] == "proven"));
    // Another machine drilled the newest one where nothing is to be removed, and it failed.
    let (newest, archive) = &made[2];
    let text = json!({
        "format_version": 1, "id": newest["id"],
        "proof": {
            "proven": false, "read_back": false, "reason": "rejected by a drill: rows of users differ",
        },
    });
    let name = archive.file_name().unwrap().to_str().unwrap();
    let mark = far.path().join(format!("{name}.1-00000000.proof"));
    std::fs::write(mark, text.to_string()).unwrap();
    hub.write(&configuration(1));
    let plan = |output: &Output| -> Vec<(Value, bool)> {
        let all: Value = serde_json::from_slice(&output.stdout).unwrap();
        let here = all.as_array().unwrap().iter();
        here.filter(|it| it["destination"] == "local")
            .map(|it| (it["id"].clone(), it["decision"] == "keep"))
            .collect()
    };
    let expected: Vec<(Value, bool)> = [(2, true), (1, true), (0, false)]
        .map(|(at, stays): (usize, bool)| (made[at].0["id"].clone(), stays))
        .into();
    let dry_run = |code: i32| hub.run_expecting(code, &["prune", "--dry-run", "--json"]);
    // As long as nobody can ask, the next one stays, too.
    let away = far.path().with_extension("away");
    std::fs::rename(far.path(), &away).unwrap();
    let unasked = dry_run(3);
    std::fs::rename(&away, far.path()).unwrap();
    assert_eq!(plan(&unasked), expected);
    let why = "is kept at local until far can be asked whether newer backups failed a drill";
    assert!(stderr(&unasked).contains(why), "{}", stderr(&unasked));
    assert_eq!(plan(&dry_run(0)), expected);
    assert!(made.iter().all(|(_, archive)| archive.exists()));
    let done = hub.run_expecting(0, &["prune", "--json"]);
    assert_eq!(plan(&done), expected);
    let stays = made.iter().map(|(_, archive)| archive.exists());
    assert_eq!(stays.collect::<Vec<_>>(), [false, true, true]);
}
