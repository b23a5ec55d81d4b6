//! Functions, views, casts and sequences of the source's owner during a backup that a superuser takes.

use crate::hub::{Hub, stderr, stdout};
use crate::names_and_sources::unpacked;
use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, Session};
use hubvault_testkit::{database_with, execute, open_directory, server, value};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SCOPE: &str = "[scope]\ntables = [\"*\"]\nwindow = []\n";

/// A function of the owner that leaves `marker` where it runs with a superuser's rights.
fn owner_code(marker: &Path) -> String {
    format!(
        "CREATE FUNCTION act() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
           IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
             COPY (SELECT 1) TO PROGRAM 'cat >{}'; END IF; RETURN 1; END $$;
         CREATE FUNCTION pure(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
           $$ BEGIN RETURN public.act() * v; END $$;",
        marker.display()
    )
}

/// A database of a role that is no superuser, and a directory to which the server may write.
fn owned_database(
    name: &str,
) -> (
    Arc<hubvault_testkit::Server>,
    ConnectSettings,
    ConnectSettings,
    tempfile::TempDir,
) {
    let server = server();
    let admin = server.settings("postgres");
    execute(&admin, &format!("CREATE ROLE {name} LOGIN"));
    execute(&admin, &format!("CREATE DATABASE {name} OWNER {name}"));
    let source = server.settings(name);
    execute(&source, &format!("ALTER SCHEMA public OWNER TO {name}"));
    let owner = ConnectSettings {
        user: name.to_owned(),
        ..source.clone()
    };
    let marks = open_directory();
    (server, source, owner, marks)
}

/// Whether a view of the owner that a superuser reads leaves the marker.
fn trap_works(superuser: &ConnectSettings, owner: &ConnectSettings, marker: &Path) -> bool {
    execute(owner, "CREATE VIEW trap AS SELECT act() AS last_value");
    value(superuser, "SELECT last_value FROM trap");
    execute(owner, "DROP VIEW trap");
    marker.exists()
}

#[test]
fn a_sequence_replaced_by_a_view_runs_no_code_of_its_owner() {
    let (_server, source, owner, marks) = owned_database("swapper");
    let marker = marks.path().join("pwned");
    execute(&owner, &owner_code(&marker));
    execute(
        &owner,
        "CREATE TABLE t (id int);
         DO $$ BEGIN FOR i IN 1..800 LOOP EXECUTE format('CREATE SEQUENCE aa%s', i); END LOOP; END $$;
         CREATE SEQUENCE zz",
    );
    let stop = AtomicBool::new(false);
    let hub = Hub::at(&source, SCOPE);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                execute(
                    &owner,
                    "BEGIN; DROP SEQUENCE zz; CREATE VIEW zz AS
                       SELECT act() AS last_value, true AS is_called, 0::oid AS tableoid; COMMIT; SELECT pg_sleep(0.03);
                     BEGIN; DROP VIEW zz; CREATE SEQUENCE zz; COMMIT; SELECT pg_sleep(0.03);",
                );
            }
        });
        for _ in 0..2 {
            let output = hub.run(&["backup", "--json"]);
            assert!(
                matches!(output.status.code(), Some(0 | 1 | 3)),
                "{}",
                stderr(&output)
            );
        }
        stop.store(true, Ordering::Release);
    });
    assert!(
        !marker.exists(),
        "the owner's function ran as the backup's role"
    );
    assert!(trap_works(&source, &owner, &marker), "the attack is none");
    // Nor does a lock on one hold up the backup.
    let mut holder = Session::connect(&owner, &Cancel::new()).unwrap();
    let hold = "BEGIN; DROP SEQUENCE public.aa3";
    holder.simple("holding a lock", hold).unwrap();
    let locked = hub.run_expecting(3, &["backup", "--json"]);
    assert!(
        stdout(&locked).contains("the sequence aa3 was changed"),
        "{}",
        stdout(&locked)
    );
    drop(holder);
    // Its value is unchanged, called or not.
    execute(
        &owner,
        "SELECT setval('aa1', 500, false); SELECT setval('aa2', 7)",
    );
    let (record, archive) = hub.backup();
    assert_eq!(record["warnings"].to_string(), "[]");
    let sql =
        std::fs::read_to_string(unpacked(&archive).path().join("database/sequences.sql")).unwrap();
    assert!(
        sql.contains("setval('public.aa1'::pg_catalog.regclass, 500, false)"),
        "{sql:.300}"
    );
    assert!(
        sql.contains("setval('public.aa2'::pg_catalog.regclass, 7, true)"),
        "{sql:.300}"
    );
}

#[test]
fn index_functions_of_a_large_tables_owner_are_never_run() {
    let (_server, source, owner, marks) = owned_database("indexer");
    let marker = marks.path().join("pwned");
    execute(&owner, &owner_code(&marker));
    execute(
        &owner,
        "CREATE TABLE big (id int, filler text);
         ALTER TABLE big ALTER filler SET STORAGE PLAIN;
         INSERT INTO big SELECT n, repeat(n::text, 900) FROM generate_series(10000, 21000) n;
         CREATE INDEX ON big ((id + pure(7)));
         CREATE STATISTICS s ON (id * pure(2)), filler FROM big; ANALYZE big;
         ALTER DATABASE indexer SET constraint_exclusion = on;
         ALTER TABLE big ADD CHECK (pure(3) = 3)",
    );
    assert!(!marker.exists());
    let size = value(&source, "SELECT pg_relation_size('big') / (40 << 20)");
    assert_ne!(size, "0", "it is large enough to be cut");
    let hub = Hub::at(&source, SCOPE);
    let (record, _) = hub.backup();
    assert!(
        record["tables"].to_string().contains("11001"),
        "{}",
        record["tables"]
    );
    assert!(
        !marker.exists(),
        "the owner's function ran as the backup's role"
    );
    execute(
        &source,
        "EXPLAIN SELECT id FROM ONLY big WHERE ctid > '(1,0)'",
    );
    assert!(marker.exists(), "the attack is none");
}

#[test]
fn a_role_with_more_rights_than_reading_is_reported_with_statements_for_a_lesser_one() {
    let (_server, source, _, _) = owned_database("adviser");
    execute(
        &source,
        "CREATE TABLE users (id serial PRIMARY KEY); INSERT INTO users DEFAULT VALUES;
         ALTER TABLE users ENABLE ROW LEVEL SECURITY",
    );
    let hub = Hub::at(&source, SCOPE);
    let run = hub.run(&["backup", "--json"]);
    assert!(stderr(&run).contains("is a superuser"), "{}", stderr(&run));
    let record: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(
        record["warnings"].to_string(),
        "[]",
        "it is no warning of the record"
    );
    assert!(stdout(&hub.run(&["status"])).contains("is a superuser"));
    let plan = stdout(&hub.run(&["backup", "--dry-run"]));
    let statements: Vec<&str> = plan
        .lines()
        .map(str::trim)
        .filter(|line| line.contains("hubvault_backup"))
        .collect();
    assert_eq!(statements.len(), 4, "{plan}");
    for statement in statements {
        execute(&source, statement);
    }
    let lesser = ConnectSettings {
        user: "hubvault_backup".to_owned(),
        ..source
    };
    let hub = Hub::at(&lesser, SCOPE);
    let run = hub.run(&["backup"]);
    assert!(matches!(run.status.code(), Some(0 | 3)), "{}", stderr(&run));
    assert!(!stderr(&run).contains("superuser"), "{}", stderr(&run));
    assert!(stdout(&hub.run(&["status"])).contains("can only read"));
}

#[test]
fn an_owners_cast_is_not_run_when_a_window_is_read() {
    let (_server, source, owner, marks) = owned_database("caster");
    let marker = marks.path().join("pwned");
    execute(&owner, &owner_code(&marker));
    execute(
        &owner,
        "CREATE TYPE mood AS ENUM ('1', '2');
         CREATE TYPE late AS (v timestamptz);
         CREATE FUNCTION number(m mood) RETURNS int LANGUAGE plpgsql AS
           $$ BEGIN PERFORM public.act(); RETURN m::text::int; END $$;
         CREATE FUNCTION moment(l late) RETURNS timestamptz LANGUAGE plpgsql AS
           $$ BEGIN PERFORM public.act(); RETURN l.v; END $$;
         CREATE CAST (mood AS int) WITH FUNCTION number(mood) AS IMPLICIT;
         CREATE CAST (late AS timestamptz) WITH FUNCTION moment(late) AS IMPLICIT;
         CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents VALUES (1);
         CREATE TABLE children (at timestamptz, made late, parent mood REFERENCES parents(id));
         INSERT INTO children VALUES (now(), ROW(now()), '1')",
    );
    for column in ["at", "made"] {
        let toml = format!(
            "[scope]\ntables = []\n[[scope.window]]\ntables = [\"children\"]\ncolumn = \"{column}\"\n\
             length = \"7 days\"\n"
        );
        let refused = Hub::at(&source, &toml).backup_fails(1, &["cast function", "children"]);
        assert!(
            !marker.exists(),
            "the owner's cast ran as the backup's role: {refused}"
        );
    }
    execute(
        &source,
        "SELECT FROM children t JOIN parents p ON p.id = t.parent",
    );
    assert!(marker.exists(), "the attack is none");
}

#[test]
fn only_a_condition_in_the_configuration_may_name_a_view() {
    let source = database_with(
        "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 9);
         CREATE VIEW chosen AS SELECT id FROM users WHERE id > 6",
    );
    let toml = "[scope]\ntables = []\n[[scope.window]]\ntables = [\"users\"]\n\
                where = \"id IN (SELECT id FROM public.chosen)\"\n";
    let (record, _) = Hub::with(&source, toml).backup();
    assert_eq!(record["tables"][0]["rows"], 3, "{record}");
}

#[test]
fn a_diff_runs_no_index_function_of_the_tables_owner() {
    let (_server, source, owner, marks) = owned_database("differ");
    let marker = marks.path().join("pwned");
    execute(&owner, &owner_code(&marker));
    execute(
        &owner,
        "CREATE TABLE keyed (id int PRIMARY KEY, name text); CREATE INDEX ON keyed ((id + pure(7)));
         INSERT INTO keyed SELECT n, 'user ' || n FROM generate_series(1, 9) n;
         CREATE TABLE plain (v text); CREATE STATISTICS s ON (length(v) * pure(2)), v FROM plain;
         INSERT INTO plain VALUES ('a'), ('b'), ('b'), (NULL)",
    );
    let hub = Hub::at(&source, SCOPE);
    hub.backup();
    let diff = |code| {
        let output = hub.run_expecting(code, &["diff", "latest", "--json"]);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    diff(0);
    execute(
        &owner,
        "DELETE FROM keyed WHERE id = 3; UPDATE keyed SET name = 'x' WHERE id = 4; INSERT INTO keyed VALUES (10, 'new');
         DELETE FROM plain WHERE v = 'a'; INSERT INTO plain VALUES ('c')",
    );
    let found = diff(3);
    let is = |table: usize, what: &str, rows: serde_json::Value| {
        assert_eq!(found[table][what], rows, "{found}");
    };
    is(0, "missing", serde_json::json!([{ "id": 3 }]));
    is(0, "changed", serde_json::json!([{ "id": 4 }]));
    is(0, "extra", serde_json::json!([{ "id": 10 }]));
    is(1, "missing", serde_json::json!([{ "v": "a" }]));
    is(1, "extra", serde_json::json!([{ "v": "c" }]));
    let words = ["restore", "latest", "--table", "keyed", "--missing-rows"];
    let plan = hub.run_expecting(0, &[&words[..], &["--dry-run"]].concat());
    assert!(!marker.exists(), "{}", stdout(&plan));
    // Previews of a restore into the table, and over it.
    let lost = |rows: i64| {
        let output = hub.run_expecting(0, &["restore", "latest", "--clean", "--dry-run", "--json"]);
        let preview: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(preview["lost"]["keyed"], rows, "{preview}");
    };
    lost(9);
    execute(
        &owner,
        "DELETE FROM keyed; CREATE INDEX ON keyed (id) WHERE pure(1) = 1",
    );
    lost(0);
    let words = ["restore", "latest", "--table", "keyed", "--dry-run"];
    let plan = hub.run_expecting(0, &words);
    assert!(!marker.exists(), "{}", stdout(&plan));
    execute(&owner, "INSERT INTO keyed VALUES (1, 'x')");
    let plan = hub.run_expecting(3, &words);
    assert!(
        !marker.exists(),
        "the owner's function ran: {}",
        stdout(&plan)
    );
    execute(&source, "EXPLAIN SELECT FROM keyed WHERE id = 1");
    assert!(marker.exists(), "the attack is none");
}
