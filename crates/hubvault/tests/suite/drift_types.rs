//! Live columns whose types take the archive's values and change them: that is a difference, and nothing is put back.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::database_with;
use serde_json::{Value, json};

const NARROWED: &[(&str, &str, &str)] = &[
    ("timestamp", "'2026-01-02 03:04:05'", "date"),
    ("numeric(10,4)", "1.2345", "numeric(10,2)"),
    ("text", "'x   '", "varchar(1)"),
    ("text", "'x'", "char(10)"),
    ("text", "'yes'", "bool"),
    ("float8", "0.123456789", "float4"),
    ("json", "'{\"b\": 1,  \"a\": 2}'", "jsonb"),
    ("text", "'007'", "int"),
];

/// Tables `t0`, `t1` ... with a key, and `n0` ... without one.
fn narrowed() -> (String, String) {
    let (mut before, mut meanwhile) = (String::new(), String::new());
    for (number, (kind, value, to)) in NARROWED.iter().enumerate() {
        for (table, key) in [("t", "PRIMARY KEY"), ("n", "")] {
            let table = format!("{table}{number}");
            before += &format!(
                "CREATE TABLE {table} (id int {key}, kept text, v {kind});
                 INSERT INTO {table} VALUES (1, 'k', {value}), (2, 'k', NULL);"
            );
            meanwhile += &format!("ALTER TABLE {table} ALTER v TYPE {to} USING v::{to};");
        }
    }
    (before, meanwhile)
}

#[test]
fn a_type_that_changes_the_values_is_a_difference() {
    let (before, meanwhile) = narrowed();
    let database = database_with(&before);
    let hub = Hub::whole(&database);
    hub.backup();
    hub.run_expecting(0, &["diff", "latest"]);
    database.execute(&meanwhile);
    let output = hub.run_expecting(3, &["diff", "latest", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 2 * NARROWED.len());
    for table in found {
        assert_eq!(table["columns"]["retyped"], json!(["v"]), "{table}");
        let differs = if table["table"].as_str().unwrap().starts_with('t') {
            "changed"
        } else {
            "missing"
        };
        assert_eq!(table[differs].as_array().unwrap().len(), 1, "{table}");
    }
    for option in ["--missing-rows", "--upsert"] {
        let before = database.digests();
        let said = stderr(&hub.run_expecting(1, &["restore", "latest", option, "--yes"]));
        assert!(said.contains("the type of v does not take"), "{said}");
        assert_eq!(database.digests(), before);
    }
    // What the refusal proposes.
    let beside = ["restore", "latest", "--into-schema", "rescue"];
    let tables = ["--table", "t*", "--table", "n*"];
    hub.run_expecting(0, &[&beside[..], &tables[..]].concat());
    assert_eq!(
        database.value("SELECT v FROM rescue.t7 WHERE id = 1"),
        "007"
    );
    assert_eq!(
        database.value("SELECT v FROM rescue.n0 WHERE id = 1"),
        "2026-01-02 03:04:05"
    );
}

#[test]
fn a_key_of_another_type_overwrites_no_other_row() {
    let database = database_with(
        "CREATE TABLE zip (code text PRIMARY KEY, city text);
         INSERT INTO zip VALUES ('007', 'Bond'), ('8', 'Eight')",
    );
    let hub = Hub::whole(&database);
    hub.backup();
    database.execute(
        "DELETE FROM zip; ALTER TABLE zip ALTER code TYPE int USING 0;
         INSERT INTO zip VALUES (7, 'other'), (8, 'Eight')",
    );
    let text = stdout(&hub.run_expecting(3, &["diff", "latest"]));
    assert!(text.contains("zip: of another type: code"), "{text}");
    hub.run_expecting(1, &["restore", "latest", "--upsert", "--yes"]);
    let rows = "SELECT string_agg(concat(code, city), ',' ORDER BY code) FROM zip";
    assert_eq!(database.value(rows), "7other,8Eight");
}

#[test]
fn types_that_keep_the_values_are_no_difference() {
    let database = database_with(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(9), d numeric, gone text, sum int);
         INSERT INTO t VALUES (1, 'a', 1.5, E'g\\n', 7), (2, NULL, NULL, NULL, 8)",
    );
    let hub = Hub::whole(&database);
    hub.backup();
    database.execute(
        "ALTER TABLE t ALTER id TYPE bigint, ALTER v TYPE text, ALTER d TYPE text, DROP gone, DROP sum,
             ADD sum bool GENERATED ALWAYS AS (id > 1) STORED; DELETE FROM t WHERE id = 1",
    );
    let output = hub.run_expecting(3, &["diff", "latest", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found[0]["columns"]["retyped"], json!([]));
    assert_eq!(found[0]["missing"], json!([{ "id": 1 }]));
    hub.run_expecting(3, &["restore", "latest", "--missing-rows", "--yes"]);
    assert_eq!(database.value("SELECT d FROM t WHERE id = 1"), "1.5");
}

#[test]
fn rows_of_a_table_that_changes_them_are_not_left_in_it() {
    let database = database_with(
        "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1);
         CREATE TABLE narrow (id int PRIMARY KEY, at timestamp);
         INSERT INTO narrow VALUES (1, '2026-01-02 03:04:05')",
    );
    let hub = Hub::whole(&database);
    hub.backup();
    database.execute("TRUNCATE a, narrow; ALTER TABLE narrow ALTER at TYPE date");
    let both = ["restore", "latest", "--table", "a", "--table", "narrow"];
    let said = stderr(&hub.run_expecting(1, &both));
    assert!(
        said.contains("narrow") && said.contains("--into-schema"),
        "{said}"
    );
    let count = "SELECT concat((SELECT count(*) FROM a), (SELECT count(*) FROM narrow))";
    assert_eq!(database.value(count), "00");
    hub.run_expecting(1, &[&both[..], &["--keep-going"]].concat());
    assert_eq!(database.value(count), "10");
}
