//! The commands of the Bash system: the same names, arguments and exit codes.

use crate::hub::{HUBVAULT, Hub, stderr, stdout};
use crate::mailing::{code, mailing, only_mail, subject, text, without_tls};
use hubvault_testkit::{Database, MailServer, MailTls, USERS, database_with, server};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/scripts")
}

/// A script as cron or a person would start it, with hubvault on the path.
fn script(hub: &Hub, name: &str, arguments: &[&str]) -> Output {
    let programs = Path::new(HUBVAULT).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path)),
    )
    .unwrap();
    hub.command_of(scripts().join(name))
        .args(arguments)
        .env("PATH", path)
        .current_dir(hub.config())
        .output()
        .unwrap()
}

fn small_hub() -> (hubvault_testkit::Database, Hub) {
    let source = database_with(USERS);
    let hub = Hub::whole(&source);
    (source, hub)
}

#[test]
fn the_commands_of_the_bash_system_still_work() {
    let (_source, mut hub) = small_hub();
    // Here hubvault itself ends with 3; the scripts knew only 0 and 1.
    hub.write("file = []\n[scope]\ntables = [\"users\", \"absent\"]\nwindow = []\n");
    let made = script(&hub, "backup-lightweight.sh", &[]);
    let said = stdout(&made);
    assert_eq!(code(&made), Some(0), "{said}{}", stderr(&made));
    for words in [
        "[INFO] Starting lightweight backup...",
        "[SUCCESS] Backup completed: critical_backup_",
        ".tar.gz (",
        "B)",
    ] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    let warned = stderr(&made);
    assert!(
        warned.contains("absent does not exist") && warned.contains("[WARN]"),
        "{warned}"
    );
    assert!(!said.contains("absent"), "{said}");
    for mark in [".last_backup_success", ".last_backup_size_mb"] {
        assert!(hub.backups().join(mark).is_file(), "{mark}");
    }
    let status = script(&hub, "backup-monitor.sh", &["status"]);
    assert_eq!(code(&status), Some(0), "{}", stderr(&status));
    let said = stdout(&status);
    assert!(
        said.contains("unproven") && said.contains("1 with "),
        "{said}"
    );
}

#[test]
fn a_backup_that_fails_ends_with_1_and_an_error_line() {
    let (_source, mut hub) = small_hub();
    hub.set("POSTGRES_DB", "nowhere");
    let failed = script(&hub, "backup-lightweight.sh", &[]);
    assert_eq!(code(&failed), Some(1));
    let said = stderr(&failed);
    assert!(
        said.contains("[ERROR] The backup failed") && said.contains("nowhere"),
        "{said}"
    );
    assert!(!stdout(&failed).contains("[SUCCESS]"));
    hub.nothing_published();
    // Bad configuration is 2 in hubvault, and was 1.
    hub.set("BACKUP_RETENTION_DAYS", "a month");
    let refused = script(&hub, "backup-lightweight.sh", &[]);
    assert_eq!(code(&refused), Some(1), "{}", stderr(&refused));
}

#[test]
fn the_old_name_resends_the_mail_of_an_archive() {
    let mail = MailServer::start(without_tls());
    let (source, quiet) = small_hub();
    let (_, archive) = quiet.backup();
    let mut hub = mailing(&source, &mail, MailTls::Plain);
    hub.set("BACKUP_DIR", quiet.backups().display().to_string());
    let file = archive.to_str().unwrap();
    let sent = script(&hub, "send-backup-email.sh", &["SUCCESS", file]);
    assert_eq!(code(&sent), Some(0), "{}", stderr(&sent));
    assert!(stdout(&sent).contains("[SUCCESS] Email sent"));
    let parts = only_mail(&mail);
    assert!(
        subject(&parts).contains("1,000 users"),
        "{}",
        subject(&parts)
    );
    assert_eq!(
        parts.attachments[0].bytes,
        std::fs::read(&archive).unwrap(),
        "the archive itself is attached"
    );
}

#[test]
fn the_old_name_mails_a_failure_with_the_callers_text() {
    let mail = MailServer::start(without_tls());
    let source = server().database();
    let hub = mailing(&source, &mail, MailTls::Plain);
    let words = ["FAILURE", "", "the disk of db2 is dead"];
    let sent = script(&hub, "send-backup-email.sh", &words);
    assert_eq!(code(&sent), Some(0), "{}", stderr(&sent));
    let parts = only_mail(&mail);
    assert!(subject(&parts).contains("FAILED"), "{}", subject(&parts));
    assert!(text(&parts).contains("the disk of db2 is dead"));
}

#[test]
fn a_mail_about_a_missing_archive_is_refused() {
    let mail = MailServer::start(without_tls());
    let source = server().database();
    let hub = mailing(&source, &mail, MailTls::Plain);
    let absent = ["SUCCESS", "critical_backup_20200101_000000.tar.gz"];
    let refused = script(&hub, "send-backup-email.sh", &absent);
    assert_eq!(code(&refused), Some(1));
    assert!(
        stderr(&refused).contains("hubvault list"),
        "{}",
        stderr(&refused)
    );
    let mixed = hub.run(&["mail", "send", "digest", "--backup", "latest"]);
    assert_eq!(code(&mixed), Some(1));
    assert!(mail.messages().is_empty());
}

#[test]
fn unknown_arguments_of_the_scripts_end_with_1_and_the_usage() {
    let (_source, hub) = small_hub();
    for (name, arguments) in [
        ("backup-monitor.sh", &["nonsense"][..]),
        ("send-backup-email.sh", &[][..]),
        ("send-backup-email.sh", &["SUCCESS"][..]),
        ("send-backup-email.sh", &["MAYBE", "file"][..]),
        ("backup-lightweight.sh", &["now"][..]),
    ] {
        let output = script(&hub, name, arguments);
        assert_eq!(code(&output), Some(1), "{name} {arguments:?}");
        assert!(stderr(&output).contains("Usage:"), "{}", stderr(&output));
    }
    let help = script(&hub, "backup-monitor.sh", &["--help"]);
    assert_eq!(code(&help), Some(0));
    assert!(stdout(&help).contains("check-db"));
}

#[test]
fn the_checks_of_the_bash_system_keep_their_names() {
    let (_source, mut hub) = small_hub();
    // Only a proven backup counts as young.
    hub.set("PROOF", "always");
    assert_eq!(code(&script(&hub, "backup-lightweight.sh", &[])), Some(0));
    for check in [
        "check-time",
        "check-size",
        "check-files",
        "check-disk",
        "check-db",
    ] {
        let output = script(&hub, "backup-monitor.sh", &[check]);
        assert_eq!(code(&output), Some(0), "{check}: {}", stderr(&output));
        assert!(stdout(&output).contains("passed"), "{}", stdout(&output));
    }
}

/// What a dry run says with the variables of the Bash system and this file: its tables, and its warnings.
fn planned(source: &Database, toml: &str) -> (Vec<String>, Vec<String>) {
    let mut hub = Hub::whole(source);
    hub.write(toml);
    let output = hub.run(&["backup", "--dry-run", "--json"]);
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let texts = |key: &str, of: &str| -> Vec<String> {
        let all = plan[key].as_array().unwrap().iter();
        all.map(|one| one[of].as_str().unwrap().to_owned())
            .collect()
    };
    let warnings = texts("warnings", "message");
    let ends_with = if warnings.is_empty() { 0 } else { 3 };
    assert_eq!(code(&output), Some(ends_with), "{plan}");
    (texts("tables", "name"), warnings)
}

const PURCHASES: &str = "CREATE TABLE purchases (id int PRIMARY KEY, created_at timestamptz);
    INSERT INTO purchases VALUES (1, now()), (2, now() - interval '1 year');
    CREATE TABLE others (id int); CREATE SCHEMA far CREATE TABLE away (id int); ANALYZE;";

#[test]
fn the_variables_alone_mean_the_bash_systems_tables_and_one_warning_for_all_that_are_absent() {
    let source = database_with(&format!("{USERS} {PURCHASES}"));
    let (tables, warnings) = planned(&source, "");
    assert_eq!(tables, ["purchases", "users"]);
    let [absent, files] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    assert!(
        absent.contains("user_roles, organizations")
            && absent.contains("point_transactions do not exist"),
        "{absent}"
    );
    assert!(
        files.contains(".env.production") && files.contains("/ssl;"),
        "{files}"
    );
    let mut hub = Hub::whole(&source);
    hub.write("");
    let (record, _) = hub.backup();
    let rows = record["tables"].as_array().unwrap().iter();
    let rows: Vec<u64> = rows.map(|table| table["rows"].as_u64().unwrap()).collect();
    assert_eq!(
        rows.iter().sum::<u64>(),
        1_001,
        "the window's recent row, all users"
    );
}

#[test]
fn a_database_without_any_of_these_tables_is_taken_whole() {
    let source =
        database_with("CREATE TABLE things (id int); CREATE SCHEMA far CREATE TABLE away (id int)");
    let (tables, warnings) = planned(&source, "");
    assert_eq!(tables, ["far.away", "things"]);
    assert!(
        warnings[0].contains("so all tables are taken"),
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 2, "and one about the files: {warnings:?}");
}

#[test]
fn beside_a_file_the_tables_of_the_bash_system_are_no_warning() {
    let source = database_with(&format!("{USERS} {PURCHASES}"));
    let all = ["far.away", "others", "purchases", "users"];
    let (tables, warnings) = planned(&source, "[log]\nlevel = \"warn\"\n");
    assert_eq!(
        (tables, warnings),
        (all.map(str::to_owned).to_vec(), Vec::new())
    );
    // Its windows go on, where nothing else takes the table.
    let (tables, warnings) = planned(&source, "[scope]\ntables = [\"users\"]\n");
    assert_eq!(tables, ["purchases", "users"]);
    assert!(warnings.is_empty(), "{warnings:?}");
}
