//! What commands propose can be done.

use crate::hub::{Hub, stderr, stdout};
use crate::keys::Pair;
use hubvault_testkit::{USERS, database_with};

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
