//! A live database whose tables changed since the backup: what both have is compared and put back, the rest is named.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{Database, database_with};
use serde_json::{Value, json};

const BEFORE: &str = "
    CREATE TABLE a_gone (id int PRIMARY KEY);
    CREATE TABLE cols (id int PRIMARY KEY, kept text, dropped text, sum int);
    CREATE TABLE keyed (id int PRIMARY KEY, v text);
    CREATE TABLE same (id int PRIMARY KEY, v text);
    CREATE TABLE typed (id int PRIMARY KEY, \"odd, column x\" text, d numeric);
    INSERT INTO a_gone VALUES (1);
    INSERT INTO cols SELECT g, 'k' || g, 'd', g FROM generate_series(1, 5) g;
    INSERT INTO keyed SELECT g, 'v' || g FROM generate_series(1, 5) g;
    INSERT INTO same SELECT g, 'v' || g FROM generate_series(1, 5) g;
    INSERT INTO typed SELECT g, 'text ' || g, g FROM generate_series(1, 5) g";

const MEANWHILE: &str = "
    DROP TABLE a_gone;
    ALTER TABLE cols DROP dropped, ADD added text DEFAULT 'new', DROP sum,
        ADD sum int GENERATED ALWAYS AS (id) STORED;
    ALTER TABLE keyed RENAME id TO key;
    ALTER TABLE typed ALTER \"odd, column x\" TYPE int USING id, ALTER d TYPE text;
    DELETE FROM cols WHERE id = 1; UPDATE cols SET kept = 'other' WHERE id = 2;
    DELETE FROM keyed WHERE key = 1; DELETE FROM same WHERE id = 1; DELETE FROM typed WHERE id = 1";

fn drifted() -> (Database, Hub) {
    let database = database_with(BEFORE);
    let hub = Hub::whole(&database);
    hub.backup();
    hub.run_expecting(0, &["diff", "latest"]);
    database.execute(MEANWHILE);
    (database, hub)
}

#[test]
fn what_both_have_is_compared_and_no_table_hides_another() {
    let (database, hub) = drifted();
    let before = database.digests();
    let output = hub.run_expecting(1, &["diff", "latest", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |name: &str| {
        let mut tables = found.as_array().unwrap().iter();
        tables.find(|table| table["table"] == name).unwrap()
    };
    let error = of("a_gone")["error"].as_str().unwrap();
    assert!(error.contains("a_gone is not in the target"), "{error}");
    assert_eq!(of("a_gone")["missing"], Value::Null);
    assert_eq!(of("same")["missing"], json!([{ "id": 1 }]));
    assert_eq!(of("cols")["missing"], json!([{ "id": 1 }]));
    assert_eq!(of("cols")["changed"], json!([{ "id": 2 }]));
    let columns = &of("cols")["columns"];
    assert_eq!(columns["only_in_backup"], json!(["dropped"]));
    assert_eq!(columns["only_in_database"], json!(["added"]));
    assert_eq!(columns["computed"], json!(["sum"]));
    assert_eq!(of("keyed")["columns"]["key_not_in_backup"], json!(["key"]));
    assert_eq!(of("keyed")["missing"], json!([{ "v": "v1" }]));
    // A type that takes the values is no difference; the other is compared as text.
    let typed = of("typed");
    assert_eq!(typed["columns"]["retyped"], json!(["odd, column x"]));
    assert_eq!(typed["missing"], json!([{ "id": 1 }]));
    assert_eq!(typed["changed"].as_array().unwrap().len(), 4);
    let output = hub.run_expecting(1, &["diff", "latest"]);
    let (text, said) = (stdout(&output), stderr(&output));
    assert!(said.contains("could not compare a_gone"), "{said}");
    let drift =
        "only in the backup: dropped; only in the database: added; computed in the database: sum";
    assert!(text.contains(drift), "{text}");
    assert_eq!(database.digests(), before);
}

#[test]
fn equal_rows_are_not_called_equal_where_a_column_was_not_compared() {
    let database =
        database_with("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'v')");
    let hub = Hub::whole(&database);
    hub.backup();
    database.execute("ALTER TABLE t DROP v");
    let text = stdout(&hub.run_expecting(3, &["diff", "latest"]));
    assert!(text.contains("t: only in the backup: v"), "{text}");
}

#[test]
fn rows_are_put_back_where_they_can_be_and_beside_the_table_elsewhere() {
    let (database, hub) = drifted();
    let restore = |more: &[&str], code| {
        let mut words = vec!["restore", "latest"];
        words.extend(more);
        let output = hub.run_expecting(code, &words);
        (stdout(&output), stderr(&output))
    };
    let (_, said) = restore(&["--missing-rows"], 1);
    for part in [
        "nothing was put back into a_gone, keyed, typed",
        "the archive does not have its primary key (key)",
        "the type of \"odd, column x\" does not take",
        "--table 'typed' --into-schema",
        "cols has other columns than the backup",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let cols =
        "SELECT string_agg(concat(id, kept, added, sum), ' ' ORDER BY id) FROM cols WHERE id < 3";
    assert_eq!(database.value(cols), "1k1new1 2othernew2");
    assert_eq!(database.value("SELECT count(*) FROM same"), "5");
    assert_eq!(database.value("SELECT count(*) FROM keyed"), "4");
    restore(&["--table", "cols", "--upsert"], 3);
    assert_eq!(database.value(cols), "1k1new1 2k2new2");
    // Rows of a table alone are refused with the same proposal.
    database.execute("TRUNCATE cols");
    let (_, said) = restore(&["--table", "cols"], 1);
    assert!(
        said.contains("no column dropped") && said.contains("--into-schema"),
        "{said}"
    );
    // The command that it proposes.
    restore(
        &[
            "--table",
            "typed",
            "--table",
            "cols",
            "--table",
            "keyed",
            "--into-schema",
            "rescue",
        ],
        0,
    );
    let rescued = "SELECT concat(id, \"odd, column x\", d) FROM rescue.typed WHERE id = 1";
    assert_eq!(database.value(rescued), "1text 11");
    assert_eq!(
        database.value("SELECT count(dropped) FROM rescue.cols"),
        "5"
    );
    assert_eq!(database.value("SELECT count(id) FROM rescue.keyed"), "5");
}

#[test]
fn a_row_that_a_table_refuses_costs_no_other_table() {
    let database = database_with(
        "CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents VALUES (1), (2);
         CREATE TABLE strict (id int PRIMARY KEY); INSERT INTO strict VALUES (1), (2)",
    );
    let hub = Hub::whole(&database);
    hub.backup();
    database.execute(
        "DELETE FROM strict; DELETE FROM parents; ALTER TABLE strict ADD must int NOT NULL",
    );
    let output = hub.run_expecting(1, &["restore", "latest", "--missing-rows", "--json"]);
    assert!(stderr(&output).contains("nothing was put back into strict"));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done[0]["inserted"], 2, "{done}");
    let error = done[1]["error"].as_str().unwrap();
    assert!(
        error.contains("must") && error.contains("--into-schema"),
        "{error}"
    );
    assert_eq!(database.value("SELECT count(*) FROM parents"), "2");
}

#[test]
fn another_database_of_the_server_is_compared_by_its_name() {
    let database = database_with(BEFORE);
    let other = database_with(BEFORE);
    let hub = Hub::whole(&database);
    hub.backup();
    other.execute("DELETE FROM same WHERE id = 3");
    let text = stdout(&hub.run_expecting(3, &["diff", "latest", "--database", other.name()]));
    assert!(text.contains("same "), "{text}");
    let both = ["diff", "latest", "--database", "x", "--to", "dbname=x"];
    hub.run_expecting(2, &both);
}
