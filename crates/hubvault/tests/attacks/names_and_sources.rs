//! Names and definitions of a hostile source.

use crate::hub::{Hub, stderr, stdout};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{digests, execute, extract, server, value};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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

pub(crate) fn unpacked(archive: &Path) -> tempfile::TempDir {
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
