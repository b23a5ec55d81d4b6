//! What commands show of every setting, as text and as JSON.

use crate::hub::{HUBVAULT, Hub, stderr, stdout};
use crate::keys::Pair;
use crate::mailing::{send_mail_to, without_tls};
use hubvault_testkit::{MailServer, MailTls, USERS, database_with};
use serde_json::Value;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

const ROWS: &str = "CREATE TABLE users (id serial PRIMARY KEY, name text);
    CREATE TABLE secrets (id int PRIMARY KEY REFERENCES users);
    CREATE TABLE purchases (
        id int PRIMARY KEY, buyer int REFERENCES users, secret int REFERENCES secrets, at timestamptz DEFAULT now());
    INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 40) n;
    INSERT INTO purchases SELECT n, n, NULL, now() - n * interval '1 day' FROM generate_series(1, 40) n;
    CREATE VIEW named AS SELECT name FROM users;
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM users;
    ANALYZE;";
const EVERYTHING: &str = "[scope]\ntables = [\"users\", \"named\", \"counted\"]\n
    [[scope.window]]\ntables = [\"purchases\"]\ncolumn = \"at\"\nlength = \"10 days\"\nreferences = \"warn\"\n
    [[file]]\nsource = \"hubvault.toml\"\nname = \"config/hubvault.toml\"\nrequired = true\n
    [[source]]\nname = \"a.txt\"\ncommand = [\"echo\", \"a text\"]\nrequired = false\n
    [[hook]]\nstage = \"run\"\nwhen = \"before\"\ncommand = \"true\"\n";

/// What a command prints, which must succeed with one of these exit codes.
fn run_text(hub: &Hub, arguments: &[&str], codes: &[i32]) -> String {
    let output = hub.run(arguments);
    let said = stdout(&output) + &stderr(&output);
    let code = output.status.code().unwrap();
    assert!(codes.contains(&code), "{arguments:?}: {code}: {said}");
    said
}

fn json(hub: &Hub, arguments: &[&str]) -> Value {
    let output = hub.run(arguments);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", stderr(&output)))
}

fn assert_contains(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[test]
fn every_setting_is_shown_in_the_plan_and_in_config_show() {
    let database = database_with(ROWS);
    let mut hub = Hub::with(&database, EVERYTHING);
    let alice = Pair::age(&hub.config(), "alice");
    hub.write(&format!(
        "{EVERYTHING}[[seal.recipient]]\nkey = \"{}\"\nname = \"alice\"\n",
        alice.public
    ));
    let plan = run_text(&hub, &["backup", "--dry-run"], &[0, 3]);
    assert_contains(
        &plan,
        &[
            "config/hubvault.toml (required)",
            "The archive is sealed",
            "before run: ",
            "secrets",
            "Foreign keys restored as NOT VALID",
            "is a view: its definition is in the archive",
            "is a materialized view: a restore fills it",
        ],
    );
    let plan = json(&hub, &["backup", "--dry-run", "--json"]).to_string();
    assert_contains(&plan, &["\"before\"", "a.txt", "config/hubvault.toml"]);
    let shown = run_text(&hub, &["config", "show"], &[0]);
    assert_contains(
        &shown,
        &[
            "as config/hubvault.toml, required",
            ", optional",
            "on failure fail",
            "alice (age1",
        ],
    );
    assert_contains(
        &run_text(&hub, &["config", "check"], &[0]),
        &["sealed to 1 recipient"],
    );

    assert_contains(
        &run_text(&hub, &["status"], &[0, 1, 3]),
        &["hubvault backup takes the first"],
    );
    hub.backup();
    assert_contains(
        &run_text(&hub, &["check", "seal"], &[1]),
        &["never shown to be able to open an archive"],
    );
    assert_contains(
        &run_text(&hub, &["status"], &[0, 1, 3]),
        &["alice (never confirmed)"],
    );
    assert!(json(&hub, &["status", "--json"]).is_object());
    let identity = ["verify", "latest", "--identity", alice.identity()];
    let verified = json(&hub, &[&identity[..], &["--json"]].concat());
    assert_eq!(verified["checked"], "whole");
    assert_contains(
        &run_text(&hub, &["check", "seal"], &[0]),
        &["the recipient was shown"],
    );
    assert_contains(
        &run_text(&hub, &["status"], &[0, 1, 3]),
        &["alice (confirmed "],
    );
    let shown = run_text(
        &hub,
        &["show", "latest", "--identity", alice.identity()],
        &[0],
    );
    assert_contains(&shown, &["Not included", "secrets", "NOT VALID", "window"]);
    run_text(&hub, &["show", "latest"], &[0]);
    run_text(&hub, &["show", "latest", "--json"], &[0]);
    assert!(json(&hub, &["prune", "--dry-run", "--json"]).is_array());
}

#[test]
fn tokens_outbox_and_sample_mails_are_shown_before_the_first_run() {
    let office = MailServer::start(without_tls());
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    send_mail_to(&mut hub, &office, MailTls::Plain);
    hub.write("file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\ntries = 1\n");
    assert_contains(
        &run_text(&hub, &["token", "list"], &[0]),
        &["no tokens; create one with hubvault token create"],
    );
    run_text(
        &hub,
        &["token", "create", "watcher", "--role", "read"],
        &[0],
    );
    assert_contains(
        &run_text(&hub, &["token", "list"], &[0]),
        &["watcher", "read", "created (UTC)"],
    );
    assert_contains(
        &run_text(&hub, &["mail", "outbox"], &[0]),
        &["no messages yet"],
    );
    for kind in ["success", "failure"] {
        let shown = run_text(&hub, &["mail", "preview", kind], &[0]);
        assert_contains(&shown, &["Subject: ", "showing a sample"]);
        assert_contains(
            &run_text(&hub, &["mail", "preview", kind, "--html"], &[0]),
            &["<body>"],
        );
    }
    hub.backup();
    assert_contains(
        &run_text(&hub, &["mail", "outbox"], &[0]),
        &["ada@hub.example", "sent"],
    );
    hub.set("SMTP_PORT", "1");
    hub.run(&["backup"]);
    assert_contains(&run_text(&hub, &["mail", "outbox"], &[0]), &["refused"]);
    hub.set("EMAIL_ENABLED", "false");
    assert_contains(
        &run_text(&hub, &["mail", "test"], &[1]),
        &["email.enabled is false"],
    );
}

#[test]
fn files_that_cannot_be_archived_are_left_out_with_a_warning() {
    let database = database_with("CREATE TABLE users (id int)");
    let etc = tempfile::tempdir().unwrap();
    let root = etc.path();
    fs::write(root.join("good"), "good").unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"b\xffd")), "bad").unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(root.join("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let _listener = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    std::os::unix::fs::symlink("/dev/null", root.join("away")).unwrap();
    let hub = Hub::with(
        &database,
        &format!(
            "[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = \"{}\"\nname = \"config/etc\"\n\
             [[file]]\nsource = \"/dev/null\"\nname = \"config/null\"\n",
            root.display()
        ),
    );
    let (record, archive) = hub.backup();
    let warnings = record["warnings"].to_string();
    assert_contains(
        &warnings,
        &[
            "has a name that is not UTF-8",
            "is a pipe: left out",
            "socket",
            "is a device: left out",
        ],
    );
    let listed = Command::new("tar")
        .arg("-tzf")
        .arg(&archive)
        .output()
        .unwrap();
    let listed = stdout(&listed);
    assert!(listed.contains("config/etc/good"), "{listed}");
    assert!(
        !listed.contains("pipe") && !listed.contains("config/null"),
        "{listed}"
    );
}

#[test]
fn a_terminal_gets_a_progress_bar_and_programs_need_not_be_in_the_path() {
    let database = database_with(USERS);
    let hub = Hub::whole(&database);
    // Debian's package directories have the programs, too.
    let bare = tempfile::tempdir().unwrap();
    let shell = fs::canonicalize("/bin/sh").unwrap();
    std::os::unix::fs::symlink(shell, bare.path().join("sh")).unwrap();
    let version =
        database.value("SELECT (current_setting('server_version_num')::int / 10000)::text");
    let mut majors = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let is_new_enough = |major: fs::DirEntry| {
        let major = major.file_name().to_string_lossy().parse::<u32>();
        major.is_ok_and(|major| major >= version.parse().unwrap())
    };
    if majors.any(is_new_enough) {
        let output = hub
            .command(&["backup"])
            .env("PATH", bare.path())
            .output()
            .unwrap();
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{}",
            stderr(&output)
        );
    }
    let output = hub
        .command_of("script")
        .args(["-qec", &format!("{HUBVAULT} backup"), "/dev/null"])
        .env("TERM", "xterm")
        .output()
        .unwrap();
    let shown = stdout(&output);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{shown}");
    // It was drawn, and is cleared at the end.
    assert_contains(&shown, &["\u{1b}[", "export", "rows"]);
}

#[test]
fn missing_things_are_named_with_what_to_do() {
    let database = database_with(ROWS);
    let role = format!("reader_of_{}", database.name());
    database.execute(&format!(
        "CREATE SCHEMA inner_part; CREATE TABLE inner_part.things (id int); CREATE ROLE {role} LOGIN"
    ));
    let mut hub = Hub::with(
        &database,
        "[scope]\ntables = [\"users\", \"inner_part.*\"]\nwindow = []\n",
    );
    hub.set("POSTGRES_USER", &role);
    let plan = run_text(&hub, &["backup", "--dry-run"], &[1, 3]);
    assert_contains(
        &plan,
        &[
            "run as a superuser or the owner",
            "GRANT USAGE ON SCHEMA inner_part TO",
            "GRANT SELECT ON",
        ],
    );
    hub.set("POSTGRES_USER", database.settings().user);
    database.execute(&format!("DROP ROLE {role}"));

    // A window names what is not there, and rows by a column that is not there.
    let window = |tables: &str, rows: &str| {
        format!(
            "file = []\n[scope]\ntables = [\"users\"]\n[[scope.window]]\ntables = [\"{tables}\"]\n{rows}\n"
        )
    };
    hub.write(&window("gone", "column = \"at\"\nlength = \"1 day\""));
    let warned = run_text(&hub, &["backup", "--dry-run"], &[0, 3]);
    assert_contains(
        &warned,
        &["gone does not exist in this database (a window of the scope names it)"],
    );
    hub.write(&window("gone*", "where = \"true\""));
    let warned = run_text(&hub, &["backup", "--dry-run"], &[0, 3]);
    assert_contains(
        &warned,
        &["gone* matches no table of this database (a where window"],
    );
    hub.write(&window("secrets", "column = \"at\"\nlength = \"1 day\""));
    assert_contains(&run_text(&hub, &["backup"], &[1]), &["secrets", "at"]);

    // Another run has the lock, and an archive goes behind its back.
    hub.write("file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n");
    let (_, archive) = hub.backup();
    let lock = fs::File::open(hub.backups().join(".hubvault/run.lock")).unwrap();
    lock.lock().unwrap();
    assert_contains(
        &run_text(&hub, &["backup"], &[1]),
        &["another run holds the lock"],
    );
    drop(lock);
    fs::remove_file(archive).unwrap();
    assert_contains(&run_text(&hub, &["status"], &[0, 1, 3]), &["is missing"]);
    assert_contains(
        &run_text(&hub, &["--job", "hub", "serve"], &[2]),
        &["leave --job out"],
    );
}

#[test]
fn a_message_of_a_removed_channel_stays_queued() {
    let database = database_with(USERS);
    let office = MailServer::start(without_tls());
    let mut hub = Hub::whole(&database);
    send_mail_to(&mut hub, &office, MailTls::Plain);
    hub.write("file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\ntries = 1\n");
    hub.set("SMTP_PORT", "1");
    hub.set("WEBHOOK_URL", "http://127.0.0.1:1/");
    hub.run(&["backup"]);
    hub.set("EMAIL_ENABLED", "false");
    hub.set("WEBHOOK_URL", "");
    hub.set("PING_URL", "http://127.0.0.1:1/");
    run_text(&hub, &["mail", "retry"], &[1, 3]);
    let waits = run_text(&hub, &["mail", "outbox"], &[0]);
    assert_contains(
        &waits,
        &[
            "no mail is configured any more",
            "no webhook is configured any more",
        ],
    );
}
