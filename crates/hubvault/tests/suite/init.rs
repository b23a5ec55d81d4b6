//! `hubvault init`: from a database to a configuration.

use crate::hub::{HUBVAULT, coverage, stderr, stdout};
use crate::questions::answer;
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{Database, USERS, database_with, server};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A table that only grows, in a schema with an odd name.
const EVENTS: &str = "CREATE SCHEMA \"My Shop\";
    CREATE TABLE \"My Shop\".\"Big Events\" (id int, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz, v text);
    CREATE INDEX ON \"My Shop\".\"Big Events\" (updated_at); CREATE INDEX ON \"My Shop\".\"Big Events\" (created_at);
    INSERT INTO \"My Shop\".\"Big Events\" SELECT n, now() - n * interval '1 day', now(), repeat('x', 900)
        FROM generate_series(1, 3000) n;
    CREATE TABLE changing (id int, at date DEFAULT now(), v text);
    INSERT INTO changing SELECT n, now(), repeat('y', 900) FROM generate_series(1, 3000) n;
    UPDATE changing SET v = v; ANALYZE;";

/// A user's working directory.
pub(crate) struct Place {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(HUBVAULT);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.directory.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(coverage())
            .current_dir(self.directory.path())
            .stdin(std::process::Stdio::null());
        command
    }

    fn run_expecting(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let said = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    fn toml(&self) -> String {
        std::fs::read_to_string(self.path("hubvault.toml")).unwrap()
    }

    /// What is in the directory, besides what was there.
    fn nothing_written(&self) {
        let left: Vec<_> = std::fs::read_dir(self.directory.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A connection as `name=value` pairs, as psql takes them.
pub(crate) fn pairs(settings: &ConnectSettings) -> String {
    let database = settings.dbname.replace('\\', "\\\\").replace('\'', "\\'");
    format!(
        "host={} port={} user={} dbname='{database}'",
        settings.host, settings.port, settings.user
    )
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// A role's name that no other test of this server has.
pub(crate) fn role_of(database: &Database) -> String {
    format!("reader of {}", database.name())
}

pub(crate) fn drop_role(database: &Database, role: &str) {
    database.execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

#[test]
fn a_role_that_can_only_read_is_made_and_its_password_is_in_one_file_alone() {
    let source = database_with(&format!("{USERS} {EVENTS}"));
    let (place, role) = (Place::new(), role_of(&source));
    let owner = pairs(&source.settings());
    let init = [
        "init",
        "--yes",
        "--owner-url",
        &owner,
        "--role",
        &role,
        "--large-mb",
        "1",
        "--backup-dir",
        "backups",
    ];
    let said = place.run_expecting(3, &init);
    let toml = place.toml();
    let file = place.path("hubvault.database_password");
    let password = std::fs::read_to_string(&file).unwrap();
    assert!(password.len() >= 32, "{password}");
    assert!(
        !toml.contains(&password) && !said.contains(&password),
        "{said}"
    );
    assert!(
        toml.contains(&format!("user = \"{role}\"")) && toml.contains("tables = [\"*\"]"),
        "{toml}"
    );
    let written = [&file, &place.path("hubvault.toml")];
    assert_eq!(written.map(|path| mode(path)), [0o600, 0o600]);
    assert_eq!(mode(&place.path("backups")), 0o700);
    // The window is a proposal, and of the table that is not changed alone.
    assert!(
        toml.contains("# [[scope.window]]") && toml.contains("# column = \"created_at\""),
        "{toml}"
    );
    assert!(!toml.contains("changing"), "{toml}");
    // A dry run with the new role is what it ends with.
    for words in [
        "made the role",
        "nobody is notified",
        "Big Events",
        "every table is included",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    let rights = format!(
        "SELECT rolsuper::text || rolcreaterole || rolcreatedb || pg_has_role(oid, 'pg_read_all_data', 'member')
             || has_table_privilege(oid, 'users', 'insert') FROM pg_roles WHERE rolname = '{role}'"
    );
    assert_eq!(source.value(&rights), "falsefalsefalsetruefalse");
    let hash = format!("SELECT left(rolpassword, 14) FROM pg_authid WHERE rolname = '{role}'");
    assert_eq!(source.value(&hash), "SCRAM-SHA-256$");
    let backup = place.run_expecting(0, &["backup", "--dry-run", "--json"]);
    assert!(!backup.contains("is a superuser"), "{backup}");

    // A second call changes nothing; with --force it writes anew, and the role and its password stay.
    let again = place.run_expecting(1, &init);
    assert!(again.contains("--force"), "{again}");
    assert_eq!(place.toml(), toml);
    let forced = [&init[..], &["--force", "--windows", "90 days"]].concat();
    place.run_expecting(3, &forced);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), password);
    let toml = place.toml();
    assert!(
        toml.contains("\n[[scope.window]]\n") && toml.contains("length = \"90 days\""),
        "{toml}"
    );
    place.run_expecting(3, &["config", "check"]);

    // Elsewhere the role is somebody else's.
    let other = Place::new();
    let refused = other.run_expecting(1, &init);
    assert!(refused.contains("--role"), "{refused}");
    other.nothing_written();
    drop_role(&source, &role);
}

#[test]
fn statements_are_printed_where_no_owner_is_named_and_work_as_they_are() {
    let source = database_with(USERS);
    let (place, role) = (Place::new(), role_of(&source));
    let url = pairs(&source.settings());
    let said = place.run_expecting(
        3,
        &[
            "init",
            "--yes",
            "--json",
            "--url",
            &url,
            "--role",
            &role,
            "--backup-dir",
            "b",
        ],
    );
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&answer["role"]["made"], &answer["plan"]),
        (&Value::Bool(false), &Value::Null)
    );
    let statements = answer["statements"].as_array().unwrap().iter();
    let statements: Vec<&str> = statements.map(|one| one.as_str().unwrap()).collect();
    assert!(statements[0].contains("SCRAM-SHA-256$"), "{statements:?}");
    assert_eq!(
        source.value(&format!(
            "SELECT count(*)::text FROM pg_roles WHERE rolname = '{role}'"
        )),
        "0"
    );
    source.execute(&statements.join("\n"));
    let planned = place.run_expecting(0, &["backup", "--dry-run"]);
    assert!(
        planned.contains("users") && !planned.contains("Missing privileges"),
        "{planned}"
    );
    drop_role(&source, &role);
}

#[test]
fn what_cannot_work_is_said_and_nothing_is_left() {
    let source = database_with(USERS);
    let url = pairs(&source.settings());
    let place = Place::new();
    let nowhere = "host=127.0.0.1 port=1 user=x dbname=y";
    for (code, arguments, words) in [
        (1, &["--url", nowhere][..], "Connection refused"),
        (
            1,
            &["--url", &url, "--backup-dir", "/proc/nowhere"],
            "/proc",
        ),
        (
            1,
            &["--url", &url, "--output", "no/such/place.toml"],
            "--output",
        ),
        (
            2,
            &["--url", &url, "--schedule", "at noon"],
            "schedule.cron",
        ),
        (
            2,
            &["--url", &url, "--admin-email", "ada", "--smtp-host", "x"],
            "not a mail address",
        ),
        (
            2,
            &["--url", &url, "--recipient", "age1nobody"],
            "seal.recipients",
        ),
        (2, &["--url", "postgres://a@b:c/d"], "DATABASE_URL"),
    ] {
        let said = place.run_expecting(code, &[&["init", "--yes"], arguments].concat());
        assert!(said.contains(words), "{words} is not in {said}");
        place.nothing_written();
    }
    // A server on the usual port would be a database to begin with.
    if std::net::TcpStream::connect("localhost:5432").is_err() {
        let said = place.run_expecting(1, &["init", "--yes"]);
        assert!(said.contains("name the database with --url"), "{said}");
    }
    let open = place.path("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let said = place.run_expecting(
        1,
        &["init", "--yes", "--url", &url, "--output", "open/x.toml"],
    );
    assert!(said.contains("chmod"), "{said}");
    assert_eq!(std::fs::read_dir(&open).unwrap().count(), 0);
    std::fs::write(place.path("file"), "").unwrap();
    let said = place.run_expecting(
        1,
        &["init", "--yes", "--url", &url, "--backup-dir", "file/below"],
    );
    assert!(said.contains("is not a directory"), "{said}");
}

#[test]
fn variables_are_taken_over_and_their_secrets_go_into_files() {
    let source = database_with(USERS);
    let settings = source.settings();
    let mut place = Place::new();
    for (name, value) in [
        ("POSTGRES_HOST", settings.host.as_str()),
        ("POSTGRES_PORT", &settings.port.to_string()),
        ("POSTGRES_USER", &settings.user),
        ("POSTGRES_DB", &settings.dbname),
        ("POSTGRES_PASSWORD", "hunter2\"quoted"),
        ("WEBHOOK_URL", "https://example.com/hunter3"),
        ("SMTP_HOST", "smtp.example.com"),
        ("SMTP_FROM", "backup@example.com"),
        ("ADMIN_EMAILS", "ada@example.com"),
        ("BACKUP_RETENTION_DAYS", "9"),
    ] {
        place.variables.push((name.to_owned(), value.to_owned()));
    }
    let said = place.run_expecting(3, &["init", "--yes", "--backup-dir", "b"]);
    assert!(
        said.contains("POSTGRES_HOST") && said.contains("win over the file"),
        "{said}"
    );
    let toml = place.toml();
    assert!(!(said + &toml).contains("hunter"), "{toml}");
    for (file, secret) in [
        ("database_password", "hunter2\"quoted"),
        ("webhook_url", "https://example.com/hunter3"),
    ] {
        let path = place.path(&format!("hubvault.{file}"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), secret);
        assert_eq!(mode(&path), 0o600);
    }
    // Nobody who is mailed gets what is not encrypted.
    assert!(
        toml.contains("attach = \"sealed\"") && toml.contains("days = 9"),
        "{toml}"
    );
    place.variables.clear();
    let check = place.run_expecting(0, &["config", "check"]);
    assert!(check.contains(&format!("/{}", settings.dbname)), "{check}");
}

#[test]
fn odd_databases_get_a_configuration() {
    let many: Vec<String> = (0..500)
        .map(|n| format!("CREATE TABLE t{n} (id int);"))
        .collect();
    let many = many.concat();
    let (empty, many) = (server().database(), database_with(&many));
    empty.execute("CREATE DATABASE \"a=b 'c\"");
    let odd = ConnectSettings {
        dbname: "a=b 'c".to_owned(),
        ..empty.settings()
    };
    for (settings, tables) in [
        (empty.settings(), "0 tables"),
        (odd, "0 tables"),
        (many.settings(), "500 tables"),
    ] {
        let place = Place::new();
        let said = place.run_expecting(
            3,
            &[
                "init",
                "--yes",
                "--url",
                &pairs(&settings),
                "--backup-dir",
                "b",
            ],
        );
        assert!(said.contains(tables), "{said}");
        let show = place.run_expecting(0, &["config", "show", "--json"]);
        assert!(
            show.contains(&serde_json::to_string(&settings.dbname).unwrap()),
            "{show}"
        );
    }
    empty.execute("DROP DATABASE \"a=b 'c\"");
}

#[test]
fn on_a_terminal_it_asks_and_writes_what_was_answered() {
    let source = database_with(&format!("{USERS} {EVENTS}"));
    let (place, role, settings) = (Place::new(), role_of(&source), source.settings());
    std::fs::write(place.path("compose.yaml"), "services: {}").unwrap();
    // On the database's own disk, which is a warning.
    let data = Path::new(&settings.host).ancestors().nth(2).unwrap();
    let beside = tempfile::tempdir_in(data).unwrap();
    let kept = beside.path().join("kept");
    let line = |text: &str| format!("{text}\n");
    let answers = [
        ("Host of the database", line(&settings.host)),
        ("Port", line("1")),
        ("Database", line(&settings.dbname)),
        ("Role", line(&settings.user)),
        ("Password", line("")),
        // Nothing answers there, so it asks again.
        ("Host of the database", line(&settings.host)),
        ("Port", line(&settings.port.to_string())),
        ("Database", line(&settings.dbname)),
        ("Role", line(&settings.user)),
        ("Password", line("")),
        ("Tables to back up", line("")),
        ("Tables to leave out", line("users")),
        ("Take only its recent rows", "y".to_owned()),
        ("How far back", line("1 week")),
        ("Files to back up", line(" ")),
        ("Directory for archives", line(kept.to_str().unwrap())),
        ("Who can open archives", line("")),
        ("How many days", line("14")),
        ("When `hubvault serve`", line("")),
        ("Mail addresses", line("ada@example.com")),
        ("Mail server", line("smtp.example.com")),
        ("Its port", line("")),
        ("Its security", line("")),
        ("The mail is from", line("backup@example.com")),
        ("Its login", line("")),
        ("Use a role that can only read?", "y".to_owned()),
        // That of somebody else.
        ("Its name", line(&settings.user)),
        ("gets no rights", String::new()),
        ("Its name", line(&role)),
        ("now, as", "y".to_owned()),
        ("Write this to", "y".to_owned()),
    ];
    let answers: Vec<(&str, &str)> = answers
        .iter()
        .map(|(asked, text)| (*asked, text.as_str()))
        .collect();
    let output = answer(&place.command(&["init", "--large-mb", "1"]), &answers);
    let said = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let toml = place.toml();
    for words in [
        "exclude = [\"users\"]",
        "\n[[scope.window]]\n",
        "length = \"1 week\"",
        "\n[[file]]\n",
        "compose.yaml",
        "/kept\"",
        "days = 14",
        "to = [\"ada@example.com\"]",
    ] {
        assert!(toml.contains(words), "{words} is not in {toml}\n{said}");
    }
    assert!(said.contains("made the role"), "{said}");
    drop_role(&source, &role);
}

#[test]
fn an_interrupted_call_leaves_nothing() {
    let source = database_with(USERS);
    let url = pairs(&source.settings());
    let place = Place::new();
    for answers in [
        &[("Tables to back up", "\u{3}")][..],
        &[("Tables to back up", "\n"), ("leave out", "\u{3}")],
    ] {
        let output = answer(&place.command(&["init", "--url", &url]), answers);
        let said = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(130), "{said}");
        place.nothing_written();
    }
}
