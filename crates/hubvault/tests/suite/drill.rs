//! A backup counts once it was restored; an archive that cannot be restored is never published.

use crate::copies::Copies;
use crate::forged::forged;
use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{Database, NASTY, USERS, database_with, server};
use serde_json::Value;
use std::path::Path;

/// A hub that proves its backups, and the directory of its drills.
pub(crate) fn drilling(database: &Database) -> (Hub, tempfile::TempDir) {
    let mut hub = Hub::whole(database);
    let drills = hub.prove();
    (hub, drills)
}

pub(crate) fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn the_nasty_database_is_proven() {
    let source = database_with(NASTY);
    let (hub, drills) = drilling(&source);
    let output = hub.run(&["backup"]);
    let (said, text) = (stderr(&output), stdout(&output));
    assert_eq!(output.status.code(), Some(0), "{said}{text}");
    assert!(
        text.contains("\nproven: ") && text.contains("rows restored and equal"),
        "{text}"
    );
    assert!(is_empty(drills.path()));
    let listed = stdout(&hub.run(&["list"]));
    assert!(
        listed.contains("proven") && !listed.contains("unproven"),
        "{listed}"
    );
}

#[test]
fn a_missing_extension_leaves_the_rest_proven_and_says_so() {
    let database = database_with(USERS);
    // The name is changed behind the server's back: a dump asks for an extension that no server has.
    database.execute(
        "CREATE EXTENSION citext; CREATE TABLE mails (address citext); INSERT INTO mails VALUES ('a@b');
         UPDATE pg_extension SET extname = 'nosuchext' WHERE extname = 'citext'",
    );
    let (hub, _drills) = drilling(&database);
    let output = hub.run_expecting(3, &["backup", "--json"]);
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["state"], "unproven");
    let reason = record["proof"]["reason"].as_str().unwrap();
    assert_eq!(
        reason,
        "extension nosuchext is not installed where the drill runs"
    );
    assert_eq!(record["proof"]["drill"]["rows"], 1000);
    assert_eq!(record["proof"]["drill"]["not_provable"][0], "mails");
    database.execute(
        "CREATE EXTENSION hstore; UPDATE pg_extension SET extname = 'neither' WHERE extname = 'hstore'",
    );
    let (summary, _) = hub.backup();
    let reason = summary["proof"]["reason"].as_str().unwrap();
    assert_eq!(
        reason,
        "extensions neither, nosuchext are not installed where the drill runs"
    );
}

#[test]
fn a_drill_over_its_time_limit_leaves_the_backup_unproven() {
    let database = database_with(USERS);
    let toml = "[scope]\ntables = [\"*\"]\nwindow = []\n[proof]\ntime_limit = \"50 ms\"\n";
    let mut hub = Hub::with(&database, toml);
    hub.set("PROOF", "always");
    let output = hub.run_expecting(3, &["backup"]);
    assert!(stdout(&output).contains("unproven: the drill took longer than its limit"));

    // An old backup can be drilled later, and the catalog knows.
    let listed = || stdout(&hub.run(&["list"]));
    assert!(listed().contains("unproven"));
    hub.run_expecting(3, &["verify", "latest", "--drill"]);
    let mut patient = Hub::with(&database, "[scope]\ntables = [\"*\"]\nwindow = []\n");
    patient.set("BACKUP_DIR", hub.backups().to_str().unwrap());
    let drilled = patient.run_expecting(0, &["verify", "latest", "--drill"]);
    assert!(
        stdout(&drilled).contains("proven: 1 table"),
        "{}",
        stdout(&drilled)
    );
    assert!(!listed().contains("unproven"), "{}", listed());
    // And knows it again when the catalog is lost.
    std::fs::remove_file(hub.backups().join(".hubvault/catalog.sqlite")).unwrap();
    hub.run_expecting(0, &["catalog", "rebuild"]);
    assert!(
        listed().contains("proven") && !listed().contains("unproven"),
        "{}",
        listed()
    );
}

#[test]
fn a_drill_without_a_usable_directory_leaves_the_backup_unproven() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    hub.set("PROOF", "always");
    // A directory that is not there, and one on a filesystem that never has room.
    for (directory, reason) in [
        ("/nonexistent", "cannot drill in /nonexistent: No such file"),
        ("/proc", "in /proc, which has 0 B free"),
    ] {
        hub.set("TMPDIR", directory);
        let output = hub.run_expecting(3, &["backup"]);
        let text = stdout(&output);
        assert!(
            text.contains("unproven: ") && text.contains(reason),
            "{text}"
        );
    }
    let listed = stdout(&hub.run(&["list"]));
    assert!(
        !listed.contains("failed") && !listed.contains(" proven"),
        "{listed}"
    );
}

#[test]
fn a_scratch_database_on_another_server_works_and_is_dropped() {
    let server = server();
    let database = server.database();
    database.execute(NASTY);
    let (mut hub, drills) = drilling(&database);
    let place = server.settings("postgres");
    hub.set(
        "PROOF_SERVER",
        format!("host={} user=postgres dbname=postgres", place.host),
    );
    // The leftover of a crashed drill.
    database.execute("CREATE DATABASE hubvault_drill_old");
    let output = hub.run_expecting(0, &["backup"]);
    assert!(
        stdout(&output).contains("\nproven: "),
        "{}",
        stdout(&output)
    );
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'hubvault_drill_%'";
    assert_eq!(database.value(left), "0");
    assert!(is_empty(drills.path()));
    hub.set("PROOF_SERVER", "postgres://postgres@localhost:1/postgres");
    let away = hub.run_expecting(3, &["backup"]);
    assert!(
        stdout(&away).contains("unproven: no server to drill on"),
        "{}",
        stdout(&away)
    );
}

#[test]
fn a_random_sample_of_old_archives_is_drilled_and_the_damaged_one_is_named() {
    let database = database_with(USERS);
    let (mut hub, _drills) = drilling(&database);
    hub.set("PROOF", "off");
    let (_, archive) = hub.backup();
    let one = hub.run_expecting(0, &["drill", "--all", "--sample", "1"]);
    assert!(
        stdout(&one).contains("proven: 1 table, 1,000 rows"),
        "{}",
        stdout(&one)
    );
    assert!(stdout(&hub.run(&["list"])).contains(" proven"));
    // A number that the server writes another way than it stands there.
    let other = |content: &mut Vec<u8>| {
        let text = String::from_utf8(content.clone()).unwrap();
        *content = text.replace("\n2\tuser 2\n", "\n02\tuser 2\n").into_bytes();
    };
    let copy = hub.config().join("forged.tar.gz");
    forged(&archive, &copy, other, |_| ());
    std::fs::copy(&copy, &archive).unwrap();
    let bad = hub.run_expecting(1, &["drill", "--all"]);
    assert!(stdout(&bad).contains("REJECTED"), "{}", stdout(&bad));
    let record = || -> Value {
        let listed: Value = serde_json::from_slice(&hub.run(&["list", "--json"]).stdout).unwrap();
        listed[0].clone()
    };
    // It says something of this file, and nothing of the backup.
    let is_damaged =
        |record: &Value| record["state"] == "proven" && record["copies"][0]["state"] == "damaged";
    assert!(is_damaged(&record()), "{}", record());
    // The same where it cannot be opened any more.
    for again in [&["drill", "latest"][..], &["verify", "latest", "--drill"]] {
        let proven = hub.backup().1;
        hub.run(&["drill", "latest"]);
        assert_eq!(record()["state"], "proven");
        std::fs::write(&proven, "no archive").unwrap();
        let bad = hub.run_expecting(1, again);
        let said = stdout(&bad) + &stderr(&bad);
        assert!(said.contains("at local is damaged"), "{said}");
        assert!(is_damaged(&record()), "{}", record());
    }
}

fn rot(archive: &Path) {
    let mut bytes = std::fs::read(archive).unwrap();
    let (begin, end) = (bytes.len() / 4, bytes.len() * 3 / 4);
    bytes[begin..end].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(archive, bytes).unwrap();
}

fn marks_in(directory: &Path) -> usize {
    let paths = std::fs::read_dir(directory).unwrap();
    let paths = paths.map(|entry| entry.unwrap().path());
    let is_mark = |path: &std::path::PathBuf| path.extension().is_some_and(|it| it == "proof");
    paths.filter(is_mark).count()
}

#[test]
fn a_rotten_copy_takes_no_proof_from_the_whole_ones() {
    let mut copies = Copies::new(USERS, "");
    let _drills = copies.hub.prove();
    let (_, archive) = copies.hub.backup();
    let hub = &copies.hub;
    let record = || -> Value {
        let listed: Value = serde_json::from_slice(&hub.run(&["list", "--json"]).stdout).unwrap();
        listed[0].clone()
    };
    let states = || {
        let record = record();
        assert_eq!(record["state"], "proven", "{record}");
        let copies = record["copies"].as_array().unwrap().clone();
        let mut states: Vec<String> = copies
            .iter()
            .map(|copy| format!("{} {}", copy["destination"], copy["state"]).replace('"', ""))
            .collect();
        states.sort();
        states.join(", ")
    };
    let near = copies.place("near").join(archive.file_name().unwrap());
    rot(&near);
    let said = hub.run_expecting(1, &["drill", "latest", "--destination", "near"]);
    let says_so = "at near is damaged";
    assert!(stdout(&said).contains(says_so), "{}", stdout(&said));
    assert_eq!(states(), "far present, local present, near damaged");
    hub.run_expecting(0, &["copies", "sync"]);
    assert_eq!(
        std::fs::read(&near).unwrap(),
        std::fs::read(&archive).unwrap()
    );
    rot(&archive);
    let id = record()["id"].as_str().unwrap().to_owned();
    let said = hub.run_expecting(1, &["drill", archive.to_str().unwrap(), "--json"]);
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said[0]["damaged"], "local", "{said}");
    assert_eq!(states(), "far present, local damaged, near present");
    for place in [
        archive.parent().unwrap(),
        &copies.place("near"),
        &copies.place("far"),
    ] {
        assert_eq!(marks_in(place), 0, "{}", place.display());
    }
    hub.run_expecting(0, &["drill", &id, "--destination", "far"]);
}

#[test]
fn a_drill_says_proven_only_where_the_record_does() {
    let database = database_with(USERS);
    let (mut hub, _drills) = drilling(&database);
    let (record, archive) = hub.backup();
    hub.set("PROOF", "off");
    for number in 10..160 {
        let mark = serde_json::json!({
            "format_version": 1, "id": record["id"], "after": [], "at": null, "machine": "db2",
            "proof": { "proven": false, "read_back": false, "reason": "flood", "drill": null },
        });
        let path = format!("{}.{number}-aaaaaaaa.proof", archive.display());
        std::fs::write(path, mark.to_string()).unwrap();
    }
    let state = |hub: &Hub| -> String {
        let listed: Value = serde_json::from_slice(&hub.run(&["list", "--json"]).stdout).unwrap();
        listed[0]["state"].as_str().unwrap().to_owned()
    };
    let said = hub.run_expecting(3, &["drill", "latest", "--json"]);
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said[0]["result"], "unproven", "{said}");
    let reason = said[0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("by db2") && reason.contains("flood"),
        "{reason}"
    );
    assert_eq!(state(&hub), "unproven");
    let mut code = 3;
    for _ in 0..3 {
        let done = hub.run(&["drill", "latest"]);
        code = done.status.code().unwrap();
        let (text, is_proven) = (stdout(&done), state(&hub) == "proven");
        assert_eq!(code == 0, is_proven, "{text}");
        assert_eq!(text.contains("unproven nevertheless"), !is_proven, "{text}");
    }
    assert_eq!(code, 0, "those that a drill saw count no more");
}

#[test]
fn a_drill_gathers_no_statistics_and_a_restore_does() {
    // What statistics are made of fails, and nothing else.
    let source = database_with(
        "CREATE TABLE t (x int); INSERT INTO t VALUES (0), (1); CREATE STATISTICS s ON (1 / x), x FROM t",
    );
    let (hub, _drills) = drilling(&source);
    let (record, _) = hub.backup();
    assert_eq!(record["state"], "proven", "{}", record["proof"]);
    let drill = &record["proof"]["drill"];
    assert!(drill["notes"].is_null(), "{drill}");
    let target = server().database();
    let words = ["restore", "latest", "--database", target.name(), "--json"];
    let restored = stdout(&hub.run_expecting(0, &words));
    assert!(
        restored.contains("not all statistics could be gathered, run ANALYZE: "),
        "{restored}"
    );
}
