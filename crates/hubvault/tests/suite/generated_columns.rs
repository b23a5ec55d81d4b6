//! Generated columns are computed again by a restore, and compared where functions of users compute them.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{database_with, extract, run_restore_script, server};

/// The rows of `orders` were written before the function was changed.
const SOURCE: &str = "
CREATE FUNCTION with_tax(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 1.19';
CREATE TABLE orders (id int PRIMARY KEY, price numeric, \"in all, €\" numeric GENERATED ALWAYS AS (with_tax(price)) STORED,
    twice numeric GENERATED ALWAYS AS (price * 2) STORED);
INSERT INTO orders (id, price) SELECT n, n FROM generate_series(1, 100) n;
CREATE TABLE months (at date, price numeric, taxed numeric GENERATED ALWAYS AS (with_tax(price)) STORED)
    PARTITION BY RANGE (at);
CREATE TABLE months_1 PARTITION OF months FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE months_2 PARTITION OF months DEFAULT;
INSERT INTO months (at, price) SELECT date '2026-01-01' + n, n FROM generate_series(1, 60) n;
CREATE TABLE nothing (a int, b numeric GENERATED ALWAYS AS (with_tax(a)) STORED);
";
const CHANGED: &str = "CREATE OR REPLACE FUNCTION with_tax(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 1.16'";

#[test]
fn what_a_changed_function_would_compute_otherwise_is_found() {
    let source = database_with(SOURCE);
    let mut hub = Hub::whole(&source);
    hub.set("PROOF", "always");
    hub.run_expecting(0, &["backup"]);
    let restored = server().database();
    hub.run_expecting(0, &["restore", "latest", "--database", restored.name()]);
    assert_eq!(source.digests(), restored.digests());

    source.execute(CHANGED);
    source.execute("UPDATE months SET price = price");
    let said = stdout(&hub.run_expecting(3, &["backup"]));
    let why = "generated column in all, € of orders: other values than at the source";
    assert!(
        said.contains("unproven: rows equal; not rebuilt: "),
        "{said}"
    );
    assert!(
        said.contains(why) && !said.contains("months") && !said.contains("twice"),
        "{said}"
    );
    let restored = server().database();
    let output = hub.run_expecting(3, &["restore", "latest", "--database", restored.name()]);
    let said = stdout(&output) + &stderr(&output);
    assert!(
        said.contains(why) && said.contains("every row equal"),
        "{said}"
    );

    source.execute("UPDATE orders SET price = price");
    hub.run_expecting(0, &["backup"]);
}

/// The value of `mood` that each row has was deleted from the type after the function was changed.
const UNREADABLE: &str = "
CREATE TYPE mood AS ENUM ('ok', 'gone');
CREATE FUNCTION mood_of(int) RETURNS mood LANGUAGE sql IMMUTABLE AS $$ SELECT 'gone'::mood $$;
CREATE TABLE people (id int PRIMARY KEY, \"the <b>\nmood\" mood GENERATED ALWAYS AS (mood_of(id)) STORED);
INSERT INTO people (id) SELECT n FROM generate_series(1, 100) n;
CREATE TABLE others (id int PRIMARY KEY, m mood GENERATED ALWAYS AS (mood_of(id)) STORED);
CREATE OR REPLACE FUNCTION mood_of(int) RETURNS mood LANGUAGE sql IMMUTABLE AS $$ SELECT 'ok'::mood $$;
INSERT INTO others (id) SELECT n FROM generate_series(1, 100) n;
DELETE FROM pg_enum WHERE enumlabel = 'gone'";

#[test]
fn what_the_source_cannot_read_is_not_compared_and_ends_no_backup() {
    let source = database_with(UNREADABLE);
    let mut hub = Hub::whole(&source);
    let _drills = hub.prove();
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven", "{record:#}");
    let warnings = record["warnings"].as_array().unwrap();
    let said = warnings[0]["message"].as_str().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0]["code"], "not-compared");
    let what = "not compared: generated column the <b>\\nmood of people, which the server of the source cannot read: ";
    assert!(said.starts_with(what), "{said}");
    assert!(said.contains("invalid internal value for enum"), "{said}");
    let notes = record["proof"]["drill"]["notes"].as_array().unwrap();
    assert!(notes.contains(&warnings[0]["message"]), "{notes:?}");

    let restored = server().database();
    let output = hub.run_expecting(0, &["restore", "latest", "--database", restored.name()]);
    assert!(stdout(&output).contains("every row equal"));
    let said = stderr(&output);
    assert!(said.contains(what), "{said}");
    // So does whoever restores by hand.
    let directory = tempfile::tempdir().unwrap();
    extract(&archive, directory.path());
    let by_hand = run_restore_script(directory.path(), &server().database(), &[]);
    let said = stdout(&by_hand);
    assert!(by_hand.status.success() && said.contains(what), "{said}");
    let count = "SELECT count(*) FROM people WHERE \"the <b>\nmood\" = 'ok'";
    assert_eq!(restored.value(count), "100");

    // Those of another table are compared as ever.
    source.execute("CREATE OR REPLACE FUNCTION mood_of(int) RETURNS mood LANGUAGE sql IMMUTABLE AS 'SELECT NULL::mood'");
    let (record, _) = hub.backup();
    let reason = record["proof"]["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("generated column m of others: other values"),
        "{record:#}"
    );
}
