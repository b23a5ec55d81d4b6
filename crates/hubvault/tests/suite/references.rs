//! A window is restored with every foreign key valid: the rows that it references are included.

use crate::drill::drilling;
use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{Database, database_with, restore_with_plain_tools, server};
use serde_json::Value;

/// A backup with a window on `tables`, drilled: the drill validates every foreign key.
fn backup(database: &Database, tables: &str, window: &str) -> Value {
    let toml = format!(
        "[scope]\ntables = [\"settings\"]\n[[scope.window]]\ntables = [{tables}]\n{window}\n"
    );
    let mut hub = Hub::with(database, &toml);
    hub.set("PROOF", "always");
    let output = hub.run_expecting(0, &["backup", "--json"]);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["state"], "proven", "{record}");
    let archive = std::path::PathBuf::from(record["file"].as_str().unwrap());
    let target = server().database();
    restore_with_plain_tools(&archive, &target);
    let unchecked = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated";
    assert_eq!(target.value(unchecked), "0");
    record
}

fn rows(record: &Value, table: &str) -> u64 {
    let tables = record["tables"].as_array().unwrap();
    let found = tables.iter().find(|known| known["name"] == table);
    found.map_or(0, |known| known["rows"].as_u64().unwrap())
}

#[test]
fn a_refund_includes_its_purchase_and_its_user() {
    let database = database_with("CREATE TABLE settings (id int);
         CREATE TABLE users (id int PRIMARY KEY, invited_by int REFERENCES users);
         INSERT INTO users SELECT n, nullif(n - 1, 0) FROM generate_series(1, 10) n;
         INSERT INTO users SELECT n, NULL FROM generate_series(11, 1000) n;
         CREATE TABLE moves (id int PRIMARY KEY, user_id int REFERENCES users, refund_of int REFERENCES moves,
             created_at timestamptz);
         INSERT INTO moves SELECT n, n, NULL, now() - interval '400 days' FROM generate_series(1, 900) n;
         -- This week: a refund of an old purchase, a refund of that refund, one without any.
         INSERT INTO moves VALUES (901, 901, 5, now()), (902, 901, 901, now()), (903, NULL, NULL, now()), (904, 5, 5, now())");
    let window = "column = \"created_at\"\nlength = \"7 days\"";
    let record = backup(&database, "\"moves\"", window);
    assert_eq!(
        rows(&record, "moves"),
        4 + 1,
        "the purchase of last year, once"
    );
    assert_eq!(
        rows(&record, "users"),
        1 + 5,
        "user 901, user 5 and those who invited them"
    );
}

#[test]
fn a_row_that_is_neither_in_the_window_nor_outside_is_followed() {
    let database = database_with("CREATE TABLE settings (id int);
         CREATE TABLE moves (id int PRIMARY KEY, refund_of int REFERENCES moves, state text);
         INSERT INTO moves VALUES (1, NULL, NULL), (2, 1, 'open'), (3, NULL, 'closed'), (4, 3, 'open'), (5, NULL, 'closed')");
    let record = backup(&database, "\"moves\"", "where = \"state = 'open'\"");
    assert_eq!(rows(&record, "moves"), 4);
}

#[test]
fn cycles_composite_keys_partitions_and_unique_keys_are_followed() {
    let database = database_with("CREATE EXTENSION citext; CREATE TABLE settings (id int);
         -- A circle between two tables, one key deferrable.
         CREATE TABLE hens (id int PRIMARY KEY, egg int);
         CREATE TABLE eggs (id int PRIMARY KEY, hen int REFERENCES hens DEFERRABLE INITIALLY DEFERRED);
         INSERT INTO hens SELECT n, n % 50 + 1 FROM generate_series(1, 50) n;
         INSERT INTO eggs SELECT n, n FROM generate_series(1, 50) n;
         ALTER TABLE hens ADD FOREIGN KEY (egg) REFERENCES eggs;
         -- Two levels of partitions as a parent, by a composite key.
         CREATE TABLE places (region text, id int, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
         CREATE TABLE places_eu PARTITION OF places FOR VALUES IN ('eu') PARTITION BY RANGE (id);
         CREATE TABLE places_eu_1 PARTITION OF places_eu FOR VALUES FROM (0) TO (100);
         CREATE TABLE places_us PARTITION OF places FOR VALUES IN ('us');
         INSERT INTO places SELECT r, n FROM unnest(array['eu', 'us']) r, generate_series(1, 20) n;
         -- A unique constraint over a type of an extension, equal though written otherwise.
         CREATE TABLE accounts (id int PRIMARY KEY, mail citext UNIQUE);
         INSERT INTO accounts SELECT n, 'USER' || n || '@X' FROM generate_series(1, 50) n;
         -- The window itself is partitioned, too.
         CREATE TABLE orders (id int, at date, hen int REFERENCES hens, region text, place int,
             mail citext REFERENCES accounts (mail), FOREIGN KEY (region, place) REFERENCES places)
             PARTITION BY RANGE (id);
         CREATE TABLE orders_old PARTITION OF orders FOR VALUES FROM (0) TO (100);
         CREATE TABLE orders_new PARTITION OF orders FOR VALUES FROM (100) TO (1000);
         INSERT INTO orders SELECT n, current_date - 400, 9, 'us', 9, 'user9@x' FROM generate_series(1, 99) n;
         INSERT INTO orders VALUES (50, current_date, 1, 'eu', 3, 'user3@x'), (150, current_date, 1, 'us', 4, NULL),
             (151, current_date, NULL, 'us', NULL, 'uSer4@x')");
    let record = backup(&database, "\"orders\"", "where = \"at = current_date\"");
    assert_eq!(rows(&record, "orders_old") + rows(&record, "orders_new"), 3);
    assert_eq!(
        rows(&record, "hens"),
        50,
        "the circle leads through all of them"
    );
    assert_eq!(rows(&record, "eggs"), 50);
    assert_eq!(rows(&record, "places_eu_1"), 1);
    assert_eq!(rows(&record, "places_us"), 1);
    assert_eq!(rows(&record, "accounts"), 2);
}

#[test]
fn many_added_rows_come_in_several_extents_and_the_plan_counts_them() {
    let database = database_with(
        "CREATE TABLE settings (id int);
         CREATE TABLE cities (id int PRIMARY KEY);
         INSERT INTO cities SELECT n FROM generate_series(0, 6000) n;
         -- Rows that take long to load: another connection, which has loaded the visits, takes those that are left.
         CREATE TABLE users (id int PRIMARY KEY, name text, city int REFERENCES cities,
             slow text GENERATED ALWAYS AS (md5(repeat(name, 200))) STORED);
         INSERT INTO users SELECT n, md5(n::text), n / 10 FROM generate_series(1, 60000) n;
         CREATE TABLE visits (id int, user_id int REFERENCES users, at date, pad text);
         INSERT INTO visits SELECT n, n, current_date, repeat('x', 30) FROM generate_series(1, 50000) n;
         ANALYZE",
    );
    let window = "column = \"at\"\nlength = \"1 day\"";
    let record = backup(&database, "\"visits\"", window);
    assert_eq!(rows(&record, "users"), 50_000);
    // More users than are asked for at once.
    assert_eq!(rows(&record, "cities"), 5_001);
    let toml = "[scope]\ntables = [\"settings\"]\n[[scope.window]]\ntables = [\"visits\"]\n\
                column = \"at\"\nlength = \"1 day\"\n";
    let plan = stdout(&Hub::with(&database, toml).run(&["backup", "--dry-run"]));
    assert!(
        plan.contains("only 50,000 rows that others refer to"),
        "{plan}"
    );
}

#[test]
fn keys_that_lead_out_are_proven_and_restored_twice() {
    let database = database_with(
        "CREATE TABLE z (id int PRIMARY KEY); INSERT INTO z VALUES (1);
         CREATE TABLE c (id int, p int CONSTRAINT \"to; p\" REFERENCES z); INSERT INTO c VALUES (1, 1);
         COMMENT ON CONSTRAINT \"to; p\" ON c IS E'it''s;\n\\\\so';
         CREATE TABLE parted (k int, p int CONSTRAINT parted_p REFERENCES z) PARTITION BY LIST (k);
         CREATE TABLE part1 PARTITION OF parted FOR VALUES IN (1); INSERT INTO parted VALUES (1, 1)",
    );
    let (mut hub, _drills) = drilling(&database);
    hub.write("[scope]\ntables = [\"c\", \"parted\"]\nwindow = []\n");
    let output = hub.run_expecting(3, &["backup", "--json"]);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["state"], "proven", "{record}");
    let target = server().database();
    let words = ["restore", "latest", "--database", target.name()];
    let keys = "SELECT string_agg(concat_ws(' ', conname, conrelid::regclass, convalidated, obj_description(oid)), ', '
        ORDER BY conname, conrelid::regclass::text) FROM pg_constraint WHERE contype = 'f'";
    target.execute(
        "CREATE TABLE others (id int PRIMARY KEY, p int CONSTRAINT \"to; p\" REFERENCES others)",
    );
    // The second time over the first: what others refer to is dropped after the keys, and no other key of their names.
    for how in [&[][..], &["--clean", "--yes"]] {
        let output = hub.run(&[&words, how].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let expected = "parted_p part1 f, to; p c f it's;\n\\so, to; p others t";
        assert_eq!(target.value(keys), expected);
    }
}
