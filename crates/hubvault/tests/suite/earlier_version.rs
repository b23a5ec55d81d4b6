//! A backup directory of the version in which a record had one file (`fixtures/before_copies`): three archives that are
//! there (gzip; zstd, pinned; sealed), one that retention removed, one whose loss was accepted, a run that failed.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{Database, server};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const ARCHIVES: [&str; 3] = [
    "critical_backup_20261126_020737.tar.gz",
    "critical_backup_20261126_020747.tar.zst",
    "critical_backup_20261126_020756.tar.gz.age",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/before_copies")
}

/// A hub that has the directory, at another path than it was made at.
fn hub(database: &Database) -> Hub {
    let toml = "[scope]\ntables = [\"*\"]\nwindow = []\n[retention]\ndays = 0\nkeep_last = 1\n";
    let mut hub = Hub::with(database, toml);
    hub.set("POSTGRES_DB", "hub");
    let state = hub.backups().join(".hubvault");
    fs::create_dir(&state).unwrap();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let from = entry.unwrap().path();
        let name = from.file_name().unwrap();
        let to = match name.to_str().unwrap() {
            "catalog.sqlite" => state.join(name),
            "identity.txt" | "list.json" => hub.config().join(name),
            _ => hub.backups().join(name),
        };
        fs::copy(&from, to).unwrap();
    }
    hub
}

fn list(hub: &Hub) -> Vec<Value> {
    let output = hub.run(&["list", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The records as the earlier version printed them; what is there has the path of this directory.
fn as_it_was(hub: &Hub) -> Vec<Value> {
    let mut text = fs::read_to_string(hub.config().join("list.json")).unwrap();
    for name in ARCHIVES {
        let here = hub.backups().join(name).display().to_string();
        text = text.replace(&format!("/backups/{name}"), &here);
    }
    serde_json::from_str(&text).unwrap()
}

fn without_copies(mut record: Value) -> Value {
    record.as_object_mut().unwrap().remove("copies").unwrap();
    record
}

fn succeeds(hub: &Hub, arguments: &[&str]) -> String {
    let output = hub.run(arguments);
    let said = format!("{}{}", stdout(&output), stderr(&output));
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[test]
fn its_backups_are_listed_shown_and_verified() {
    let server = server();
    let hub = hub(&server.database());
    let records = list(&hub);
    let state = |record: &Value| record["copies"][0]["state"].clone();
    let states: Vec<Value> = records.iter().map(state).collect();
    let expected = json!([null, "present", "present", "present", "removed", "missing"]);
    assert_eq!(json!(states), expected);
    assert_eq!(records[1]["copies"][0]["key"], ARCHIVES[2]);
    let shapes: Vec<Value> = records.into_iter().map(without_copies).collect();
    assert_eq!(shapes, as_it_was(&hub));
    let text = succeeds(&hub, &["list"]);
    for words in ["(removed by retention)", "(missing, accepted)", "(pinned)"] {
        assert_eq!(text.matches(words).count(), 1, "{text}");
    }
    let identity = hub.config().join("identity.txt");
    let identity = identity.to_str().unwrap();
    for archive in ARCHIVES {
        assert!(succeeds(&hub, &["show", archive]).contains("orders"));
        succeeds(&hub, &["verify", archive, "--identity", identity]);
    }
}

#[test]
fn its_backups_are_drilled_and_pruned() {
    let server = server();
    let hub = hub(&server.database());
    let identity = hub.config().join("identity.txt");
    let said = succeeds(
        &hub,
        &["drill", "--all", "--identity", identity.to_str().unwrap()],
    );
    assert_eq!(said.matches("700 rows").count(), 3, "{said}");
    let unpinned = succeeds(&hub, &["unpin", ARCHIVES[1]]);
    assert!(!unpinned.is_empty());
    succeeds(&hub, &["pin", ARCHIVES[1]]);
    succeeds(&hub, &["prune"]);
    let there = |name: &str| {
        let sidecar = format!("{name}.manifest.json");
        let exists = |name: &str| hub.backups().join(name).exists();
        (exists(name), exists(&sidecar))
    };
    assert_eq!(there(ARCHIVES[0]), (false, false));
    assert_eq!(there(ARCHIVES[1]), (true, true));
    assert_eq!(there(ARCHIVES[2]), (true, true));
    let records = list(&hub);
    let pruned = &records[3];
    assert!(pruned["removed_at"].is_string() && pruned["gone"] == json!(false));
    assert_eq!(pruned["copies"][0]["state"], "removed");
    assert_eq!(pruned["bytes"], pruned["copies"][0]["bytes"]);
    // The records of what is there know the new drill.
    let drilled = |at: usize| records[at]["proof"]["drill"]["drilled_at"].clone();
    let before = as_it_was(&hub);
    assert_ne!(drilled(1), before[1]["proof"]["drill"]["drilled_at"]);
}

#[test]
fn its_backups_are_copied_with_their_sidecars_as_they_are() {
    let server = server();
    let mut hub = hub(&server.database());
    // What retention would remove at once is not copied.
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[retention]\ndays = 0\nkeep_last = 9\n");
    let far = tempfile::tempdir().unwrap();
    hub.set(
        "BACKUP_DESTINATIONS",
        format!("far=file://{}", far.path().display()),
    );
    succeeds(&hub, &["copies", "sync", "--no-progress"]);
    for archive in ARCHIVES {
        for name in [archive.to_owned(), format!("{archive}.manifest.json")] {
            let copied = fs::read(far.path().join(&name)).unwrap();
            assert!(
                copied == fs::read(fixtures().join(&name)).unwrap(),
                "{name}"
            );
        }
    }
    succeeds(&hub, &["copies", "verify", "--full"]);
    let removed = hub.backups().join(ARCHIVES[0]);
    fs::write(far.path().join(ARCHIVES[0]), "damaged").unwrap();
    let refused = hub.run(&["copies", "remove", ARCHIVES[0], "--destination", "local"]);
    assert!(!refused.status.success() && removed.exists());
}
