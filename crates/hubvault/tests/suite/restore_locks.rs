//! Restores into a living database that meet another restore, or locks of other sessions.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{Database, database_with, server, wait_for};
use std::process::{Child, Output, Stdio};

const TABLES: &str = "CREATE TABLE aa (id int PRIMARY KEY); CREATE TABLE zz (id int PRIMARY KEY);
    INSERT INTO aa VALUES (1), (2), (3); INSERT INTO zz VALUES (1), (2)";

/// A database with a backup, and one that is whole and must not be changed.
fn hub() -> (Hub, Database) {
    let database = database_with(TABLES);
    let hub = Hub::whole(&database);
    hub.backup();
    (hub, database)
}

fn start(hub: &Hub, words: &[&str]) -> Child {
    let mut command = hub.command(words);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(Stdio::null()).spawn().unwrap()
}

/// Until a session waits for a lock on this table.
fn wait_for_waiting(database: &Database, table: &str) {
    let sql = format!(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
    );
    wait_for(
        || database.value(&sql) != "0",
        || format!("a lock on {table}"),
    );
}

fn signal(child: &Child, signal: &str) {
    let process = child.id().to_string();
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args([signal, &process]).status().unwrap().success());
}

fn ended(child: Child, code: i32) -> Output {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    output
}

#[test]
fn a_second_restore_into_a_database_is_refused_while_one_runs() {
    let (hub, database) = hub();
    let before = database.digests();
    database.execute("TRUNCATE aa");
    let mut other = database.client();
    other
        .batch_execute("BEGIN; LOCK TABLE aa IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let first = start(&hub, &["restore", "latest", "--table", "aa"]);
    wait_for_waiting(&database, "aa");
    // It does not give up meanwhile.
    signal(&first, "-STOP");
    for words in [
        ["--clean", "--yes"].as_slice(),
        &["--table", "aa"],
        &["--table", "aa", "--missing-rows"],
    ] {
        let words = [&["restore", "latest"], words].concat();
        let said = stderr(&hub.run_expecting(1, &words));
        assert!(
            said.contains("another restore is running there: process ")
                && said.contains("(hubvault")
                && said.contains("since 2")
                && said.contains("wait until it ends"),
            "{said}"
        );
    }
    // Reading is not refused, and no mark is left of what did nothing.
    hub.run_expecting(3, &["restore", "latest", "--dry-run"]);
    other.batch_execute("ROLLBACK").unwrap();
    signal(&first, "-CONT");
    ended(first, 0);
    assert_eq!(database.digests(), before);
    let said = stdout(&hub.run_expecting(0, &["restore", "--resolved"]));
    assert_eq!(said, "no restore was left unfinished\n");
    hub.run_expecting(0, &["restore", "latest", "--clean", "--yes"]);
    assert_eq!(database.digests(), before);
}

#[test]
fn a_restore_waits_for_locks_for_a_short_time_and_names_who_has_them() {
    let (hub, database) = hub();
    let before = database.digests();
    let mut other = database.client();
    let lock = r"SELECT 'C:\', 'hush', $a$hush$a$; BEGIN; LOCK TABLE zz IN ACCESS SHARE MODE";
    other.batch_execute(lock).unwrap();
    let words = ["restore", "latest", "--clean", "--yes"];
    let said = stderr(&hub.run_expecting(1, &words));
    let process: i32 = other
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    assert!(
        said.contains(&format!("process {process}, "))
            && said.contains("SELECT ... (holds on public.zz")
            && !said.contains("hush"),
        "{said}"
    );
    assert!(said.contains("pg_terminate_backend"), "{said}");
    assert_eq!(database.digests(), before, "nothing was dropped");
    let said = stdout(&hub.run_expecting(0, &["restore", "--resolved"]));
    assert_eq!(said, "no restore was left unfinished\n");
    // A lock that is given back meanwhile costs nothing.
    let waiting = start(&hub, &words);
    wait_for_waiting(&database, "zz");
    other.batch_execute("ROLLBACK").unwrap();
    ended(waiting, 0);
    assert_eq!(database.digests(), before);
}

#[test]
fn a_preview_does_not_wait_for_a_lock_without_limit() {
    let (hub, database) = hub();
    let mut other = database.client();
    other
        .batch_execute("BEGIN; LOCK TABLE zz IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let words = ["restore", "latest", "--clean", "--dry-run"];
    let said = stderr(&hub.run_expecting(1, &words));
    assert!(said.contains("holds on public.zz"), "{said}");
}

#[test]
fn rows_are_put_back_without_waiting_for_a_lock_for_ever() {
    let (hub, database) = hub();
    let before = database.digests();
    let refused = |code, words: &[&str]| {
        let words = [&["restore", "latest", "--table", "aa"], words].concat();
        let output = hub.run_expecting(code, &words);
        let said = stdout(&output) + &stderr(&output);
        assert!(
            said.contains("holds on public.aa") && said.contains("pg_terminate_backend"),
            "{words:?}: {said}"
        );
    };
    let mut other = database.client();
    let lock = "BEGIN; LOCK TABLE aa IN ACCESS EXCLUSIVE MODE";
    other.batch_execute(lock).unwrap();
    refused(1, &["--dry-run"]);
    refused(3, &["--missing-rows", "--dry-run"]);
    let output = hub.run_expecting(1, &["diff", "latest", "--table", "aa"]);
    let said = stdout(&output) + &stderr(&output);
    assert!(said.contains("holds on public.aa"), "{said}");
    other.batch_execute("ROLLBACK").unwrap();
    // A row that is not there yet, and may be at any time.
    database.execute("DELETE FROM aa WHERE id = 1");
    let insert = "BEGIN; INSERT INTO aa VALUES (1)";
    other.batch_execute(insert).unwrap();
    refused(1, &["--upsert"]);
    assert_eq!(database.value("SELECT count(*) FROM aa"), "2");
    let words = ["restore", "latest", "--table", "aa", "--missing-rows"];
    other.batch_execute("ROLLBACK").unwrap();
    hub.run_expecting(0, &words);
    assert_eq!(database.digests(), before);
    database.execute("TRUNCATE aa");
    // Who reads an empty table keeps its triggers from being silenced.
    database.execute(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER t BEFORE INSERT ON aa FOR EACH ROW EXECUTE FUNCTION f()",
    );
    other
        .batch_execute("BEGIN; LOCK TABLE aa IN SHARE MODE")
        .unwrap();
    refused(1, &[]);
    other.batch_execute("ROLLBACK").unwrap();
    hub.run_expecting(0, &["restore", "latest", "--table", "aa"]);
    assert_eq!(database.digests(), before);
}

#[test]
fn what_cannot_be_compared_is_a_warning_and_no_difference() {
    let source = database_with(
        "CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE TABLE hp (id int, m mood, t text) PARTITION BY HASH (m);
         CREATE TABLE hp0 PARTITION OF hp FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE hp1 (t text, id int, m mood);
         ALTER TABLE hp ATTACH PARTITION hp1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO hp SELECT n, CASE n % 2 WHEN 0 THEN 'sad' ELSE 'ok' END::mood, 'x' FROM generate_series(1, 50) n",
    );
    let hub = Hub::whole(&source);
    hub.backup();
    let target = server().database();
    let into = ["restore", "latest", "--database", target.name()];
    let output = hub.run_expecting(3, &into);
    let (said, text) = (stderr(&output), stdout(&output));
    assert!(
        said.contains("hp: the row count matches, its contents could not be compared"),
        "{said}"
    );
    assert!(
        text.contains("equal but in 1 table, whose contents"),
        "{text}"
    );
    assert_eq!(target.value("SELECT count(*) FROM hp"), "50");
    target.execute("DROP TABLE hp; DROP TYPE mood");
    let json = hub.run_expecting(3, &[into.as_slice(), &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["not_compared"], serde_json::json!(["hp"]), "{json}");
}

#[test]
fn a_dry_run_is_read_from_a_file_of_bounded_size() {
    let (hub, database) = hub();
    let before = database.digests();
    let restore = |from: &str| {
        let words = [
            "restore",
            "latest",
            "--clean",
            "--yes",
            "--as-previewed",
            from,
        ];
        stderr(&hub.run_expecting(1, &words))
    };
    let said = restore("/dev/zero");
    assert!(said.contains("/dev/zero: it is no regular file"), "{said}");
    let large = hub.backups().join("large.json");
    let file = std::fs::File::create(&large).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    let said = restore(large.to_str().unwrap());
    assert!(said.contains("it has more than 67.1 MB"), "{said}");
    assert_eq!(database.digests(), before);
}

#[test]
fn a_partition_that_comes_while_a_restore_waits_is_not_dropped_with_its_table() {
    let database = database_with(
        "CREATE TABLE days (d int) PARTITION BY LIST (d); CREATE TABLE one PARTITION OF days FOR VALUES IN (1);
         INSERT INTO days VALUES (1)",
    );
    let hub = Hub::whole(&database);
    hub.backup();
    database.execute("CREATE TABLE two (d int); INSERT INTO two VALUES (2), (2)");
    let mut other = database.client();
    let attach = "BEGIN; ALTER TABLE days ATTACH PARTITION two FOR VALUES IN (2)";
    other.batch_execute(attach).unwrap();
    let restore = start(&hub, &["restore", "latest", "--clean", "--yes"]);
    wait_for_waiting(&database, "days");
    other.batch_execute("COMMIT").unwrap();
    let said = stderr(&ended(restore, 1));
    assert!(said.contains("with their tables: two; detach"), "{said}");
    assert_eq!(database.value("SELECT count(*) FROM days"), "3");
}
