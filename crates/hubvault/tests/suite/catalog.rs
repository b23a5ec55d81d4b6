//! The catalog records every run, and can be rebuilt from the archives alone.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::database_with;
use serde_json::Value;

fn list(hub: &Hub) -> Value {
    serde_json::from_slice(&hub.run(&["list", "--json"]).stdout).unwrap()
}

#[test]
fn the_json_of_a_backup_has_its_documented_shape() {
    let database = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (1), (2)");
    let hub = Hub::whole(&database);
    let (record, archive) = hub.backup();
    for key in [
        "id",
        "file",
        "state",
        "started_at",
        "finished_at",
        "snapshot",
        "bytes",
        "tables",
        "files",
        "proof",
        "warnings",
    ] {
        assert!(!record[key].is_null(), "{key} is missing: {record}");
    }
    assert_eq!(record["tables"][0]["name"], "users");
    assert_eq!(record["tables"][0]["rows"], 2);
    assert_eq!(record["bytes"], archive.metadata().unwrap().len());
    assert_eq!(record["proof"]["reason"], "the drill is switched off");
    assert_eq!(list(&hub)[0], record);
    let mark = std::fs::read_to_string(hub.backups().join(".last_backup_success")).unwrap();
    assert!(
        mark.trim().parse::<u64>().unwrap() > 1_700_000_000,
        "{mark}"
    );
    let size = std::fs::read_to_string(hub.backups().join(".last_backup_size_mb")).unwrap();
    assert_eq!(size.trim(), "1");
}

#[test]
fn a_lost_catalog_is_rebuilt_from_the_archives() {
    let database = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (1), (2)");
    let hub = Hub::whole(&database);
    let (record, _) = hub.backup();
    std::fs::remove_file(hub.backups().join(".hubvault/catalog.sqlite")).unwrap();
    let again = list(&hub);
    assert_eq!(again.as_array().unwrap().len(), 1);
    for key in [
        "id", "file", "tables", "files", "snapshot", "bytes", "warnings",
    ] {
        assert_eq!(again[0][key], record[key], "{key}");
    }
    std::fs::remove_file(hub.backups().join(".hubvault/catalog.sqlite")).unwrap();
    assert!(stdout(&hub.run(&["catalog", "rebuild"])).contains("1 added"));
    assert!(stdout(&hub.run(&["catalog", "rebuild"])).contains("1 known"));
}

#[test]
fn a_run_that_crashed_after_publishing_is_listed_with_its_archive() {
    let database = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (1), (2)");
    let mut hub = Hub::whole(&database);
    let path = hub.backups().join(".hubvault/catalog.sqlite");
    let saved = hub.config().join("saved.sqlite");
    // What the catalog says while the run is running.
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[[hook]]\nstage = \"publish\"\nwhen = \"before\"\n\
         command = \"cp {} {}\"\n",
        path.display(),
        saved.display()
    ));
    let (record, archive) = hub.backup();
    std::fs::copy(&saved, &path).unwrap();
    let known = list(&hub);
    for key in ["id", "file", "state", "tables", "bytes"] {
        assert_eq!(known[0][key], record[key], "{key}");
    }
    assert!(
        known
            .to_string()
            .contains("crashed or failed after publication")
    );

    // Had it crashed before that, nothing would be published.
    std::fs::copy(&saved, &path).unwrap();
    std::fs::remove_file(&archive).unwrap();
    let known = list(&hub);
    assert_eq!(
        (&known[0]["state"], &known[0]["file"]),
        (&"failed".into(), &Value::Null)
    );
    hub.run_expecting(1, &["check", "schedule"]);
}

#[test]
fn a_backup_is_selected_by_id_prefix_name_and_latest() {
    let database = database_with("CREATE TABLE users (id int)");
    let hub = Hub::whole(&database);
    let (record, archive) = hub.backup();
    let id = record["id"].as_str().unwrap();
    let name = archive.file_name().unwrap().to_str().unwrap();
    for word in [id, &id[..8], name, archive.to_str().unwrap(), "latest"] {
        let shown = hub.run(&["show", word, "--json"]);
        let manifest: Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!(manifest["id"], record["id"], "{word}");
    }
    hub.run_expecting(1, &["show", "nothing"]);
}

#[test]
fn a_dry_run_prints_the_plan_and_touches_nothing() {
    let database =
        database_with("CREATE TABLE users (id int); CREATE TABLE notes (id int); ANALYZE");
    let hub = Hub::with(
        &database,
        "[scope]\ntables = [\"users\", \"ghosts\"]\nwindow = []\n",
    );
    let before = std::fs::read_dir(hub.backups()).unwrap().count();
    let output = hub.run_expecting(3, &["backup", "--dry-run"]);
    let text = stdout(&output);
    for word in [
        "users",
        "ghosts does not exist",
        "notes",
        "Nothing was written",
    ] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    let json: Value =
        serde_json::from_slice(&hub.run(&["backup", "--dry-run", "--json"]).stdout).unwrap();
    assert_eq!(json["tables"][0]["name"], "users");
    assert_eq!(std::fs::read_dir(hub.backups()).unwrap().count(), before);
}

#[test]
fn a_backup_directory_that_is_missing_is_not_created_by_looking_at_it() {
    let database = database_with("CREATE TABLE users (id int)");
    let mut hub = Hub::whole(&database);
    let missing = hub.backups().join("not mounted");
    hub.set("BACKUP_DIR", missing.to_str().unwrap());
    for arguments in [
        &["status"][..],
        &["list"],
        &["check"],
        &["prune"],
        &["prune", "--dry-run"],
        &["logs"],
    ] {
        let said = stderr(&hub.run_expecting(1, arguments));
        assert!(
            said.contains("not mounted does not exist: mount its disk"),
            "{said}"
        );
        assert!(!missing.exists(), "{arguments:?}");
    }
    // What is notified must be recorded.
    hub.run_expecting(1, &["check", "--alert"]);
    assert!(missing.exists());
}
