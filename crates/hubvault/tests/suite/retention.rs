//! Old archives are removed by the rules, and by nothing else.

use crate::hub::{Hub, archives_and_partials, stderr, stdout};
use crate::keys::Pair;
use hubvault_testkit::database_with;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Backups of one second have one name.
pub(crate) fn next_second() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    std::thread::sleep(Duration::from_millis(
        1_001 - u64::from(now.subsec_millis()),
    ));
}

fn sidecar(archive: &std::path::Path) -> PathBuf {
    PathBuf::from(format!("{}.manifest.json", archive.display()))
}

#[test]
fn a_backup_removes_what_no_rule_keeps_and_nothing_else() {
    let database = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (1)");
    let toml = "[scope]\ntables = [\"*\"]\nwindow = []\n[retention]\ndays = 0\nkeep_last = 0\n";
    let hub = Hub::with(&database, toml);
    // Not ours, though it is called like it.
    let foreign = hub.backups().join("critical_backup_20200101_000000.tar.gz");
    std::fs::write(&foreign, "somebody else's").unwrap();
    // What others can read is a warning of its own.
    std::fs::set_permissions(
        &foreign,
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();

    let (_, first) = hub.backup();
    let pinned = hub.run(&["pin", "latest"]);
    assert!(pinned.status.success(), "{}", stderr(&pinned));
    next_second();
    let (second_record, second) = hub.backup();
    assert!(first.exists(), "a pinned archive was removed");
    next_second();
    // A file that took the place of an archive is not removed for it.
    let dry = stdout(&hub.run(&["prune", "--dry-run"]));
    assert!(
        dry.contains("pinned") && dry.contains("the newest backup"),
        "{dry}"
    );
    let (record, third) = hub.backup();
    assert!(first.exists() && !second.exists() && third.exists() && foreign.exists());
    assert!(sidecar(&first).exists() && !sidecar(&second).exists());
    assert_eq!(record["warnings"].to_string(), "[]");
    let listed = stdout(&hub.run(&["list"]));
    assert!(
        listed.contains("(removed by retention)") && listed.contains("(pinned)"),
        "{listed}"
    );

    // The pin is known again when the catalog is lost.
    std::fs::remove_file(hub.backups().join(".hubvault/catalog.sqlite")).unwrap();
    hub.run(&["catalog", "rebuild"]);
    assert!(stdout(&hub.run(&["list"])).contains("(pinned)"));
    let id = second_record["id"].as_str().unwrap();
    assert_eq!(
        hub.run(&["show", id]).status.code(),
        Some(1),
        "its archive is gone"
    );
}

#[test]
fn a_failed_run_and_foreign_files_are_left_alone() {
    let database = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (1)");
    let toml = "[scope]\ntables = [\"*\"]\nwindow = []\n";
    let mut hub = Hub::with(&database, toml);
    let (_, first) = hub.backup();
    next_second();
    let (_, second) = hub.backup();
    hub.write(&format!(
        "file = []\n{toml}[retention]\ndays = 0\nkeep_last = 0\n"
    ));
    hub.set("POSTGRES_DB", "nothere");
    hub.run_expecting(1, &["backup"]);
    // The failed run carries the database's name as its job; the job's own newest run is a failure.
    hub.set("POSTGRES_DB", database.name());
    database.execute("ALTER TABLE users RENAME TO people");
    hub.set("BACKUP_MIN_SIZE_MB", "500");
    hub.run_expecting(1, &["backup"]);
    let kept = hub.run(&["prune"]);
    assert!(
        stdout(&kept).contains("the newest run failed"),
        "{}",
        stdout(&kept)
    );
    assert!(first.exists() && second.exists());

    hub.set("BACKUP_MIN_SIZE_MB", "0");
    std::fs::write(&first, "damaged").unwrap();
    next_second();
    let output = hub.run(&["backup"]);
    let said = stdout(&output);
    assert!(
        said.contains("could not read") && said.contains("not removed"),
        "{said}"
    );
    assert!(first.exists() && !second.exists());
    assert_eq!(archives_and_partials(&hub.backups()).len(), 2);
}

/// How often the catalog was written: `SQLite` counts that in its file.
fn writes(hub: &Hub) -> u32 {
    let bytes = std::fs::read(hub.backups().join(".hubvault/catalog.sqlite")).unwrap();
    u32::from_be_bytes(bytes[24..28].try_into().unwrap())
}

#[test]
fn many_archives_are_added_and_removed_in_few_transactions() {
    let database = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (1)");
    let toml = "[scope]\ntables = [\"*\"]\nwindow = []\n[retention]\ndays = 0\nkeep_last = 0\n";
    let mut hub = Hub::with(&database, toml);
    let keys = tempfile::tempdir().unwrap();
    let alice = Pair::age(keys.path(), "alice");
    hub.set("BACKUP_RECIPIENTS", alice.public.as_str());
    let (_, archive) = hub.backup();
    // What is sealed is known by its sidecar.
    let known = std::fs::read_to_string(sidecar(&archive)).unwrap();
    let mut known: serde_json::Value = serde_json::from_str(&known).unwrap();
    for number in 0..450 {
        let name = format!("critical_backup_20250101_{number:06}.tar.gz.age");
        let copy = hub.backups().join(name);
        std::fs::copy(&archive, &copy).unwrap();
        known["manifest"]["id"] = format!("00000000-0000-4000-8000-{number:012}").into();
        known["manifest"]["started_at"] = "2025-01-01T00:00:00Z".into();
        std::fs::write(sidecar(&copy), known.to_string()).unwrap();
    }
    let before = writes(&hub);
    let listed: serde_json::Value =
        serde_json::from_str(&stdout(&hub.run(&["list", "--json"]))).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 451);
    let added = writes(&hub) - before;
    assert!((3..=4).contains(&added), "{added}");
    let before = writes(&hub);
    let pruned = hub.run(&["prune"]);
    assert!(pruned.status.success(), "{}", stderr(&pruned));
    let removed = writes(&hub) - before;
    assert!((6..=8).contains(&removed), "{removed}");
    assert_eq!(archives_and_partials(&hub.backups()).len(), 1);
    assert!(archive.exists());
    assert!(sidecar(&archive).exists());
}
