//! A definition that cannot be rebuilt, or only another way, never costs the archive.

use crate::drill::drilling;
use crate::hub::{Hub, stderr, stdout};
use crate::mailing::{only_mail, send_mail_to, text, without_tls};
use hubvault_testkit::{MailServer, MailTls, database_with, server};
use serde_json::Value;

/// Functions that name others without a schema, in an index, a CHECK, a generated column and a materialized view.
pub(crate) const NAMES: &str = "CREATE EXTENSION unaccent;
    CREATE FUNCTION plain(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT unaccent($1)';
    CREATE TABLE person (name text); INSERT INTO person VALUES ('Zoë'); CREATE INDEX ON person (plain(name));
    CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
    CREATE FUNCTION four(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
        'BEGIN RETURN twice(twice($1)); END';
    CREATE TABLE numbers (v int CHECK (four(v) < 10), w int GENERATED ALWAYS AS (four(v)) STORED);
    INSERT INTO numbers VALUES (1);
    CREATE TABLE zone (id int, n int); INSERT INTO zone VALUES (1, 5);
    CREATE FUNCTION zone_n(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n FROM public.zone WHERE id = $1';
    CREATE TABLE later (id int, n int GENERATED ALWAYS AS (zone_n(id)) STORED); INSERT INTO later VALUES (1);
    CREATE MATERIALIZED VIEW seen AS SELECT four(v) AS four FROM numbers;";

/// Rows that their own rules refuse: foreign keys of an ordinary table and of a partition, and a domain's CHECK.
pub(crate) const ORPHANS: &str = "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1);
    CREATE TABLE c (id int PRIMARY KEY, \"P\" int CONSTRAINT \"C; p\" REFERENCES p);
    CREATE TABLE parted (k int, p int CONSTRAINT parted_p REFERENCES p) PARTITION BY LIST (k);
    CREATE TABLE part1 PARTITION OF parted FOR VALUES IN (1);
    CREATE TABLE part2 PARTITION OF parted FOR VALUES IN (2);
    SET session_replication_role = replica;
    INSERT INTO c SELECT n, 40 + n FROM generate_series(1, 5) n; INSERT INTO parted VALUES (1, 1), (2, 7);
    RESET session_replication_role;
    CREATE FUNCTION lower_bound() RETURNS int LANGUAGE sql STABLE AS 'SELECT 0';
    CREATE DOMAIN \"a size\" AS int NOT NULL CONSTRAINT size_least CHECK (VALUE > lower_bound()) CONSTRAINT size_most CHECK (VALUE < 9);
    COMMENT ON CONSTRAINT size_least ON DOMAIN \"a size\" IS 'domain';
    CREATE TABLE sized (v \"a size\"); INSERT INTO sized VALUES (1);
    CREATE OR REPLACE FUNCTION lower_bound() RETURNS int LANGUAGE sql STABLE AS 'SELECT 2';";

/// More objects that cannot be made again than a reason names.
const MANY: &str = "DO $$ BEGIN FOR n IN 1..6 LOOP
        EXECUTE format('CREATE TABLE m%1$s (id int); INSERT INTO m%1$s VALUES (1), (1); CREATE INDEX m%1$s_i ON m%1$s (id)', n);
    END LOOP; END $$;
    UPDATE pg_index SET indisunique = true WHERE indexrelid::regclass::text ~ '^m[1-6]_i$';";

/// What cannot be made again at all: an index with a key twice, and rows that a view divides by.
pub(crate) const LOST: &str =
    "CREATE TABLE d (id int); INSERT INTO d VALUES (1), (1); CREATE INDEX d_id ON d (id);
    UPDATE pg_index SET indisunique = true WHERE indexrelid = 'd_id'::regclass;
    COMMENT ON INDEX d_id IS 'goes with it';
    CREATE TABLE z (v int); INSERT INTO z VALUES (1);
    CREATE MATERIALIZED VIEW ratio AS SELECT 1 / v AS r FROM z; UPDATE z SET v = 0;";

fn list(record: &Value, field: &str) -> String {
    let list = record["proof"]["drill"][field].as_array();
    let said = list.into_iter().flatten().filter_map(Value::as_str);
    said.collect::<Vec<_>>().join("\n")
}

fn has(text: &str, all: &[&str]) {
    for part in all {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn what_cannot_be_rebuilt_is_named_and_the_rows_are_published() {
    let server = server();
    let source = server.database();
    source.execute(&[NAMES, ORPHANS, LOST].concat());
    // A function may name things of several schemas: the printed cure keeps the whole path.
    let path = format!(
        "CREATE SCHEMA \"Oth er\"; ALTER DATABASE {} SET search_path = \"Oth er\", public",
        source.name()
    );
    source.execute(&path);
    let (hub, _drills) = drilling(&source);
    let backup = |code| {
        let output = hub.run_expecting(code, &["backup", "--json"]);
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let record = backup(3);
    assert_eq!(record["state"], "unproven", "{record}");
    has(
        record["proof"]["reason"].as_str().unwrap(),
        &[
            "rows equal; not rebuilt: ",
            "index d_id (could not create unique index \"d_id\"; Key (id)=(1) is duplicated)",
            "and 1 object that needs it",
            "the rows of materialized view ratio (division by zero",
            "foreign key parted_p on parted (rows break it; its partitions have it NOT VALID; \
             new partitions will not get it)",
        ],
    );
    // What could not be made is not missing once more.
    let reason = record["proof"]["reason"].to_string();
    assert!(!reason.contains("definitions differ"), "{reason}");
    let not_valid = [
        "foreign key C; p on c (5 rows of c refer to missing rows of p: P = 41; 42; 43, …)",
        "check constraint size_least on \"a size\" (values of rows break it)",
        "foreign key parted_p on parted (1 row of part2 refers to a missing row of p: p = 7)",
    ];
    has(&list(&record, "not_valid"), &not_valid);
    let notes = [
        "index person_plain_idx needs the source's search_path (function plain() names unaccent() without a schema; \
         ALTER FUNCTION public.plain(text) SET search_path = \"Oth er\", public)",
        "filling materialized view seen needs the source's search_path (function four() names twice() without a schema; \
         ALTER FUNCTION public.four(integer) SET search_path = \"Oth er\", public)",
    ];
    has(&list(&record, "notes"), &notes);
    assert_eq!(
        record["proof"]["drill"]["not_provable"],
        serde_json::json!([])
    );

    // A restore says the same and has all rows.
    let target = server.database();
    let words = ["restore", "latest", "--database", target.name()];
    let restored = hub.run_expecting(3, &words);
    has(&stderr(&restored), &not_valid);
    has(&stderr(&restored), &["not rebuilt: index d_id"]);
    has(
        &stdout(&restored),
        &["every row equal; 3 of the definitions"],
    );
    let made = "SELECT string_agg(conname || convalidated::text || conrelid::regclass, ' ' ORDER BY conname, conrelid::regclass::text)
        FROM pg_constraint WHERE conname IN ('C; p', 'parted_p')";
    assert_eq!(
        target.value(made),
        "C; pfalsec parted_ptruepart1 parted_pfalsepart2"
    );
    assert_eq!(target.value("SELECT four FROM seen"), "4");

    // Rows that break a rule of the source are a warning and no lost proof, and nothing is left of it once they are gone.
    source.execute(
        "DROP TABLE d; DROP MATERIALIZED VIEW ratio;
         SET session_replication_role = replica; DELETE FROM parted WHERE p = 7",
    );
    let record = backup(3);
    assert_eq!(record["state"], "proven", "{record}");
    let warnings = record["warnings"].to_string();
    has(
        &warnings,
        &["2 constraints came back NOT VALID", "P = 41; 42; 43"],
    );
    has(&stdout(&hub.run(&["show", "latest"])), &not_valid[..2]);
    source.execute("SET session_replication_role = replica; DELETE FROM c; DELETE FROM sized");
    let record = backup(0);
    assert_eq!(record["state"], "proven", "{record}");
    has(&list(&record, "notes"), &notes);
}

#[test]
fn every_object_that_cannot_be_rebuilt_is_in_the_mail_and_shown() {
    let source = server().database();
    source.execute(MANY);
    let (mut hub, _drills) = drilling(&source);
    let server = MailServer::start(without_tls());
    send_mail_to(&mut hub, &server, MailTls::Plain);
    hub.run_expecting(3, &["backup"]);
    let mail = text(&only_mail(&server)).to_owned();
    let shown = stdout(&hub.run(&["show", "latest"]));
    for n in 1..=6 {
        let object = format!("index m{n}_i (could not create unique index");
        has(&shown, &[&object]);
        has(&mail.replace(['\n', '\r'], " "), &[&object]);
    }
}

#[test]
fn rows_that_cannot_be_loaded_leave_the_archive_unproven_and_appear_in_no_message() {
    let server = server();
    let source = server.database();
    source.execute(
        "CREATE TABLE kept (id int); INSERT INTO kept VALUES (1);
         CREATE TABLE users (id int, word text, plan int); INSERT INTO users VALUES (7, 'a secret', NULL);
         UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'users'::regclass AND attname = 'plan'",
    );
    let (mut hub, _drills) = drilling(&source);
    // Nor are rows that are not there compared with what the source said of them.
    hub.set("PROOF_SOURCE_DIGEST", "always");
    let output = hub.run_expecting(3, &["backup"]);
    let text = stdout(&output) + &stderr(&output);
    has(
        &text,
        &[
            "unproven: the rows of users could not be loaded: restoring users",
            "null value in column \"plan\"",
        ],
    );
    assert!(!text.contains("a secret"), "{text}");
    hub.run_expecting(0, &["verify", "latest"]);
}

#[test]
fn rows_that_a_check_refuses_are_loaded_and_the_check_is_not_valid() {
    let server = server();
    let source = server.database();
    // The server adds no CHECK to a domain inside an array, unless it is NOT VALID.
    source.execute(
        "CREATE TABLE zone (id int); INSERT INTO zone VALUES (1);
         CREATE FUNCTION there(int) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM public.zone WHERE id = $1)';
         CREATE DOMAIN known AS int CHECK (there(VALUE));
         CREATE TABLE boxed (id int PRIMARY KEY, v known[]); INSERT INTO boxed VALUES (1, '{1}');
         CREATE TABLE unboxed (v known); INSERT INTO unboxed VALUES (1); DELETE FROM zone;
         CREATE TABLE own (id int PRIMARY KEY, n int); INSERT INTO own VALUES (1, 5), (2, -5);
         ALTER TABLE own ADD CONSTRAINT \"po si\" CHECK (n > 0) NOT VALID;
         UPDATE pg_constraint SET convalidated = true WHERE conname = 'po si';
         -- Its rows need the source's search_path before the CHECK can refuse them.
         CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
         CREATE FUNCTION four(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN twice(twice($1)); END';
         CREATE TABLE by_path (n int, f int GENERATED ALWAYS AS (four(n)) STORED); INSERT INTO by_path VALUES (-5);
         ALTER TABLE by_path ADD CONSTRAINT above CHECK (n > 0) NOT VALID;
         UPDATE pg_constraint SET convalidated = true WHERE conname = 'above'",
    );
    let (hub, _drills) = drilling(&source);
    let output = hub.run(&["backup", "--json"]);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["state"], "proven", "{record}");
    let not_valid = [
        "check constraint known_check on known (",
        "check constraint po si on own (1 row of own breaks it: id = 2)",
        "check constraint above on by_path (1 row of by_path breaks it",
    ];
    has(&list(&record, "not_valid"), &not_valid);
    // Something is left to do, whoever looks.
    for again in [&["drill", "latest"][..], &["verify", "latest", "--drill"]] {
        has(&stdout(&hub.run_expecting(3, again)), &not_valid);
    }
    hub.run_expecting(0, &["verify", "latest"]);
    let target = server.database();
    let restore = ["restore", "latest", "--database", target.name()];
    has(&stderr(&hub.run_expecting(3, &restore)), &not_valid);
    let made = "SELECT string_agg(conname || convalidated, ' ' ORDER BY conname) FROM pg_constraint
        WHERE contype = 'c' AND oid >= 16384";
    assert_eq!(target.value(made), "abovefalse known_checkfalse po sifalse");
}

#[test]
fn what_code_of_the_database_makes_unreadable_is_not_called_equal() {
    // Whoever fills the view drops a column of an empty table, and one that is computed.
    let source = database_with(
        "CREATE TABLE empty (v int); CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
         CREATE TABLE t (v int, w int GENERATED ALWAYS AS (twice(v)) STORED); INSERT INTO t VALUES (1);
         CREATE FUNCTION lose() RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE MATERIALIZED VIEW lost AS SELECT lose();
         CREATE OR REPLACE FUNCTION lose() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
             ALTER TABLE public.empty DROP COLUMN v; ALTER TABLE public.t DROP COLUMN w; RETURN 1; END $$",
    );
    let hub = Hub::whole(&source);
    hub.backup();
    let target = server().database();
    let restore = ["restore", "latest", "--database", target.name()];
    let output = hub.run_expecting(1, &restore);
    let said = stdout(&output) + &stderr(&output);
    has(
        &said,
        &[
            "empty: comparing empty: column \"v\" does not exist",
            "generated column w of t could not be compared: ",
        ],
    );
}

#[test]
fn what_is_not_compared_is_not_called_equal() {
    // The view changes the rows of the table whenever it is filled.
    let source = database_with(
        "CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b');
         CREATE FUNCTION change() RETURNS int LANGUAGE plpgsql AS 'BEGIN UPDATE public.t SET v = v || v; RETURN 1; END';
         CREATE MATERIALIZED VIEW changed AS SELECT change()",
    );
    let hub = Hub::whole(&source);
    hub.backup();
    let restore = |code, how: &[&str]| {
        let target = server().database();
        let words = ["restore", "latest", "--database", target.name()];
        let output = hub.run_expecting(code, &[&words, how].concat());
        stdout(&output) + &stderr(&output)
    };
    let differs = "row counts match, contents differ";
    assert!(restore(1, &[]).contains(differs));
    assert!(restore(1, &["--compare", "rows"]).contains(differs));
    let counted = restore(0, &["--compare", "counts"]);
    let uncompared = restore(0, &["--compare", "off"]);
    for (said, what) in [
        (
            &counted,
            "1 table, 2 rows; the counts match, contents were not compared\n",
        ),
        (
            &uncompared,
            "1 table, 2 rows in the archive; nothing was compared\n",
        ),
    ] {
        assert!(said.contains(what) && !said.contains("equal"), "{said}");
    }
    for how in ["rows", "counts", "off"] {
        let code = i32::from(how == "rows");
        let said = restore(code, &["--json", "--compare", how]);
        assert!(said.contains(&format!("\"compared\": \"{how}\"")), "{said}");
    }

    source.execute(
        "CREATE FUNCTION fewer() RETURNS int LANGUAGE sql AS 'DELETE FROM public.t WHERE id = (SELECT min(id) FROM public.t) RETURNING id';
         CREATE MATERIALIZED VIEW lost AS SELECT fewer()",
    );
    hub.backup();
    let fewer = restore(1, &["--compare", "counts"]);
    assert!(
        fewer.contains("t: 1 row in the archive, 0 in the database"),
        "{fewer}"
    );
    assert!(!restore(0, &["--compare", "off"]).contains("equal"));
    // What puts rows into a living database always compares them.
    for other in [
        "--table=t",
        "--missing-rows",
        "--upsert",
        "--as-previewed=x",
    ] {
        restore(2, &["--compare", "counts", other]);
    }
}
