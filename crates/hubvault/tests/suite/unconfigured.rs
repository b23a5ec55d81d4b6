//! Copies whose destination is not configured any more: they count nowhere, and every command says why.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{USERS, database_with};
use serde_json::Value;
use std::fs;

const WHOLE: &str = "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n";

#[test]
fn a_backup_that_is_only_at_a_place_of_before_says_so() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    hub.set("PROOF", "always");
    let far = tempfile::tempdir().unwrap();
    let url = format!("file://{}", far.path().display());
    let table = format!("[[destination]]\nname = \"far\"\nurl = \"{url}\"\n");
    hub.write(&format!("{WHOLE}{table}"));
    let (_, archive) = hub.backup();
    hub.run(&["status"]);

    // The local copy still counts, and the other one is named.
    hub.write(WHOLE);
    let listed = stdout(&hub.run_expecting(0, &["copies", "list"]));
    let words = "not configured any more";
    assert!(listed.contains(words), "{listed}");
    let status = stdout(&hub.run(&["status"]));
    assert!(
        status.contains(&format!("far: {words} ({url})")),
        "{status}"
    );
    assert!(status.contains("1 copy in 1 place"), "{status}");

    // A new machine, which knows it by the place alone.
    fs::remove_file(&archive).unwrap();
    fs::remove_dir_all(hub.backups().join(".hubvault")).unwrap();
    let rebuilt = hub.run_expecting(0, &["catalog", "rebuild", "--from", &url]);
    assert!(stdout(&rebuilt).contains("1 added"), "{}", stderr(&rebuilt));
    let why = format!("is only at {url}, which is {words}; make it a destination");
    let status = stdout(&hub.run_expecting(3, &["status"]));
    assert!(
        status.contains("NOT SAFE") && status.contains(&why),
        "{status}"
    );

    // Once it is a destination again, by whatever name, a sync finds the copy there.
    hub.write(&format!("{WHOLE}{}", table.replace("\"far\"", "\"usb\"")));
    let warning = "the destination usb has no copy of the 1 backup that there are";
    let checked = stdout(&hub.run(&["config", "check"]));
    assert!(!checked.contains(warning), "it is nowhere else: {checked}");
    hub.run_expecting(0, &["copies", "sync"]);
    let status = stdout(&hub.run(&["status"]));
    assert!(status.contains("usb: present"), "{status}");

    // Another one has none yet.
    let other = tempfile::tempdir().unwrap();
    let other = format!(
        "[[destination]]\nname = \"new\"\nurl = \"{}\"\n",
        other.path().display()
    );
    hub.write(&format!(
        "{WHOLE}{}{other}",
        table.replace("\"far\"", "\"usb\"")
    ));
    let warning =
        "the destination new has no copy of the 1 backup that there are; hubvault copies sync";
    let checked = stdout(&hub.run_expecting(3, &["config", "check"]));
    let checked = checked.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(checked.contains(warning), "{checked}");
}

#[test]
fn a_destination_that_moved_is_named_once_with_what_remains_at_its_old_place() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    hub.set("PROOF", "always");
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let table = |at: &tempfile::TempDir| {
        let url = at.path().display();
        format!("{WHOLE}[[destination]]\nname = \"far\"\nurl = \"{url}\"\n")
    };
    hub.write(&table(&old));
    hub.backup();
    hub.write(&table(&new));
    let status: Value = serde_json::from_slice(&hub.run(&["status", "--json"]).stdout).unwrap();
    let copies = status["copies"].as_array().unwrap();
    let far: Vec<_> = copies
        .iter()
        .filter(|it| it["destination"] == "far")
        .collect();
    assert_eq!(far.len(), 1, "{copies:?}");
    let text = far[0]["text"].as_str().unwrap();
    let place = old.path().display().to_string();
    assert!(text.starts_with("no copy; hubvault copies sync"), "{text}");
    assert!(text.contains(&place), "{text}");
    let screen = stdout(&hub.run(&["status"]));
    assert!(screen.contains("1 of 2; "), "{screen}");
    hub.run_expecting(0, &["copies", "sync", "--no-progress"]);
    let screen = stdout(&hub.run(&["status"]));
    assert!(
        screen.contains("far: present") && !screen.contains(&place),
        "{screen}"
    );
}
