//! Live tables whose primary key is another than in the archive: rows cannot be matched, and none is inserted twice.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::database_with;
use serde_json::{Value, json};

#[test]
fn a_key_that_was_dropped_or_moved_is_named_and_no_row_is_put_back() {
    let database = database_with(
        "CREATE TABLE \"no, (pk)\" (id int PRIMARY KEY, v text);
         CREATE TABLE moved (\"i, d)\" int, v text, other int NOT NULL, PRIMARY KEY (\"i, d)\", v));
         CREATE TABLE turned (a int, b int, v text, PRIMARY KEY (a, b) INCLUDE (v));
         CREATE TABLE gained (id int, v text);
         CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
         CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9);
         INSERT INTO \"no, (pk)\" VALUES (1, 'a'), (2, 'b'); INSERT INTO moved VALUES (1, 'a', 7), (2, 'b', 8);
         INSERT INTO turned VALUES (1, 2, 'v'); INSERT INTO gained VALUES (1, 'a'), (2, 'b');
         INSERT INTO parts VALUES (1, 'a')",
    );
    let hub = Hub::whole(&database);
    hub.backup();
    hub.run_expecting(0, &["diff", "latest"]);
    database.execute(
        "ALTER TABLE \"no, (pk)\" DROP CONSTRAINT \"no, (pk)_pkey\"; UPDATE \"no, (pk)\" SET v = 'changed' WHERE id = 1;
         ALTER TABLE moved DROP CONSTRAINT moved_pkey, ADD PRIMARY KEY (other);
         UPDATE moved SET other = 9 WHERE other = 7;
         UPDATE turned SET v = 'other';
         ALTER TABLE turned DROP CONSTRAINT turned_pkey, ADD PRIMARY KEY (b, a) INCLUDE (v);
         ALTER TABLE gained ADD PRIMARY KEY (id); DELETE FROM gained WHERE id = 2",
    );
    let output = hub.run_expecting(3, &["diff", "latest", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |name: &str| {
        let mut tables = found.as_array().unwrap().iter();
        tables.find(|it| it["table"] == name).unwrap()
    };
    assert_eq!(of("turned")["changed"], json!([{ "a": 1, "b": 2 }]));
    let of = |name: &str| &of(name)["columns"];
    assert_eq!(
        of("\"no, (pk)\"")["key_in_backup"],
        json!(["id"]),
        "{found}"
    );
    assert_eq!(of("moved")["key_in_backup"], json!(["i, d)", "v"]));
    assert_eq!(of("gained")["key_only_in_database"], json!(["id"]));
    for same in ["turned", "part"] {
        assert_eq!(of(same)["key_in_backup"], json!([]), "{same}");
        assert_eq!(of(same)["key_only_in_database"], json!([]), "{same}");
    }
    let text = stdout(&hub.run_expecting(3, &["diff", "latest"]));
    assert!(
        text.contains("primary key was (\"i, d)\", v) in the backup"),
        "{text}"
    );
    let plan = ["restore", "latest", "--missing-rows", "--dry-run"];
    let text = stdout(&hub.run_expecting(3, &plan));
    assert!(
        text.contains("primary key was (id) in the backup"),
        "{text}"
    );
    for option in ["--missing-rows", "--upsert"] {
        let said = stderr(&hub.run_expecting(1, &["restore", "latest", option, "--yes"]));
        assert!(
            said.contains("primary key was (id) in the backup"),
            "{said}"
        );
    }
    let counts = "SELECT concat((SELECT count(*) FROM \"no, (pk)\"), (SELECT count(*) FROM moved))";
    assert_eq!(database.value(counts), "22");
    // A key that is new hinders nothing.
    assert_eq!(database.value("SELECT count(*) FROM gained"), "2");
}
