//! What ends a restore is said by `restore --dry-run`, too.

use crate::hub::Hub;
use crate::restore_dry_run::plan;
use hubvault_testkit::{Database, database_with};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

/// The plan names the reason, and the restore fails.
fn both_refuse(hub: &Hub, database: &Database, words: &[&str], why: &str) {
    let plan = plan(hub, database, 3, words);
    let obstacles = plan["obstacles"].to_string();
    assert!(obstacles.contains(why), "{why}: {plan}");
    let restore = ["restore", "latest", "--yes"];
    hub.run_expecting(1, &[&restore[..], words].concat());
}

#[test]
fn columns_that_need_a_value_and_types_that_change_values_are_said() {
    let database = database_with(
        "CREATE TABLE must (id int PRIMARY KEY); INSERT INTO must VALUES (1), (2);
         CREATE TABLE typed (id int PRIMARY KEY, at timestamp); INSERT INTO typed VALUES (1, '2026-01-02 03:04:05')",
    );
    let hub = Hub::whole(&database);
    hub.backup();
    database.execute(
        "TRUNCATE must, typed; CREATE DOMAIN set AS int NOT NULL; CREATE DOMAIN given AS int NOT NULL DEFAULT 1;
         ALTER TABLE must ADD a int NOT NULL, ADD b set, ADD c int NOT NULL DEFAULT 1, ADD d given,
             ADD e int NOT NULL GENERATED ALWAYS AS IDENTITY, ADD f int;
         ALTER TABLE typed ALTER at TYPE date",
    );
    let why = "a, b is NOT NULL without a default";
    for option in ["--missing-rows", "--upsert"] {
        both_refuse(&hub, &database, &["--table", "must", option], why);
    }
    both_refuse(&hub, &database, &["--table", "must"], why);
    let why = "does not take the archive's values as they are";
    both_refuse(&hub, &database, &["--table", "typed"], why);
    assert_eq!(database.value("SELECT count(*) FROM typed"), "0");
    plan(
        &hub,
        &database,
        0,
        &["--table", "typed", "--into-schema", "rescue"],
    );
    // Where no row is missing, nothing is refused.
    database.execute("ALTER TABLE must DROP a, DROP b; INSERT INTO must VALUES (1), (2); ALTER TABLE must ALTER c DROP DEFAULT");
    plan(&hub, &database, 0, &["--table", "must", "--missing-rows"]);
}

#[test]
fn what_depends_on_a_dropped_table_is_said() {
    let database = database_with(
        "CREATE TABLE a (id serial PRIMARY KEY); INSERT INTO a DEFAULT VALUES; CREATE VIEW own AS SELECT * FROM a",
    );
    let hub = Hub::whole(&database);
    hub.backup();
    plan(&hub, &database, 0, &["--clean"]);
    for (make, drop) in [
        (
            "CREATE VIEW foreign_view AS SELECT * FROM own",
            "DROP VIEW foreign_view",
        ),
        (
            "CREATE TABLE child (a int REFERENCES a)",
            "DROP TABLE child",
        ),
        ("CREATE TABLE heir () INHERITS (a)", "DROP TABLE heir"),
        (
            "CREATE TABLE user_of (n int DEFAULT nextval('a_id_seq'))",
            "DROP TABLE user_of",
        ),
    ] {
        database.execute(make);
        let name = drop.rsplit(' ').next().unwrap();
        both_refuse(&hub, &database, &["--clean"], name);
        database.execute(drop);
    }
    hub.run_expecting(0, &["restore", "latest", "--clean", "--yes"]);
}

#[test]
fn files_and_links_on_the_way_are_said() {
    let source = database_with("CREATE TABLE t ()");
    let mut hub = Hub::whole(&source);
    let file = hub.config().join("app.env");
    fs::write(&file, "A=1\n").unwrap();
    hub.write(&format!(
        "[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = {file:?}\nname = \"config/app.env\"\n"
    ));
    hub.backup();
    let target = tempfile::tempdir().unwrap();
    let at = |name: &str| target.path().join(name);
    fs::write(at("file"), "").unwrap();
    symlink(at("nothing"), at("dangling")).unwrap();
    for (name, parent) in [("blocked", "file"), ("linked", "elsewhere")] {
        fs::create_dir(at(name)).unwrap();
        if parent == "file" {
            fs::write(at(name).join("config"), "").unwrap();
        } else {
            fs::create_dir(at(parent)).unwrap();
            symlink(at(parent), at(name).join("config")).unwrap();
        }
    }
    for (name, why) in [
        ("file", "opening the directory"),
        ("dangling", "opening the directory"),
        ("file/below/it", "is not a directory"),
        ("blocked", "config in the path is a link or not a directory"),
        ("linked", "config in the path is a link or not a directory"),
    ] {
        let path = at(name);
        both_refuse(&hub, &source, &["--files", path.to_str().unwrap()], why);
    }
    symlink(at("elsewhere"), at("own")).unwrap();
    let own = at("own");
    let words = ["--files", own.to_str().unwrap()];
    assert_eq!(plan(&hub, &source, 0, &words)["obstacles"], json!([]));
    hub.run_expecting(0, &[&["restore", "latest"], &words[..]].concat());
}
