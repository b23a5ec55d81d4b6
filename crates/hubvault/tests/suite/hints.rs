//! What commands propose can be done.

use crate::hub::{Hub, stderr, stdout};
use crate::keys::Pair;
use hubvault_testkit::{USERS, database_with};
use serde_json::Value;

#[test]
fn a_sealed_archive_without_its_sidecar_is_read_as_the_list_proposes() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    let alice = Pair::age(&hub.config(), "alice");
    hub.set("BACKUP_RECIPIENTS", &alice.public);
    let (_, archive) = hub.backup();
    std::fs::remove_dir_all(hub.backups().join(".hubvault")).unwrap();
    std::fs::remove_file(format!("{}.manifest.json", archive.display())).unwrap();
    let said = stderr(&hub.run_expecting(0, &["list"]));
    let hint = said.split('`').nth(1).unwrap();
    let mut words: Vec<&str> = hint.split(' ').skip(1).collect();
    assert_eq!(words.pop(), Some("FILE"), "{said}");
    words.push(alice.identity());
    hub.run_expecting(0, &words);
    assert!(
        stderr(&hub.run_expecting(3, &["catalog", "rebuild"])).contains(hint),
        "{hint}"
    );
}

#[test]
fn a_backup_without_an_archive_cannot_be_pinned() {
    let database = database_with("CREATE TABLE users (id int)");
    let mut hub = Hub::whole(&database);
    hub.set("POSTGRES_DB", "nothing_here");
    hub.run_expecting(1, &["backup"]);
    let said = stderr(&hub.run_expecting(1, &["pin", "latest"]));
    assert!(said.contains("error: "), "{said}");
    let listed = stdout(&hub.run_expecting(0, &["list", "--json"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    let said = stderr(&hub.run_expecting(1, &["pin", id]));
    assert!(said.contains("has no archive that could be kept"), "{said}");
    // A pin of an earlier version is undone.
    hub.run_expecting(0, &["unpin", id]);
}

#[test]
fn help_is_a_command_and_only_a_near_command_is_proposed() {
    let database = database_with("CREATE TABLE users (id int)");
    let hub = Hub::whole(&database);
    let help = stdout(&hub.run_expecting(0, &["help", "backup"]));
    assert_eq!(help, stdout(&hub.run_expecting(0, &["backup", "--help"])));
    assert!(stdout(&hub.run_expecting(0, &["help"])).contains("Start here"));
    for (written, near) in [
        ("lits", Some("list")),
        ("statsu", Some("status")),
        ("nip", None),
        ("xyz", None),
    ] {
        let said = stderr(&hub.run_expecting(2, &[written]));
        assert_eq!(said.contains("similar"), near.is_some(), "{said}");
        assert!(
            near.is_none_or(|near| said.contains(&format!("'{near}'"))),
            "{said}"
        );
    }
}

#[test]
fn a_restore_that_is_refused_says_what_can_be_done() {
    let database = database_with(
        "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 500)",
    );
    let role = format!("reader_{}", database.name());
    database.execute(&format!(
        "CREATE VIEW seen AS SELECT * FROM users; CREATE ROLE {role} LOGIN; GRANT pg_read_all_data TO {role}"
    ));
    let mut hub = Hub::whole(&database);
    for command in ["show", "restore"] {
        let said = stderr(&hub.run_expecting(1, &[command, "latest"]));
        assert!(said.contains("`hubvault backup` takes the first"), "{said}");
    }
    hub.backup();
    let checks = stdout(&hub.run_expecting(1, &["check", "--json"]));
    assert!(checks.contains("answers, 1 table can be read"), "{checks}");
    let restore =
        |words: &[&str]| stderr(&hub.run_expecting(1, &[&["restore", "latest"], words].concat()));
    let taken = restore(&["--create"]);
    assert!(taken.contains("--clean instead of --create"), "{taken}");
    let absent = restore(&["--database", "nothing_here"]);
    assert!(absent.contains("make it with --create"), "{absent}");
    let table = ["--table", "users"];
    let full = restore(&table);
    assert!(
        full.contains("--missing-rows") && full.contains("--into-schema"),
        "{full}"
    );

    let beside = [
        "restore",
        "latest",
        "--table",
        "users",
        "--into-schema",
        "beside",
    ];
    hub.run_expecting(0, &beside);
    let twice = stderr(&hub.run_expecting(1, &beside));
    assert!(twice.contains("name another schema"), "{twice}");
    let silence = |length: &str| {
        stdout(&hub.run_expecting(0, &["alert", "silence", "disk", "--for", length]))
    };
    assert!(silence("2h").contains("silenced until"));
    assert!(silence("0s").contains("no longer silenced"));

    database.execute("DELETE FROM users");
    hub.set("POSTGRES_USER", &role);
    let refused = stderr(&hub.run_expecting(
        1,
        &["restore", "latest", "--create", "--database", "never_made"],
    ));
    assert!(
        refused.contains("--to postgres://OWNER@HOST/DATABASE"),
        "{refused}"
    );
    // What would be done is said also where it may not be done.
    let rows = ["restore", "latest", "--missing-rows", "--dry-run", "--json"];
    let plan: Value = serde_json::from_str(&stdout(&hub.run_expecting(3, &rows))).unwrap();
    assert_eq!(plan["tables"][0]["inserted"], 500, "{plan}");
    assert!(plan["obstacles"].to_string().contains("INSERT"), "{plan}");
    database.execute(&format!("DROP ROLE {role}"));
}
