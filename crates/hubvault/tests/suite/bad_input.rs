//! Errors name what is wrong and the next step, and leave nothing unfinished behind.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{Fault, Proxy, USERS, database_with, server};
use std::os::unix::fs::PermissionsExt;

/// About 40 MB, so that a COPY of it can be interrupted.
const MIDDLE: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, repeat(md5(n::text), 12) FROM generate_series(1, 100000) n;
    ANALYZE;";

#[test]
fn an_unreachable_server_is_named_with_its_address() {
    let server = server();
    let mut hub = Hub::whole(&server.database());
    hub.set("POSTGRES_HOST", "/nonexistent");
    hub.backup_fails(1, &["/nonexistent"]);
}

#[test]
fn a_missing_database_is_named() {
    let server = server();
    let mut hub = Hub::whole(&server.database());
    hub.set("POSTGRES_DB", "nothere");
    hub.backup_fails(1, &["nothere"]);
}

#[test]
fn a_server_without_tls_is_refused_when_tls_is_asked_for() {
    let server = server();
    let database = server.database();
    let proxy = Proxy::start(&database.settings(), Fault::None);
    let mut hub = Hub::whole(&database);
    hub.set("POSTGRES_HOST", "127.0.0.1");
    hub.set("POSTGRES_PORT", proxy.port().to_string());
    hub.set("PGSSLMODE", "require");
    hub.backup_fails(1, &["TLS"]);
}

#[test]
fn an_unreadable_table_stops_the_run_before_the_export() {
    let database = database_with(USERS);
    let role = format!("limited_{}", database.name());
    database.execute(&format!(
        "CREATE TABLE secrets (id int); CREATE SEQUENCE hidden;
         CREATE TABLE filtered (id int); ALTER TABLE filtered ENABLE ROW LEVEL SECURITY;
         CREATE POLICY none ON filtered USING (false);
         CREATE SCHEMA apart; CREATE SEQUENCE apart.far;
         CREATE ROLE {role} LOGIN; GRANT SELECT ON users, filtered TO {role};
         REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
        database.name()
    ));
    let mut hub = Hub::whole(&database);
    hub.set("POSTGRES_USER", &role);
    let said = hub.backup_fails(
        1,
        &["GRANT CONNECT ON DATABASE", "GRANT pg_read_all_data TO"],
    );
    run_statements(&database, &said);
    // What is known is shown, and everything that is missing.
    let plan = stdout(&hub.run_expecting(3, &["backup", "--dry-run"]));
    for part in [
        "users",
        "secrets",
        "filtered",
        "GRANT SELECT ON",
        "BYPASSRLS",
        "3 tables",
    ] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    let said = hub.backup_fails(1, &["GRANT SELECT ON", "secrets", "BYPASSRLS"]);
    // What it prints is the cure, in one round.
    run_statements(&database, &said);
    hub.backup();
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

pub(crate) fn run_statements(database: &hubvault_testkit::Database, said: &str) {
    for line in said.lines().map(str::trim) {
        if line.starts_with("GRANT ") && !line.contains("GRANT pg_read_all_data")
            || line.starts_with("ALTER ROLE ")
        {
            database.execute(line.trim_end_matches(';'));
        }
    }
}

#[test]
fn a_missing_table_is_a_warning_or_an_error_as_configured() {
    let database = database_with(USERS);
    let scope = "[scope]\ntables = [\"users\", \"ghosts\"]\nwindow = []\n";
    let (record, _) = Hub::with(&database, scope).backup();
    assert!(
        record["warnings"]
            .to_string()
            .contains("ghosts does not exist")
    );
    let hub = Hub::with(&database, &format!("{scope}missing = \"fail\"\n"));
    hub.backup_fails(1, &["ghosts", "missing"]);
}

#[test]
fn large_objects_are_left_out_and_reported() {
    let database = database_with(USERS);
    let hub = Hub::whole(&database);
    assert_eq!(hub.backup().0["warnings"].to_string(), "[]");
    database.execute("SELECT lo_from_bytea(0, 'x'), lo_from_bytea(0, 'y')");
    let plan = stdout(&hub.run(&["backup", "--dry-run"]));
    assert!(
        plan.contains("2 large objects are not in the archive"),
        "{plan}"
    );
}

#[test]
fn a_scope_that_matches_nothing_is_an_error() {
    let server = server();
    let database = server.database();
    let hub = Hub::with(&database, "[scope]\ntables = [\"ghosts\"]\nwindow = []\n");
    hub.backup_fails(1, &["nothing to back up"]);
}

#[test]
fn a_lost_connection_never_leaves_a_shorter_archive() {
    let database = database_with(MIDDLE);
    for cut in [200_000, 3_000_000, 20_000_000] {
        let proxy = Proxy::start(&database.settings(), Fault::CutAfter(cut));
        let mut hub = Hub::whole(&database);
        hub.set("POSTGRES_HOST", "127.0.0.1");
        hub.set("POSTGRES_PORT", proxy.port().to_string());
        hub.set("PGSSLMODE", "disable");
        hub.backup_fails(1, &["error"]);
        let listed = stdout(&hub.run(&["list"]));
        assert!(listed.contains("failed"), "{listed}");
    }
}

#[test]
fn a_terminated_backend_fails_the_run() {
    let database = database_with(MIDDLE);
    for end in ["pg_terminate_backend", "pg_cancel_backend"] {
        let hub = Hub::whole(&database);
        let child = hub
            .command(&["backup"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let sql = format!(
            "SELECT count({end}(pid)) FROM pg_stat_activity WHERE query LIKE 'COPY %users%' AND \
             state = 'active' AND datname = '{}'",
            database.name()
        );
        while database.value(&sql) == "0" {
            std::thread::yield_now();
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        hub.nothing_published();
    }
}

#[test]
fn a_locked_table_is_reported_with_the_holder_of_the_lock() {
    let database = database_with(USERS);
    let mut blocker = database.client();
    blocker
        .batch_execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let hub = Hub::with(
        &database,
        "[database]\nlock_timeout = \"300 ms\"\n[scope]\ntables = [\"*\"]\nwindow = []\n",
    );
    hub.backup_fails(1, &["LOCK TABLE users"]);
}

#[test]
fn a_missing_or_unwritable_directory_is_named() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    hub.set("BACKUP_DIR", "/proc/nowhere");
    hub.backup_fails(1, &["/proc/nowhere"]);
}

#[test]
fn an_archive_outside_its_limits_is_not_published() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    hub.set("BACKUP_MIN_SIZE_MB", "5");
    hub.backup_fails(1, &["BACKUP_MIN_SIZE_MB"]);
}

#[test]
fn a_failing_or_incomplete_pg_dump_fails_the_run() {
    let database = database_with(USERS);
    let tools = tempfile::tempdir().unwrap();
    let fake = tools.path().join("pg_dump");
    for (script, word) in [
        ("echo 'pg_dump: error: it broke' >&2; exit 1", "it broke"),
        ("echo rubbish; exit 0", "pg_dump"),
    ] {
        let version = "case \"$*\" in *--version*) echo 'pg_dump (PostgreSQL) 99.1'; exit 0;; esac";
        std::fs::write(&fake, format!("#!/bin/sh\n{version}\n{script}\n")).unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut hub = Hub::whole(&database);
        let path = std::env::var("PATH").unwrap();
        hub.set("PATH", format!("{}:{path}", tools.path().display()));
        hub.backup_fails(1, &[word]);
    }
}

#[test]
fn the_password_is_never_shown() {
    let server = server();
    let database = server.database();
    let mut hub = Hub::whole(&database);
    hub.set("POSTGRES_PASSWORD", "hunter2-hunter2");
    hub.set("POSTGRES_HOST", "/nonexistent");
    hub.set("LOG_LEVEL", "debug");
    let said = hub.backup_fails(1, &[]);
    assert!(!said.contains("hunter2"));
    let shown = hub.run(&["config", "show"]);
    assert!(!(stdout(&shown) + &stderr(&shown)).contains("hunter2"));
}
