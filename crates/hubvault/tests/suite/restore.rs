//! `hubvault restore`: the same result as the archive's own script, and selective.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{NASTY, NASTY_LARGE, database_with, server};

#[test]
fn the_nasty_database_is_restored_equal() {
    let server = server();
    let source = server.database();
    source.execute(NASTY);
    let hub = Hub::whole(&source);
    hub.backup();
    let target = server.database();
    let output = hub.run_expecting(0, &["restore", "latest", "--database", target.name()]);
    assert!(stdout(&output).contains("every row equal"));
    assert_eq!(source.digests(), target.digests());
    // A second time it is refused, and nothing is touched.
    let again = hub.run_expecting(1, &["restore", "latest", "--database", target.name()]);
    assert!(
        stderr(&again).contains("already holds tables"),
        "{}",
        stderr(&again)
    );
    assert_eq!(source.digests(), target.digests());
}

#[test]
fn large_tables_are_restored_over_several_connections() {
    let server = server();
    let source = server.database();
    source.execute(NASTY_LARGE);
    let hub = Hub::whole(&source);
    hub.backup();
    let target = server.database();
    hub.run_expecting(
        0,
        &[
            "restore",
            "latest",
            "--database",
            target.name(),
            "--no-progress",
        ],
    );
    assert_eq!(source.digests(), target.digests());
}

#[test]
fn a_database_is_created_and_one_table_is_restored_into_a_live_one() {
    let source = database_with("CREATE TABLE users (id int PRIMARY KEY, name text);
         CREATE TABLE notes (id int, note text, at timestamptz);
         INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 100) n;
         INSERT INTO notes SELECT n, E'two\\n\\\\.\\nlines, \"quoted\"', now() FROM generate_series(1, 50) n;
         INSERT INTO notes VALUES (51, '', now()), (52, NULL, now())");
    let toml = "[scope]\ntables = [\"users\"]\n\
                [[scope.window]]\ntables = [\"notes\"]\ncolumn = \"at\"\nlength = \"1 day\"\n";
    let hub = Hub::with(&source, toml);
    hub.backup();
    let name = format!("{}_made", source.name());
    hub.run_expecting(0, &["restore", "latest", "--database", &name, "--create"]);
    let settings = hubvault_postgres::ConnectSettings {
        dbname: name.clone(),
        ..source.settings()
    };
    let url = format!(
        "host={} user={} dbname={name}",
        settings.host, settings.user
    );
    let again = hub.run(&["restore", "latest", "--to", &url, "--create"]);
    assert_eq!(again.status.code(), Some(1), "it exists already");

    let before = source.digests();
    let full = hub.run_expecting(1, &["restore", "latest", "--table", "notes"]);
    assert!(
        stderr(&full).contains("notes in the target is not empty"),
        "{}",
        stderr(&full)
    );
    source.execute("TRUNCATE notes");
    hub.run_expecting(0, &["restore", "latest", "--table", "notes"]);
    assert_eq!(source.digests(), before);
    let none = hub.run(&["restore", "latest", "--table", "ghosts"]);
    assert!(stderr(&none).contains("ghosts"), "{}", stderr(&none));
    source.execute(&format!("DROP DATABASE {name}"));
}

#[test]
fn configuration_files_are_restored_and_overwrite_nothing() {
    let database = database_with("CREATE TABLE users (id int)");
    let etc = tempfile::tempdir().unwrap();
    std::fs::create_dir(etc.path().join("ssl")).unwrap();
    std::fs::write(etc.path().join("ssl/key.pem"), "key").unwrap();
    std::os::unix::fs::symlink("key.pem", etc.path().join("ssl/current.pem")).unwrap();
    // Somebody else's, where we may give it away.
    let _ = std::os::unix::fs::chown(etc.path().join("ssl/key.pem"), Some(4321), Some(1234));
    let toml = format!(
        "[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = \"{}/ssl\"\n",
        etc.path().display()
    );
    let hub = Hub::with(&database, &toml);
    hub.backup();
    let out = etc.path().join("out");
    let words = ["restore", "latest", "--files", out.to_str().unwrap()];
    hub.run_expecting(0, &words);
    assert_eq!(
        std::fs::read_to_string(out.join("config/ssl/current.pem")).unwrap(),
        "key"
    );
    let owner = |path: &std::path::Path| {
        use std::os::unix::fs::MetadataExt;
        path.metadata()
            .map(|meta| (meta.uid(), meta.gid()))
            .unwrap()
    };
    let (key, back) = (
        etc.path().join("ssl/key.pem"),
        out.join("config/ssl/key.pem"),
    );
    assert_eq!(owner(&back), owner(&key));
    let again = hub.run_expecting(1, &words);
    assert!(
        stderr(&again).contains("must not exist"),
        "{}",
        stderr(&again)
    );
}

const HUB: &str = "
CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, up int REFERENCES users, name text,
    upper text GENERATED ALWAYS AS (upper(name)) STORED);
CREATE TABLE notes (region text, id int, user_id int REFERENCES users, note json, PRIMARY KEY (region, id));
CREATE TABLE log (line text);
INSERT INTO users (up, name) SELECT nullif(n - 1, 0), 'user ' || n FROM generate_series(1, 100) n;
INSERT INTO notes SELECT 'eu', n, n, '{\"a\": 1,  \"b\": null}' FROM generate_series(1, 100) n;
INSERT INTO log SELECT 'line ' || n % 5 FROM generate_series(1, 20) n;
CREATE TABLE heard (what text);
CREATE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO heard VALUES (TG_OP); RETURN NEW; END $$;
CREATE TRIGGER hear AFTER INSERT OR UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION hear();
";

#[test]
fn lost_rows_are_found_and_restored_and_nothing_else() {
    let database = database_with(HUB);
    let hub = Hub::with(
        &database,
        "[scope]\ntables = [\"users\", \"notes\", \"log\"]\nwindow = []\n",
    );
    hub.backup();
    let before = database.digests();
    hub.run_expecting(0, &["diff", "latest"]);

    database.execute(
        "DELETE FROM notes WHERE id > 90; DELETE FROM users WHERE id > 95; DELETE FROM log WHERE line = 'line 3';
         UPDATE notes SET note = '{\"a\": 2}' WHERE id = 1; INSERT INTO users (name) VALUES ('new');
         TRUNCATE heard",
    );
    let diff = hub.run_expecting(3, &["diff", "latest", "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&diff.stdout).unwrap();
    let table = |name: &str| {
        found
            .as_array()
            .unwrap()
            .iter()
            .find(|table| table["table"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(table("users")["missing"].as_array().unwrap().len(), 5);
    assert_eq!(table("users")["extra"], serde_json::json!([{"id": 101}]));
    assert_eq!(table("notes")["missing"].as_array().unwrap().len(), 10);
    assert_eq!(
        table("notes")["changed"],
        serde_json::json!([{"region": "eu", "id": 1}])
    );
    assert_eq!(table("log")["missing"].as_array().unwrap().len(), 4);
    let csv = stdout(&hub.run(&["diff", "latest", "--csv", "--table", "notes"]));
    assert!(
        csv.contains("\"notes\",changed,\"{\"\"id\"\": 1, \"\"region\"\": \"\"eu\"\"}\""),
        "{csv}"
    );

    // The notes need their users: alone they are refused, and nothing is half done.
    let alone = hub.run_expecting(
        1,
        &["restore", "latest", "--table", "notes", "--missing-rows"],
    );
    assert!(
        stderr(&alone).contains("notes_user_id_fkey"),
        "{}",
        stderr(&alone)
    );
    assert_eq!(database.value("SELECT count(*) FROM notes"), "90");
    hub.run_expecting(0, &["restore", "latest", "--missing-rows"]);
    assert_eq!(database.value("SELECT count(*) FROM notes"), "100");
    assert_eq!(
        database.value("SELECT note FROM notes WHERE id = 1"),
        "{\"a\": 2}",
        "overwritten"
    );
    let over = hub.run(&["restore", "latest", "--table", "n*", "--upsert"]);
    assert!(
        stdout(&over).contains("notes         0            1"),
        "{}",
        stdout(&over)
    );
    database.execute("DELETE FROM users WHERE name = 'new'");
    assert_eq!(
        database.value("SELECT count(*) FROM heard"),
        "0",
        "a trigger fired"
    );
    assert_eq!(database.digests(), before);
    hub.run_expecting(0, &["diff", "latest"]);
}

#[test]
fn clean_asks_first_and_a_table_is_restored_next_to_the_live_one() {
    let source = database_with(NASTY);
    let hub = Hub::whole(&source);
    hub.backup();
    let before = source.digests();
    let asked = hub.run_expecting(1, &["restore", "latest", "--clean"]);
    assert!(stderr(&asked).contains("would drop") && stderr(&asked).contains("kinds"));
    assert_eq!(source.digests(), before);
    source.execute("DELETE FROM leaf; UPDATE texts SET v = 'x'");
    hub.run_expecting(0, &["restore", "latest", "--clean", "--yes"]);
    assert_eq!(source.digests(), before);

    let words = [
        "restore",
        "latest",
        "--table",
        "texts",
        "--into-schema",
        "recovered",
    ];
    hub.run_expecting(0, &words);
    let differ = "SELECT count(*) FROM (TABLE texts EXCEPT ALL TABLE recovered.texts) d";
    assert_eq!(source.value(differ), "0");
    assert_eq!(source.value("SELECT count(*) FROM recovered.texts"), "21");
    assert_eq!(
        hub.run(&words).status.code(),
        Some(1),
        "it is there already"
    );
}

#[test]
fn tables_that_reference_each_other_are_restored_together_or_not_at_all() {
    let database = database_with(HUB);
    let hub = Hub::whole(&database);
    hub.backup();
    database.execute("TRUNCATE users, notes, heard");
    let alone = hub.run_expecting(1, &["restore", "latest", "--table", "notes"]);
    assert!(
        stderr(&alone).contains("notes_user_id_fkey"),
        "{}",
        stderr(&alone)
    );
    // A row that the living table refuses: that table is rolled back, the other one stays.
    database.execute("ALTER TABLE notes ADD CHECK (id <> 7)");
    let words = ["restore", "latest", "--table", "notes", "--table", "users"];
    let on = hub.run(&[&words[..], &["--keep-going"]].concat());
    assert_eq!(on.status.code(), Some(1));
    let said = stderr(&on);
    assert!(
        said.contains("not restored: notes") && said.contains("notes_id_check"),
        "{said}"
    );
    assert!(!said.contains("eu, 7"), "{said}");
    assert_eq!(database.value("SELECT count(*) FROM users"), "100");
    database.execute("ALTER TABLE notes DROP CONSTRAINT notes_id_check; TRUNCATE users, notes");
    hub.run_expecting(0, &words);
    assert_eq!(database.value("SELECT count(*) FROM notes"), "100");
    assert_eq!(
        database.value("SELECT count(*) FROM heard"),
        "0",
        "a trigger fired"
    );
}

#[test]
fn tables_whose_rows_are_refused_are_named_and_cost_no_other_table() {
    let server = server();
    let source = server.database();
    source.execute(
        "CREATE TABLE plans (id int PRIMARY KEY, n int); CREATE INDEX ON plans (n); INSERT INTO plans VALUES (1);
         CREATE TABLE users (id int PRIMARY KEY, plan int, pad text); INSERT INTO users SELECT n, NULL, repeat('x', 500)
         FROM generate_series(1, 100) n;
         UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'users'::regclass AND attname = 'plan'",
    );
    let hub = Hub::whole(&source);
    hub.backup();
    let target = server.database();
    // The largest table comes first. An option of earlier versions changes nothing.
    for words in [&[][..], &["--keep-going", "--clean", "--yes"]] {
        let restore = ["restore", "latest", "--database", target.name()];
        let output = hub.run_expecting(1, &[&restore, words].concat());
        assert!(
            stderr(&output).contains("not restored: users"),
            "{}",
            stderr(&output)
        );
        let made = "SELECT (SELECT count(*) FROM plans) || ' ' || (SELECT count(*) FROM users) || ' ' || count(*)
            FROM pg_indexes WHERE schemaname = 'public'";
        assert_eq!(target.value(made), "1 0 3");
    }
}

#[test]
fn an_index_that_cannot_be_built_costs_no_row() {
    let server = server();
    let source = server.database();
    // The index can be built here only because of what this session has set.
    source.execute(
        "SET hub.open = 'yes';
         CREATE FUNCTION known(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
             $$ BEGIN RETURN $1 + (current_setting('hub.open') = 'yes')::int; END $$;
         CREATE TABLE users (id int); INSERT INTO users VALUES (1);
         CREATE INDEX broken ON users (known(id))",
    );
    let hub = Hub::whole(&source);
    hub.backup();
    let target = server.database();
    let words = ["restore", "latest", "--database", target.name()];
    let output = hub.run(&words);
    let (said, text) = (stderr(&output), stdout(&output));
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("not rebuilt: index broken (unrecognized configuration parameter"),
        "{said}"
    );
    assert!(
        text.contains("every row equal; 1 of the definitions could not be rebuilt"),
        "{text}"
    );
    assert_eq!(target.value("SELECT count(*) FROM users"), "1");
}

#[test]
fn an_archive_is_read_from_a_pipe_and_one_table_without_the_rest() {
    let server = server();
    let source = server.database();
    source.execute(
        "CREATE TABLE users (id int); INSERT INTO users SELECT generate_series(1, 10);
         CREATE TABLE blobs AS SELECT n, (SELECT string_agg(md5(n || ' ' || k), '') FROM generate_series(1, 30) k)
             FROM generate_series(1, 20000) n",
    );
    let hub = Hub::whole(&source);
    let (_, archive) = hub.backup();
    source.execute("TRUNCATE users");
    let one = hub.run(&["restore", "latest", "--table", "users", "--verbose"]);
    let text = stdout(&one);
    assert_eq!(one.status.code(), Some(0), "{}", stderr(&one));
    assert!(
        text.contains("read ") && text.contains(" kB of the archive's ") && text.contains(" MB"),
        "{text}"
    );
    let mut cat = std::process::Command::new("cat")
        .arg(&archive)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let target = server.database();
    let output = hub
        .command(&["restore", "-", "--database", target.name()])
        .stdin(cat.stdout.take().unwrap())
        .output()
        .unwrap();
    cat.wait().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(source.digests(), target.digests());
}
