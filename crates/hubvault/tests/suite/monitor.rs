//! What is watched, made to go wrong for real.

use crate::hub::{Hub, stdout};
use crate::retention::next_second;
use hubvault_testkit::server;

const USERS: &str = "CREATE TABLE users (id int PRIMARY KEY);
    INSERT INTO users SELECT generate_series(1, 1000);";
/// Every archive but the newest would go.
const GREEDY: &str =
    "[scope]\ntables = [\"*\"]\nwindow = []\n[retention]\ndays = 0\nkeep_last = 0\n";

fn warnings<'a>(record: &'a serde_json::Value, code: &str) -> Vec<&'a str> {
    let all = record["warnings"].as_array().unwrap().iter();
    all.filter(|warning| warning["code"] == code)
        .map(|warning| warning["message"].as_str().unwrap())
        .collect()
}

#[test]
fn the_last_archive_with_rows_that_are_gone_outlives_the_rules() {
    let server = server();
    let database = server.database();
    database.execute(USERS);
    let mut hub = Hub::with(&database, GREEDY);
    hub.set("PROOF", "always");
    let (record, first) = hub.backup();
    assert_eq!(record["state"], "proven");
    next_second();
    // A day like any other keeps nothing.
    let (record, second) = hub.backup();
    assert!(!first.exists() && second.exists());
    assert!(warnings(&record, "rows").is_empty());
    let id = record["id"].as_str().unwrap()[..8].to_owned();

    database.execute("DELETE FROM users WHERE id > 10");
    next_second();
    let (record, third) = hub.backup();
    let said = warnings(&record, "rows");
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with(&format!(
            "users fell from 1,000 rows to 10 since backup {id}; that archive is pinned now"
        )),
        "{said:?}"
    );
    assert!(second.exists() && third.exists());
    assert!(stdout(&hub.run(&["list"])).contains("(pinned)"));
    assert!(stdout(&hub.run(&["status"])).contains("users fell from 1,000"));

    // The next one is held against the fallen one, and the pin still holds.
    next_second();
    let (record, _) = hub.backup();
    assert!(warnings(&record, "rows").is_empty());
    assert!(second.exists() && !third.exists());
}
