//! Copies that somebody deleted at a destination: a sync sees it by one listing, and makes them again.

use crate::copies::{Copies, SMALL};
use crate::hub::{Hub, stderr, stdout};
use crate::leases::Shared;
use crate::retention::next_second;
use hubvault_testkit::{USERS, database_with};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;

fn empty(copies: &Copies, name: &str) {
    for entry in fs::read_dir(copies.place(name)).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

fn sync(copies: &Copies, code: i32) -> (String, String) {
    let output = (copies.hub).run_expecting(code, &["copies", "sync", "--no-progress"]);
    (stdout(&output), stderr(&output))
}

#[test]
fn a_destination_that_somebody_emptied_is_filled_again() {
    let copies = Copies::new(SMALL, "");
    copies.hub.backup();
    next_second();
    copies.hub.backup();
    let before = copies.far();
    empty(&copies, "far");
    let (said, _) = sync(&copies, 0);
    assert_eq!(
        said,
        "far: 2 copies were missing: made again\n2 copies made, 0 failed\n"
    );
    assert_eq!(copies.far(), before);
    assert_eq!(copies.copy("far")["state"], "present");
    copies.hub.run_expecting(0, &["copies", "verify", "--full"]);
    // One of another size, and as JSON.
    fs::write(&before[0], "cut").unwrap();
    let json = copies.hub.run_expecting(0, &["copies", "sync", "--json"]);
    let outcomes: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(outcomes.as_array().unwrap().len(), 1, "{outcomes}");
    for (key, value) in [("copied", true), ("found", false), ("was_missing", true)] {
        assert_eq!(outcomes[0][key], value, "{outcomes}");
    }
    copies.hub.run_expecting(0, &["copies", "verify", "--full"]);
    assert_eq!(sync(&copies, 0).0, "0 copies made, 0 failed\n");
}

#[test]
fn what_a_sync_finds_at_a_destination_it_did_not_make() {
    let copies = Copies::new(SMALL, "");
    let (_, archive) = copies.hub.backup();
    let aside = copies.place("aside");
    fs::rename(copies.place("far"), &aside).unwrap();
    // Nothing is known of a place that cannot be listed.
    let (said, problems) = sync(&copies, 3);
    assert_eq!(said, "0 copies made, 0 failed\n");
    assert!(problems.contains("could not list far"), "{problems}");
    assert_eq!(copies.copy("far")["state"], "present");
    fs::create_dir(copies.place("far")).unwrap();
    copies.hub.run_expecting(3, &["copies", "verify"]);
    assert_eq!(copies.copy("far")["state"], "missing");
    fs::remove_dir(copies.place("far")).unwrap();
    fs::rename(&aside, copies.place("far")).unwrap();
    let (said, _) = sync(&copies, 0);
    assert_eq!(said, "0 copies made, 1 found there, 0 failed\n");
    assert_eq!(copies.copy("far")["state"], "present");
    // Where nothing is left to make them from, it is said.
    fs::remove_file(archive).unwrap();
    empty(&copies, "far");
    empty(&copies, "near");
    let (said, problems) = sync(&copies, 3);
    assert!(
        said.contains("far: 1 copy was missing: not made again"),
        "{said}"
    );
    assert_eq!(problems.matches("no whole copy is left").count(), 2);
    copies.hub.run_expecting(1, &["check", "copies"]);
}

#[test]
fn an_archive_that_was_lost_here_is_brought_back() {
    let copies = Copies::new(SMALL, "");
    let (_, archive) = copies.hub.backup();
    let whole = fs::read(&archive).unwrap();
    fs::remove_file(&archive).unwrap();
    let back = ["copies", "sync", "--destination", "local"];
    let said = stdout(&copies.hub.run_expecting(0, &back));
    let expected = "local: 1 archive brought back from copies elsewhere\n1 copy made, 0 failed\n";
    assert_eq!(said, expected);
    assert_eq!(fs::read(&archive).unwrap(), whole);
    assert_eq!(copies.copy("local")["made_again_from"], "near");
    let shown = stdout(&copies.hub.run_expecting(0, &["show", "latest"]));
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("brought back from near"), "{shown}");
}

#[test]
fn archives_of_another_machine_are_said_with_what_to_set() {
    let copies = Copies::new(SMALL, "");
    copies.hub.backup();
    copies.hub.run(&["config", "check"]);
    let known = copies.far()[0].clone();
    let newer = known.with_file_name("critical_backup_20300101_020000.tar.gz");
    let beside = |path: &std::path::Path| format!("{}.manifest.json", path.display());
    fs::copy(&known, &newer).unwrap();
    fs::copy(beside(&known), beside(&newer)).unwrap();
    let words = "1 archive at far is not in the catalog here, the newest critical_backup_20300101_020000.tar.gz of job";
    let checked = copies.hub.run_expecting(3, &["config", "check"]);
    let said = stdout(&checked)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(said.contains(words), "{said}");
    for is_said in [true, false] {
        next_second();
        let (record, _) = copies.hub.backup();
        let mut warnings = record["warnings"].as_array().unwrap().iter();
        let found = warnings.any(|warning| warning["code"] == "unknown-archives");
        assert_eq!(found, is_said, "{record}");
    }
}

/// A link stands for the mount point: to another filesystem, then none.
#[test]
fn a_disk_that_is_not_mounted_is_named_before_anything_is_copied() {
    let copies = Copies::new(SMALL, "");
    let disk = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::remove_dir(copies.place("far")).unwrap();
    symlink(disk.path(), copies.place("far")).unwrap();
    copies.hub.backup();
    let said = |code: i32, command: &[&str]| {
        let said = stdout(&copies.hub.run_expecting(code, command));
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let moved = "nothing is copied to far: ";
    assert!(!said(0, &["config", "check"]).contains(moved));
    assert!(!said(0, &["doctor"]).contains(moved));
    fs::remove_file(copies.place("far")).unwrap();
    fs::create_dir(copies.place("far")).unwrap();
    for text in [said(3, &["config", "check"]), said(0, &["doctor"])] {
        for words in [
            moved,
            "is on another filesystem than the 1 copy stored there",
            "mount it and run",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
    assert_eq!(copies.far().len(), 0);
}

#[test]
fn an_emptied_bucket_of_a_lease_is_filled_again() {
    let shared = Shared::new("lease-emptied");
    let machine = shared.machine(&shared.server.endpoint(), "30 s", "0");
    machine.backup();
    let archives = shared.archives();
    for key in &archives {
        for ending in ["", ".manifest.json"] {
            let path = format!("/{}/{key}{ending}", shared.bucket);
            assert_eq!(shared.server.request("DELETE", &path, &[], b"").0, 204);
        }
    }
    let synced = machine.run_expecting(0, &["copies", "sync", "--no-progress"]);
    assert_eq!(
        stdout(&synced),
        "s3: 1 copy was missing: made again\n1 copy made, 0 failed\n"
    );
    assert_eq!(shared.archives(), archives);
}

#[test]
fn an_archive_that_no_destination_takes_does_not_wait_to_be_copied() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    hub.set("BACKUP_KEEP_LOCAL", "false");
    let far = tempfile::tempdir().unwrap();
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[[destination]]\nname = \"far\"\nurl = \"{}\"\nwhen = \"weekly\"\n",
        far.path().display()
    ));
    hub.run(&["backup"]);
    next_second();
    hub.run(&["backup"]);
    let listed = stdout(&hub.run_expecting(0, &["copies", "list", "latest"]));
    assert!(listed.contains("no destination takes it"), "{listed}");
    assert!(!listed.contains("until it is copied"), "{listed}");
}
