//! `restore --dry-run` says what a restore would do, and does nothing of it.

use crate::hub::{Hub, stderr, stdout};
use hubvault_model::{quote_ident, quote_literal};
use hubvault_testkit::{Database, database_with, server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SHOP: &str = "CREATE SCHEMA shop; CREATE TABLE shop.users (id int PRIMARY KEY, name text);
    INSERT INTO shop.users SELECT g, 'user ' || g FROM generate_series(1, 9) g;
    CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1);
    CREATE VIEW all_orders AS SELECT * FROM orders";

/// Everything below a directory, with its content.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path.clone());
                found.insert(path, Vec::new());
            } else {
                found.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    found
}

/// What the server has of this test, but for rows. Temporary tables go a moment after their session.
fn state(database: &Database) -> String {
    database.value(
        "SELECT concat((SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database WHERE datname = current_database()
                           OR datname LIKE 'dry_%' || current_database()),
                       (SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles
                        WHERE rolname LIKE 'dry_%' || current_database()),
                       (SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_class WHERE relpersistence <> 't'),
                       (SELECT string_agg(nspname, ',' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_'))",
    )
}

/// The plan as JSON, after checks that nothing changed.
pub(crate) fn plan(hub: &Hub, database: &Database, code: i32, more: &[&str]) -> Value {
    let before = (
        tree(&hub.backups()),
        tree(&hub.config()),
        state(database),
        database.digests(),
    );
    let mut words = vec!["restore", "latest", "--dry-run"];
    words.extend(more);
    let text = stdout(&hub.run_expecting(code, &words));
    assert!(text.contains("Nothing was changed"), "{text}");
    words.push("--json");
    let output = hub.run_expecting(code, &words);
    let after = (
        tree(&hub.backups()),
        tree(&hub.config()),
        state(database),
        database.digests(),
    );
    assert_eq!(before.2, after.2, "{more:?} changed the database");
    assert_eq!(before.3, after.3, "{more:?} changed rows");
    let paths = |tree: &BTreeMap<PathBuf, Vec<u8>>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        paths(&before.0),
        paths(&after.0),
        "{more:?} changed the backups"
    );
    for (path, content) in &before.0 {
        assert!(
            after.0[path] == *content,
            "{more:?} changed {}",
            path.display()
        );
    }
    assert!(before.1 == after.1, "{more:?} changed the configuration");
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["dry_run"], true, "{}", stderr(&output));
    plan
}

#[test]
fn a_whole_restore_is_planned_and_nothing_is_changed() {
    let source = database_with(SHOP);
    let role = format!("dry_{}", source.name());
    source.execute(&format!(
        "CREATE ROLE {role}; ALTER TABLE orders OWNER TO {role}"
    ));
    let mut hub = Hub::whole(&source);
    let _drills = hub.prove();
    hub.backup();
    let new = format!("dry_new_{}", source.name());
    let made = plan(&hub, &source, 0, &["--database", &new, "--create"]);
    assert_eq!(made["created_database"], new.as_str(), "{made}");
    assert_eq!(made["schemas"], json!(["shop"]));
    assert_eq!(made["tables"].as_array().unwrap().len(), 2);
    assert!(
        made["needed_bytes"].as_u64().unwrap() > 0 && made["free_bytes"].is_u64(),
        "{made}"
    );
    assert!(made["seconds"].as_f64().unwrap() > 0.0, "{made}");
    let refused = plan(&hub, &source, 3, &[]);
    let obstacles = refused["obstacles"].to_string();
    assert!(
        obstacles.contains("already holds") && obstacles.contains("shop.users"),
        "{obstacles}"
    );
    let clean = plan(&hub, &source, 0, &["--clean"]);
    assert_eq!(clean["dropped"], json!(["orders", "shop.users"]), "{clean}");
    assert!(clean["drop_statements"].as_u64().unwrap() >= 3, "{clean}");
    // A role that is missing ends a restore, or is made.
    let target = server().database();
    source.execute(&format!(
        "ALTER TABLE orders OWNER TO CURRENT_USER; DROP ROLE {role}"
    ));
    let missing = plan(&hub, &target, 3, &["--database", target.name()]);
    assert!(
        missing["obstacles"].to_string().contains("--create-roles"),
        "{missing}"
    );
    let made = plan(
        &hub,
        &target,
        0,
        &["--database", target.name(), "--create-roles"],
    );
    assert_eq!(made["roles"], json!([role]), "{made}");
    plan(
        &hub,
        &target,
        0,
        &["--database", target.name(), "--no-owner"],
    );
}

#[test]
fn partitions_that_are_not_in_the_archive_are_not_dropped_with_their_table() {
    let source = database_with(
        "CREATE TABLE days (d date) PARTITION BY RANGE (d);
         CREATE TABLE january PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-02-01') PARTITION BY LIST (d);
         CREATE TABLE first PARTITION OF january FOR VALUES IN ('2026-01-01'); INSERT INTO days VALUES ('2026-01-01')",
    );
    let hub = Hub::whole(&source);
    hub.backup();
    plan(&hub, &source, 0, &["--clean"]);
    source.execute(
        "CREATE TABLE second PARTITION OF january FOR VALUES IN ('2026-01-02');
         CREATE TABLE february PARTITION OF days FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
         INSERT INTO days VALUES ('2026-01-02'), ('2026-02-02')",
    );
    let refused = plan(&hub, &source, 3, &["--clean"])["obstacles"].to_string();
    assert!(
        refused.contains("with their tables: february, second; detach"),
        "{refused}"
    );
    let output = hub.run_expecting(1, &["restore", "latest", "--clean", "--yes"]);
    assert!(
        stderr(&output).contains("with their tables: february, second"),
        "{}",
        stderr(&output)
    );
    assert_eq!(source.value("SELECT count(*) FROM days"), "3");
    assert_eq!(source.value("SELECT count(*) FROM second"), "1");
    source.execute("ALTER TABLE days DETACH PARTITION february; DROP TABLE second");
    hub.run_expecting(0, &["restore", "latest", "--clean", "--yes"]);
    assert_eq!(source.value("SELECT count(*) FROM days"), "1");
    assert_eq!(source.value("SELECT count(*) FROM february"), "1");
}

#[test]
fn roles_that_only_rows_name_are_asked_for_before_a_restore() {
    let source =
        database_with("CREATE TABLE audit (id int PRIMARY KEY, who regrole, acl aclitem[])");
    let [who, granted] = ["dry_who", "dry <script>\"'"].map(|it| format!("{it}_{}", source.name()));
    let quoted = [&who, &granted].map(|it| quote_ident(it));
    source.execute(&format!(
        "CREATE ROLE {}; CREATE ROLE {}; INSERT INTO audit VALUES (1, {}, NULL),
         (2, NULL, ARRAY[NULL, makeaclitem({}::regrole, current_user::regrole, 'SELECT', false)])",
        quoted[0],
        quoted[1],
        quote_literal(&quoted[0]),
        quote_literal(&quoted[1]),
    ));
    let mut hub = Hub::whole(&source);
    let _drills = hub.prove();
    let (record, _) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    let notes = record["proof"].to_string();
    assert!(
        notes.contains("roles that only rows name") && notes.contains(&who),
        "{notes}"
    );
    let target = server().database();
    let drop = format!("DROP ROLE {}; DROP ROLE {}", quoted[0], quoted[1]);
    source.execute(&format!(
        "CREATE TABLE kept AS SELECT id, who::text FROM audit; {drop}"
    ));
    for owners in [&[][..], &["--no-owner"]] {
        let with = |more: &[&'static str]| [&["--database", target.name()], owners, more].concat();
        let missing = plan(&hub, &target, 3, &with(&[]));
        let obstacles = missing["obstacles"].to_string();
        assert!(
            obstacles.contains(&who) && obstacles.contains("--create-roles"),
            "{obstacles}"
        );
        let made = plan(&hub, &target, 0, &with(&["--create-roles"]));
        assert_eq!(made["roles"].as_array().unwrap().len(), 2, "{made}");
    }
    let refused = hub.run_expecting(
        1,
        &[
            "restore",
            "latest",
            "--database",
            target.name(),
            "--no-owner",
        ],
    );
    assert!(
        stderr(&refused).contains("rows of the archive name roles"),
        "{}",
        stderr(&refused)
    );
    let said = hub.run_expecting(
        0,
        &[
            "restore",
            "latest",
            "--database",
            target.name(),
            "--create-roles",
        ],
    );
    let said = stdout(&said) + &stderr(&said);
    assert!(
        said.contains("roles that only rows name") && said.contains(&who),
        "{said}"
    );
    assert_eq!(target.value("SELECT count(*)::text FROM audit"), "2");
    target.execute(&drop);
}

#[test]
fn rows_and_tables_are_planned_as_they_are_restored() {
    let source = database_with(SHOP);
    let hub = Hub::whole(&source);
    hub.backup();
    source.execute(
        "DELETE FROM shop.users WHERE id < 3; UPDATE shop.users SET name = 'other' WHERE id = 4",
    );
    let of = |plan: &Value| {
        let mut tables = plan["tables"].as_array().unwrap().iter();
        let users = tables.find(|it| it["table"] == "shop.users").unwrap();
        (users["inserted"].clone(), users["overwritten"].clone())
    };
    let missing = plan(&hub, &source, 0, &["--missing-rows"]);
    assert_eq!(of(&missing), (json!(2), json!(0)));
    let over = plan(&hub, &source, 0, &["--upsert", "--table", "shop.users"]);
    assert_eq!(of(&over), (json!(2), json!(1)));
    let done = hub.run_expecting(0, &["restore", "latest", "--upsert", "--json"]);
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    let done = done.as_array().unwrap();
    let users = done
        .iter()
        .find(|table| table["table"] == "shop.users")
        .unwrap();
    assert_eq!(
        (&users["inserted"], &users["updated"]),
        (&json!(2), &json!(1))
    );
    let full = plan(&hub, &source, 3, &["--table", "orders"]);
    assert!(
        full["obstacles"].to_string().contains("is not empty"),
        "{full}"
    );
    let beside = ["--table", "orders", "--into-schema", "rescue"];
    let made = plan(&hub, &source, 0, &beside);
    assert_eq!(made["schemas"], json!(["rescue"]));
    assert_eq!(made["tables"][0]["table"], "rescue.orders");
    let mut words = vec!["restore", "latest"];
    words.extend(beside);
    hub.run_expecting(0, &words);
    plan(&hub, &source, 3, &beside);
}

#[test]
fn files_are_planned_with_those_that_are_there() {
    let source = database_with("CREATE TABLE t ()");
    let mut hub = Hub::whole(&source);
    let file = hub.config().join("app.env");
    std::fs::write(&file, "A=1\n").unwrap();
    hub.write(&format!(
        "[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = {file:?}\nname = \"config/app.env\"\n"
    ));
    hub.backup();
    let target = tempfile::tempdir().unwrap();
    let directory = target.path().join("new");
    let words = ["--files", directory.to_str().unwrap()];
    let made = plan(&hub, &source, 0, &words);
    let path = directory.join("config/app.env");
    assert!(
        made["files"].to_string().contains(path.to_str().unwrap()),
        "{made}"
    );
    assert!(!directory.exists());
    let mut restore = vec!["restore", "latest"];
    restore.extend(words);
    hub.run_expecting(0, &restore);
    let again = plan(&hub, &source, 3, &words);
    assert!(
        again["obstacles"]
            .to_string()
            .contains("would not be overwritten"),
        "{again}"
    );
}
