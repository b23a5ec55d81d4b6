//! Names and definitions of a hostile source.

use crate::hub::{Hub, stderr, stdout};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{digests, execute, extract, server, value};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SCOPE: &str = "[scope]\ntables = [\"*\"]\nwindow = []\n";

/// Names, each of which is a command somewhere: in a shell, in psql, in a template, on a terminal.
const HOSTILE: [&str; 16] = [
    "x@@COUNTS@@y",
    "$(id>${HOME}/pwned;echo)",
    "`id>${HOME}/pwned`",
    "'; id>${HOME}/pwned; '",
    "\"; id>${HOME}/pwned; \"",
    "a\n\\! id>${HOME}/pwned\nb",
    "a\nend\nrole\tx\ty\ntext\t/etc/passwd",
    "TEXT\n$(id>${HOME}/pwned)\nTEXT",
    "\\",
    "\\'\"%s%n%0A$1",
    "\r\u{1b}[2K\u{1b}]0;pwned\u{7}",
    ":x :'x' :\"x\" \\gexec",
    "-f/etc/passwd",
    "a\n-- Name: b\nSET transaction_timeout = 0;\nc",
    "\u{202e}$((pwned)) \u{9b}2K",
    "\t&& id>${HOME}/pwned && (",
];

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Tables, keys, sequences, materialized views, columns, a schema and a role with such names, of which a window is one.
fn hostile_sql() -> String {
    let mut sql = String::new();
    for (at, name) in HOSTILE.iter().enumerate() {
        let name = ident(name);
        sql += &format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, {name} text);
             INSERT INTO {name} VALUES (1, E'\\\\.'), (2, NULL), ({at} + 3, E'a\\n\\\\.\\nb');\n"
        );
    }
    for (schema, name) in HOSTILE.iter().zip(HOSTILE.iter().skip(1)) {
        let (schema, name) = (ident(schema), ident(name));
        sql += &format!(
            "CREATE SCHEMA {schema};
             CREATE TABLE {schema}.{name} ({name} int REFERENCES public.{name}, {schema} timestamptz);
             INSERT INTO {schema}.{name} VALUES (1, now()), (2, now());
             CREATE SEQUENCE {schema}.{schema}; SELECT setval('{}', 77, false);
             CREATE MATERIALIZED VIEW {schema}.{} AS SELECT * FROM public.{name};
             COMMENT ON TABLE {schema}.{name} IS {};\n",
            format!("{schema}.{schema}").replace('\'', "''"),
            ident("mat\n$(id>${HOME}/pwned)"),
            format_args!("'{}'", name.replace('\'', "''")),
        );
    }
    sql
}

/// The script as a user runs it, in a home where a command that is run leaves a file.
fn restore(unpacked: &Path, home: &Path, to: &ConnectSettings, options: &[&str]) -> Output {
    Command::new("sh")
        .arg("restore.sh")
        .args(options)
        .current_dir(unpacked)
        .env("HOME", home)
        .env("PGHOST", &to.host)
        .env("PGPORT", to.port.to_string())
        .env("PGUSER", &to.user)
        .env("PGDATABASE", &to.dbname)
        .output()
        .unwrap()
}

fn unpacked(archive: &Path) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    extract(archive, directory.path());
    directory
}

#[test]
fn names_are_data_for_the_restore_script_and_never_commands() {
    let server = server();
    let admin = server.settings("postgres");
    let odd = "it's \\ a=b $(id>${HOME}/pwned) \"q\"";
    execute(&admin, &format!("CREATE DATABASE {}", ident(odd)));
    let source = server.settings(odd);
    execute(&source, &hostile_sql());
    let role = "r'\n$(id>${HOME}/pwned)\\";
    execute(
        &source,
        &format!(
            "CREATE ROLE {0}; ALTER TABLE \"\\\" OWNER TO {0}",
            ident(role)
        ),
    );
    // Those of one schema as windows, which are loaded in another way; all of them is taken.
    let toml =
        "[scope]\ntables = [\"*\"]\n[[scope.window]]\ntables = [\"public.*\"]\nwhere = \"true\"\n";
    let hub = Hub::at(&source, toml);
    let (record, archive) = hub.backup();
    let directory = unpacked(&archive);
    let list = std::fs::read_to_string(directory.path().join("database/restore.list")).unwrap();
    let kinds = |kind: &str| list.lines().filter(|line| line.starts_with(kind)).count();
    assert_eq!((kinds("csv\t"), kinds("text\t")), (16, 15), "{list}");
    let script = std::fs::read_to_string(directory.path().join("restore.sh")).unwrap();
    let info = std::fs::read_to_string(directory.path().join("BACKUP_INFO.txt")).unwrap();
    for name in HOSTILE.iter().filter(|name| name.len() > 8) {
        assert!(!script.contains(*name), "{name:?} stands in restore.sh");
    }
    assert!(
        !info.contains(['\u{1b}', '\r', '\u{9b}', '\u{202e}']),
        "{info}"
    );

    // Another database has the same script.
    let plain = server.database();
    plain.execute("CREATE TABLE users (id int)");
    let other = unpacked(&Hub::whole(&plain).backup().1);
    let same = std::fs::read_to_string(other.path().join("restore.sh")).unwrap();
    assert_eq!(script, same);

    let before = digests(&source);
    execute(
        &source,
        &format!(
            "REASSIGN OWNED BY {0} TO postgres; DROP ROLE {0}",
            ident(role)
        ),
    );
    let home = tempfile::tempdir().unwrap();
    let target = "postgres://a=b 'c' \\ $(id>${HOME}/pwned)";
    execute(&admin, &format!("CREATE DATABASE {}", ident(target)));
    let target = server.settings(target);
    let restored = restore(directory.path(), home.path(), &target, &["--create-roles"]);
    let said = format!("{}{}", stdout(&restored), stderr(&restored));
    assert!(restored.status.success(), "{said}\n{record}");
    assert!(!said.contains(['\u{1b}', '\r', '\u{202e}']), "{said:?}");
    assert_eq!(digests(&target), before);
    let sql = "SELECT count(*)::text FROM pg_sequences WHERE last_value IS NULL";
    assert_eq!(value(&target, sql), value(&source, sql));
    let again = restore(directory.path(), home.path(), &target, &["--clean"]);
    assert!(
        again.status.success() || stderr(&again).contains("cannot drop what is there"),
        "{}",
        stderr(&again)
    );
    let left: Vec<PathBuf> = [home.path(), directory.path()]
        .map(|place| place.join("pwned"))
        .into_iter()
        .filter(|path| path.exists())
        .collect();
    assert!(left.is_empty(), "a name ran as a command: {left:?}");
}

/// A function of the owner that leaves `marker` where it runs with a superuser's rights.
fn owner_code(marker: &Path) -> String {
    format!(
        "CREATE FUNCTION act() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
           IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
             COPY (SELECT 1) TO PROGRAM 'cat >{}'; END IF; RETURN 1; END $$;
         CREATE FUNCTION pure(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
           $$ BEGIN RETURN act() * v; END $$;",
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
    let marks = tempfile::Builder::new()
        .prefix("hvm")
        .tempdir_in("/tmp")
        .unwrap();
    std::fs::set_permissions(marks.path(), PermissionsExt::from_mode(0o777)).unwrap();
    (server, source, owner, marks)
}

/// Whether a view of the owner that a superuser reads leaves the marker.
fn works(superuser: &ConnectSettings, owner: &ConnectSettings, marker: &Path) -> bool {
    execute(owner, "CREATE VIEW trap AS SELECT act() AS last_value");
    value(superuser, "SELECT last_value FROM trap");
    execute(owner, "DROP VIEW trap");
    marker.exists()
}

#[test]
fn a_sequence_that_is_swapped_for_a_view_runs_nothing_of_its_owner() {
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
    assert!(works(&source, &owner, &marker), "the attack is none");
    // It stands where it stood, called or not.
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
fn a_large_table_with_its_owner_s_functions_in_an_index_is_read_without_running_them() {
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
fn a_role_that_may_more_than_read_is_told_of_with_statements_that_make_a_lesser_one() {
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
fn a_cast_that_the_owner_made_does_not_run_where_a_window_is_read() {
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
fn a_condition_of_the_configuration_may_name_a_view_and_nothing_else_may() {
    let server = server();
    let source = server.database();
    source.execute(
        "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 9);
         CREATE VIEW chosen AS SELECT id FROM users WHERE id > 6",
    );
    let toml = "[scope]\ntables = []\n[[scope.window]]\ntables = [\"users\"]\n\
                where = \"id IN (SELECT id FROM public.chosen)\"\n";
    let (record, _) = Hub::with(&source, toml).backup();
    assert_eq!(record["tables"][0]["rows"], 3, "{record}");
}
