//! Archives from a foreign source: SQL in them, and contradictory numbers and names.

use crate::forger::{Forgery, Good, ends};
use crate::hub::{stderr, stdout};
use hubvault_testkit::server;
use serde_json::{Value, json};
use std::process::Command;

/// Nothing may call it, and in a READ ONLY transaction nothing can.
const ACT: &str = "pg_catalog.nextval('public.ran') > 0";

fn window(archive: &mut Forgery, filter: &str, window: Option<Value>) {
    let table = &mut archive.manifest["tables"][0];
    table["coverage"] = json!("window");
    table["filter"] = json!(filter);
    match window {
        Some(window) => table["window"] = window,
        None => drop(table.as_object_mut().unwrap().remove("window")),
    }
}

#[test]
fn no_command_runs_a_condition_from_an_archive() {
    let server = server();
    let database = server.database();
    let good = Good::of(&database);
    database.execute("CREATE SEQUENCE ran");
    let recent = "name >= '2026-01-01 00:00:00+00' OR name IS NULL";
    let lies = [
        (ACT.to_owned(), None),
        (format!("true) OR ({ACT}"), None),
        (format!("{recent} OR {ACT}"), None),
        (format!("name >= '2026' OR {ACT} OR name IS NULL"), None),
        (
            format!("name >= ''||({ACT})::text||'' OR name IS NULL"),
            None,
        ),
        (ACT.to_owned(), Some(json!({ "where": ACT }))),
        (
            ACT.to_owned(),
            Some(json!({ "recent": { "column": "name", "from": "2026-01-01 00:00:00+00" } })),
        ),
        (recent.to_owned(), Some(json!({ "where": ACT }))),
        (
            format!("{ACT} >= '2026-01-01 00:00:00+00' OR {ACT} IS NULL"),
            Some(json!({ "recent": { "column": ACT, "from": "2026-01-01 00:00:00+00" } })),
        ),
        (
            format!("name >= '2026'' OR {ACT} OR ''' OR name IS NULL"),
            Some(json!({ "recent": { "column": "name", "from": format!("2026' OR {ACT} OR '") } })),
        ),
    ];
    for (filter, structure) in lies {
        let path = good.forge(|archive| window(archive, &filter, structure));
        for (before, after) in [
            (["diff"].as_slice(), ["--json"].as_slice()),
            (&["restore"], &["--missing-rows"]),
            (&["restore"], &["--upsert"]),
            (
                &["restore"],
                &[
                    "--table",
                    "users",
                    "--into-schema",
                    "beside",
                    "--no-progress",
                ],
            ),
            (&["show"], &[]),
        ] {
            let output = good.run(&path, before, after);
            let there = database.value("SELECT is_called FROM public.ran");
            assert_eq!(there, "f", "{before:?} ran {filter}: {}", stderr(&output));
        }
        database.execute("DROP SCHEMA IF EXISTS beside CASCADE");
    }
    // It says what the condition is, and what to do.
    let path = good.forge(|archive| window(archive, ACT, None));
    let said = stderr(&good.run(&path, &["diff"], &[]));
    assert!(
        said.contains("nextval") && said.contains("--trust-conditions"),
        "{said}"
    );
    // Even with a yes nothing can be written by it.
    good.run(&path, &["diff"], &["--trust-conditions"]);
    let there = database.value("SELECT is_called FROM public.ran");
    assert_eq!(there, "f");
    // What an earlier version wrote of a window of dates is compared as ever.
    let path = good.forge(|archive| window(archive, recent, None));
    let output = good.run(&path, &["diff"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn no_command_reads_a_view_that_an_archive_names() {
    let server = server();
    let database = server.database();
    let good = Good::of(&database);
    database.execute(
        "CREATE SEQUENCE ran; CREATE VIEW trap AS SELECT id + 0 * nextval('ran')::int AS id, name FROM users",
    );
    // Nor an extension's table, whose rows may be programs.
    database.execute(
        "CREATE TABLE jobs (id int PRIMARY KEY, name text); ALTER EXTENSION plpgsql ADD TABLE jobs",
    );
    for name in ["trap", "jobs"] {
        let path = good.forge(|archive| {
            archive.manifest["tables"][0]["name"] = json!(name);
            archive.rows()["table"]["name"] = json!(name);
        });
        for after in [&["--json"][..], &["--trust-conditions"]] {
            assert_eq!(good.run(&path, &["diff"], after).status.code(), Some(1));
        }
        for after in [
            &["--missing-rows"][..],
            &["--table", name],
            &["--table", name, "--into-schema", "b"],
        ] {
            let output = good.run(&path, &["restore"], after);
            assert_eq!(output.status.code(), Some(1), "{name} {after:?}");
        }
    }
    assert_eq!(database.value("SELECT count(*) FROM jobs"), "0");
    assert_eq!(database.value("SELECT is_called FROM ran"), "f");
}

#[test]
fn no_row_of_an_archive_is_written_to_a_system_catalog() {
    let server = server();
    let database = server.database();
    let good = Good::of(&database);
    for (schema, name) in [
        ("pg_catalog", "pg_authid"),
        ("pg_toast", "users"),
        ("information_schema", "sql_features"),
    ] {
        let path = good.forge(|archive| {
            let table = json!({ "schema": schema, "name": name });
            archive.manifest["tables"][0]["schema"] = json!(schema);
            archive.manifest["tables"][0]["name"] = json!(name);
            archive.rows()["table"] = table;
        });
        for after in [&["--missing-rows"][..], &["--upsert"], &["--table", "*.*"]] {
            let output = good.run(&path, &["restore"], after);
            assert_eq!(output.status.code(), Some(1));
            let said = stderr(&output);
            assert!(said.contains("PostgreSQL's own"), "{said}");
        }
    }
}

#[test]
fn a_diff_runs_no_function_of_a_types_owner() {
    let server = server();
    let database = server.database();
    let owner = format!("{}_owner", database.name());
    database.execute(&format!(
        "CREATE ROLE {owner}; GRANT CREATE ON SCHEMA public TO {owner}; CREATE SEQUENCE ran; GRANT USAGE ON ran TO {owner};
         SET ROLE {owner}; CREATE TYPE mood AS ENUM ('fine', 'bad'); CREATE TYPE pair AS (a mood, b int);
         CREATE FUNCTION spy(mood) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT nextval('public.ran')::text $$;
         CREATE CAST (mood AS text) WITH FUNCTION spy(mood);
         CREATE FUNCTION spy_json(mood) RETURNS json LANGUAGE sql VOLATILE
             AS $$ SELECT json_build_array(nextval('public.ran')) $$;
         CREATE CAST (mood AS json) WITH FUNCTION spy_json(mood); RESET ROLE;
         CREATE TABLE keyed (mood mood PRIMARY KEY, note mood); INSERT INTO keyed VALUES ('fine', 'bad');
         CREATE TABLE plain (mood mood, pair pair, many mood[], n int);
         INSERT INTO plain VALUES ('fine', ('bad', 1), '{{fine}}', 7), (NULL, NULL, NULL, NULL)"
    ));
    let hub = crate::hub::Hub::whole(&database);
    hub.backup();
    database.execute("UPDATE keyed SET note = 'fine'; DELETE FROM plain");
    let output = hub.run_expecting(3, &["diff", "latest", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found[0]["changed"], json!([{ "mood": "fine" }]));
    let missing = found[1]["missing"].as_array().unwrap();
    let row = json!({ "mood": "fine", "pair": "(bad,1)", "many": "{fine}", "n": 7 });
    let null = json!({ "mood": null, "pair": null, "many": null, "n": null });
    assert!(
        missing.len() == 2 && missing.contains(&row) && missing.contains(&null),
        "{found}"
    );
    assert_eq!(database.value("SELECT is_called FROM ran"), "f");
    database.execute(&format!("DROP OWNED BY {owner} CASCADE; DROP ROLE {owner}"));
}

/// A domain's CHECK runs over the role that loads a value, wherever in a value the domain is.
#[test]
fn rows_beside_the_living_ones_run_no_check_of_a_domains_owner() {
    let server = server();
    let database = server.database();
    let owner = format!("{}_owner", database.name());
    database.execute(&format!(
        "CREATE ROLE {owner}; GRANT CREATE ON SCHEMA public TO {owner}; CREATE SEQUENCE ran; GRANT ALL ON ran TO {owner};
         SET ROLE {owner};
         CREATE FUNCTION spy(text) RETURNS bool LANGUAGE plpgsql AS $$
             BEGIN PERFORM nextval('public.ran'); RETURN true; EXCEPTION WHEN OTHERS THEN RETURN true; END $$;
         CREATE DOMAIN short AS varchar(5) CHECK (spy(value)); CREATE DOMAIN shorter AS short NOT NULL;
         CREATE TYPE pair AS (a int, b shorter); CREATE TYPE span AS RANGE (subtype = short);
         CREATE TABLE keyed (id shorter PRIMARY KEY, note short);
         INSERT INTO keyed VALUES ('one', 'a'), ('two', NULL);
         CREATE TABLE inside (many short[], pair pair, pairs pair[], span span, n int);
         INSERT INTO inside VALUES ('{{x,y}}', (1, 'z'), ARRAY[ROW(2, 'w')::pair], '[a,b)', 7);
         RESET ROLE"
    ));
    let hub = crate::hub::Hub::whole(&database);
    hub.backup();
    database.execute(
        "UPDATE keyed SET note = 'b' WHERE id = 'one'; DELETE FROM inside; SELECT setval('ran', 1, false)",
    );
    let output = hub.run_expecting(3, &["diff", "latest", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |name: &str| {
        let all = found.as_array().unwrap();
        all.iter().find(|it| it["table"] == name).unwrap().clone()
    };
    assert_eq!(of("keyed")["changed"], json!([{ "id": "one" }]), "{found}");
    assert_eq!(
        of("inside")["missing"].as_array().unwrap().len(),
        1,
        "{found}"
    );
    for table in ["keyed", "inside"] {
        hub.run(&[
            "restore",
            "latest",
            "--table",
            table,
            "--missing-rows",
            "--dry-run",
        ]);
        let words = ["restore", "latest", "--table", table, "--into-schema"];
        hub.run_expecting(0, &[&words[..], &[&format!("beside_{table}")]].concat());
    }
    let beside = "SELECT id || ' ' || note FROM beside_keyed.keyed WHERE note IS NOT NULL";
    assert_eq!(database.value(beside), "one a");
    let beside =
        "SELECT many::text || pair::text || pairs::text || span::text FROM beside_inside.inside";
    assert_eq!(database.value(beside), "{x,y}(1,z){\"(2,w)\"}[a,b)");
    assert_eq!(database.value("SELECT is_called FROM ran"), "f");
    database.execute(&format!("DROP OWNED BY {owner} CASCADE; DROP ROLE {owner}"));
}

/// A lie and what it is about.
pub(crate) type Lie = (&'static str, fn(&mut Forgery));

pub(crate) fn false_numbers_and_names() -> Vec<Lie> {
    vec![
        ("header beyond the content", |a| {
            a.rows()["header_bytes"] =
                json!(a.entry("table-data").0["raw_bytes"].as_u64().unwrap() + 1);
        }),
        ("header and footer that overflow", |a| {
            a.rows()["header_bytes"] = json!(u64::MAX);
            a.rows()["footer_bytes"] = json!(2);
        }),
        ("more rows than bytes", |a| {
            a.rows()["rows"] = json!(1_u64 << 60);
            a.manifest["tables"][0]["rows"] = json!(1_u64 << 60);
        }),
        ("rows of one entry alone", |a| a.rows()["rows"] = json!(7)),
        ("content without end", |a| {
            a.entry("table-data").0["raw_bytes"] = json!(u64::MAX);
        }),
        ("content of an exabyte", |a| {
            a.entry("table-data").0["raw_bytes"] = json!(1_u64 << 60);
        }),
        ("a table twice", |a| {
            let table = a.manifest["tables"][0].clone();
            a.manifest["tables"].as_array_mut().unwrap().push(table);
        }),
        ("an entry twice in a table", |a| {
            let name = a.manifest["tables"][0]["entries"][0].clone();
            a.manifest["tables"][0]["entries"] = json!([name, name]);
        }),
        ("an entry that is not there", |a| {
            a.manifest["tables"][0]["entries"] = json!(["database/x.sql"]);
        }),
        ("a table without its entries", |a| {
            a.manifest["tables"] = json!([]);
        }),
        ("another table's entry", |a| {
            a.rows()["table"]["name"] = json!("others");
        }),
        ("other columns", |a| a.rows()["columns"] = json!(["id"])),
        ("a name with NUL", |a| {
            a.rows()["table"]["name"] = json!("us\0ers");
            a.manifest["tables"][0]["name"] = json!("us\0ers");
        }),
        ("bytes that overflow", |a| {
            a.manifest["tables"][0]["bytes"] = json!(u64::MAX);
        }),
        ("added rows", |a| {
            a.manifest["tables"][0]["added_rows"] = json!(u64::MAX);
        }),
        ("a checksum that is none", |a| {
            a.entry("info").0["sha256"] = json!("x".repeat(1 << 16));
        }),
        ("a mode that is none", |a| {
            a.entry("config").0["mode"] = json!(u32::MAX);
        }),
        ("a link without target", |a| {
            a.entry("config").0["kind"] = json!("link");
        }),
        ("rows in a file", |a| {
            a.entry("config").0["rows"] = a.rows().clone();
        }),
        ("a file that is no entry", |a| {
            a.manifest["files"][0]["name"] = json!("database/users.sql");
        }),
        ("an owner that is none", |a| {
            a.manifest["files"][0]["owner"] = json!([u32::MAX, u32::MAX]);
        }),
        ("a second manifest", |a| {
            a.entry("info").0["kind"] = json!("manifest");
        }),
    ]
}

#[test]
fn contradictory_numbers_and_names_are_an_error_in_every_command() {
    let server = server();
    let database = server.database();
    let good = Good::of(&database);
    let path = good.forge(|_| ());
    assert_eq!(good.run(&path, &["verify"], &[]).status.code(), Some(0));
    for (what, lie) in false_numbers_and_names() {
        let path = good.forge(lie);
        for (before, after) in [
            (["diff"].as_slice(), ["--no-progress"].as_slice()),
            (&["verify"], &[]),
            (&["restore"], &["--table", "users"]),
        ] {
            let output = good.run(&path, before, after);
            assert_eq!(
                output.status.code(),
                Some(1),
                "{what}, {before:?}: {}",
                stdout(&output)
            );
            assert!(!stderr(&output).is_empty(), "{what}");
        }
    }
}

#[test]
fn a_drill_of_a_forged_archive_ends_within_its_time_limit() {
    let server = server();
    let database = server.database();
    let good = Good::of(&database);
    let path = good.forge(false_numbers_and_names()[0].1);
    let drills = tempfile::tempdir().unwrap();
    let mut command: Command = good.hub.command(&["drill", path.to_str().unwrap()]);
    command.env("PROOF_DIRECTORY", drills.path());
    assert_eq!(ends(command, &["drill"]).status.code(), Some(1));
}
