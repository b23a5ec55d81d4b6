//! A table that the role may not read: a new one is left out with a warning, one that an archive has ends the run.

use crate::bad_input::run_statements;
use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{Database, database_with, restore_with_plain_tools};
use serde_json::Value;

const SHOP: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT g, 'user ' || g FROM generate_series(1, 9) g;
    CREATE TABLE events (id int, at date) PARTITION BY RANGE (at);
    CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')";

/// A role that may read what there is now.
struct Reader<'a> {
    database: &'a Database,
    name: String,
}

impl<'a> Reader<'a> {
    fn new(database: &'a Database) -> Self {
        let name = format!("reader_{}", database.name());
        database.execute(&format!(
            "CREATE ROLE {name} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}"
        ));
        Self { database, name }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let name = &self.name;
        self.database
            .execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}"));
    }
}

fn hub(reader: &Reader<'_>, more: &str) -> Hub {
    let toml = format!("[scope]\ntables = [\"*\"]\nwindow = []\n{more}");
    let mut hub = Hub::with(reader.database, &toml);
    hub.set("POSTGRES_USER", &reader.name);
    hub
}

fn rescue(hub: &Hub, database: &Database) {
    let to = format!(
        "host={} port={} user={} dbname={}",
        database.settings().host,
        database.settings().port,
        database.settings().user,
        database.name()
    );
    let rescue = [
        "restore",
        "latest",
        "--to",
        &to,
        "--table",
        "users",
        "--into-schema",
        "rescue",
    ];
    hub.run_expecting(0, &rescue);
}

#[test]
fn a_new_table_that_the_role_may_not_read_ends_no_backup_and_is_named() {
    let database = database_with(SHOP);
    let reader = Reader::new(&database);
    let hub = hub(&reader, "");
    assert_eq!(hub.backup().0["warnings"].to_string(), "[]");
    rescue(&hub, &database);
    // With a name that pg_dump could take for a pattern, a sequence, and a foreign key from and to what is there.
    database.execute(
        "CREATE TABLE rescue.\"u*. \"\"x\" (id serial PRIMARY KEY, by int REFERENCES users);
         ALTER TABLE users ADD note int REFERENCES rescue.\"u*. \"\"x\";
         CREATE TABLE rescue.parent (id int) PARTITION BY LIST (id);
         CREATE TABLE rescue.child PARTITION OF rescue.parent DEFAULT;
         GRANT SELECT ON rescue.child TO PUBLIC",
    );
    let grants = [
        format!("GRANT USAGE ON SCHEMA rescue TO {};", reader.name),
        format!("GRANT SELECT ON rescue.users TO {};", reader.name),
        format!(
            "IN SCHEMA rescue GRANT SELECT ON TABLES TO {};",
            reader.name
        ),
    ];
    let plan = stdout(&hub.run_expecting(3, &["backup", "--dry-run"]));
    let taken = hub.run_expecting(3, &["backup", "--json"]);
    let record: Value = serde_json::from_slice(&taken.stdout).unwrap();
    let warnings = record["warnings"].to_string();
    for part in &grants {
        assert!(plan.contains(part), "{part}: {plan}");
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    assert!(!plan.contains("every table is included"), "{plan}");
    assert!(warnings.contains("users_note_fkey on users"), "{warnings}");
    assert_eq!(record["outside"]["tables"], 4, "{record}");
    let shown = stdout(&hub.run_expecting(0, &["show", "latest"]));
    assert!(shown.contains("rescue.child"), "{shown}");
    let status = stdout(&hub.run_expecting(3, &["status"]));
    assert!(status.contains("may not read rescue.child"), "{status}");
    let checked = hub.run(&["check", "database", "--json"]);
    assert!(stdout(&checked).contains("\"ok\""), "{}", stdout(&checked));
    // Nothing of them is in the definitions; what can be restored is.
    let archive = record["file"].as_str().unwrap();
    let list = std::process::Command::new("tar")
        .args(["-xOf", archive, "--wildcards", "*BACKUP_INFO.txt", "*.sql"])
        .output()
        .unwrap();
    let (text, info) = (
        stdout(&list),
        "These tables, which are missing after a restore",
    );
    assert!(text.contains(info) && text.contains("CREATE TABLE public.users"));
    assert!(!text.contains("every table is inside") && !text.contains("CREATE TABLE rescue"));
    // What is printed is the cure, in one round.
    run_statements(&database, &plan);
    let (record, _) = hub.backup();
    assert_eq!(record["warnings"].to_string(), "[]");
    assert_eq!(record["outside"], Value::Null, "{record}");
}

#[test]
fn a_table_of_the_last_backup_a_partition_of_one_and_the_first_backup_are_not_spared() {
    let database = database_with(SHOP);
    let reader = Reader::new(&database);
    let name = &reader.name;
    let hub = hub(&reader, "");
    database.execute("CREATE TABLE a_new_one (id int)");
    hub.backup_fails(
        1,
        &["GRANT SELECT ON public.a_new_one", "ALTER DEFAULT PRIV"],
    );
    database.execute(&format!("GRANT SELECT ON a_new_one TO {name}"));
    hub.backup();
    let fails = |word: &str, more: &str| {
        let said = stderr(&hub.run_expecting(1, &["backup"]));
        assert!(said.contains(word), "{word}: {said}");
        assert!(said.contains(more), "{more}: {said}");
    };
    database.execute(
        "CREATE TABLE newest (id int); CREATE TABLE events_new PARTITION OF events
             FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
    );
    fails("GRANT SELECT ON public.events_new", "public.newest");
    database.execute(&format!(
        "GRANT SELECT ON events_new TO {name}; REVOKE SELECT ON a_new_one FROM {name}"
    ));
    fails("GRANT SELECT ON public.a_new_one", "public.newest");
    // One that was left out is as new the next time.
    database.execute(&format!("GRANT SELECT ON a_new_one TO {name}"));
    for _ in 0..2 {
        let warnings = hub.backup().0["warnings"].to_string();
        assert!(warnings.contains("public.newest"), "{warnings}");
    }
}

#[test]
fn new_tables_that_cannot_be_read_are_an_error_where_what_is_missing_is_one() {
    let database = database_with(SHOP);
    let reader = Reader::new(&database);
    let hub = hub(&reader, "missing = \"fail\"\n");
    hub.backup();
    database.execute("CREATE TABLE late (id int)");
    let said = stderr(&hub.run_expecting(1, &["backup"]));
    assert!(said.contains("GRANT SELECT ON public.late"), "{said}");
}

#[test]
fn a_backup_without_a_new_table_is_restored_with_plain_tools() {
    let database = database_with(SHOP);
    let reader = Reader::new(&database);
    let hub = hub(&reader, "");
    hub.backup();
    database.execute("CREATE SCHEMA apart; CREATE TABLE apart.late (id bigserial)");
    let (_, archive) = hub.backup();
    let target = hubvault_testkit::server().database();
    restore_with_plain_tools(&archive, &target);
    assert_eq!(target.value("SELECT count(*) FROM users"), "9");
    assert_eq!(
        target.value("SELECT to_regclass('apart.late') IS NULL"),
        "t"
    );
}

#[test]
fn what_any_backup_held_or_the_scope_names_is_never_left_out() {
    let database = database_with(SHOP);
    let reader = Reader::new(&database);
    let name = &reader.name;
    let mut hub = hub(&reader, "");
    hub.backup();
    let set = |hub: &mut Hub, tables: &str| {
        hub.write(&format!("[scope]\ntables = {tables}\nwindow = []\n"));
    };
    let fails = |hub: &Hub, word: &str| {
        let said = stderr(&hub.run_expecting(1, &["backup"]));
        assert!(said.contains(word), "{word}: {said}");
        let checked = hub.run(&["check", "database", "--json"]);
        assert!(stdout(&checked).contains(word), "{}", stdout(&checked));
    };
    // Leaves come and go; their parent is readable.
    database.execute(
        "DROP TABLE events_old; CREATE TABLE events_new PARTITION OF events
             FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
    );
    fails(&hub, "GRANT SELECT ON public.events_new");
    database.execute(&format!("GRANT SELECT ON events_new TO {name}"));
    // A narrower run in between forgets nothing: neither rows nor definitions.
    set(&mut hub, "[\"events\"]");
    hub.backup();
    database.execute(&format!("REVOKE SELECT ON users FROM {name}"));
    fails(&hub, "GRANT SELECT ON public.users");
    set(&mut hub, "[\"*\"]");
    fails(&hub, "GRANT SELECT ON public.users");
    // Named without a wildcard, a new one is wanted for certain.
    database.execute(&format!(
        "GRANT SELECT ON users TO {name}; CREATE TABLE wanted (id int)"
    ));
    set(&mut hub, "[\"users\", \"wanted\"]");
    fails(&hub, "GRANT SELECT ON public.wanted");
    set(&mut hub, "[\"users\"]");
    let warnings = hub.backup().0["warnings"].to_string();
    assert!(
        warnings.contains("wanted, which no backup holds"),
        "{warnings}"
    );
}

#[test]
fn a_new_sequence_of_no_table_and_a_new_table_with_hidden_rows_end_no_backup() {
    let database = database_with(&format!(
        "{SHOP}; CREATE SEQUENCE old; CREATE SEQUENCE used"
    ));
    let reader = Reader::new(&database);
    let name = &reader.name;
    database.execute(&format!("GRANT SELECT ON SEQUENCE old, used TO {name}"));
    let mut hub = hub(&reader, "");
    assert_eq!(hub.backup().0["warnings"].to_string(), "[]");
    database.execute(&format!(
        "CREATE SEQUENCE numbers; CREATE TABLE notes (id int); INSERT INTO notes VALUES (1);
         ALTER TABLE notes ENABLE ROW LEVEL SECURITY; GRANT SELECT ON notes TO {name}"
    ));
    let plan = stdout(&hub.run_expecting(3, &["backup", "--dry-run"]));
    let warnings = hub.backup().0["warnings"].to_string();
    for cure in [
        format!("GRANT SELECT ON SEQUENCE public.numbers TO {name};"),
        format!("ALTER ROLE {name} BYPASSRLS;"),
    ] {
        assert!(plan.contains(&cure), "{cure}: {plan}");
        assert!(warnings.contains(&cure), "{cure}: {warnings}");
    }
    let checked = stdout(&hub.run(&["check", "database", "--json"]));
    assert!(checked.contains("\"ok\""), "{checked}");
    // One that a backup held, and one that a table needs, are not left out.
    database.execute(&format!("REVOKE SELECT ON SEQUENCE old FROM {name}"));
    let fails = |hub: &Hub, word: &str| {
        let said = stderr(&hub.run_expecting(1, &["backup"]));
        assert!(said.contains(word), "{word}: {said}");
    };
    fails(&hub, "GRANT SELECT ON SEQUENCE public.old");
    database.execute(&format!(
        "GRANT SELECT ON SEQUENCE old TO {name}; CREATE SEQUENCE needed;
         ALTER TABLE users ALTER id SET DEFAULT nextval('needed')"
    ));
    fails(&hub, "GRANT SELECT ON SEQUENCE public.needed");
    database.execute(&format!("GRANT SELECT ON SEQUENCE needed TO {name}"));
    hub.backup();
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\nmissing = \"fail\"\n");
    fails(&hub, "BYPASSRLS");
    hub.write("file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n");
    // What is printed is the cure, in one round.
    run_statements(&database, &plan);
    assert_eq!(hub.backup().0["warnings"].to_string(), "[]");
}
