//! `hubvault doctor`: a report for whoever helps, also where something is wrong, and what `config check` warns of.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{USERS, database_with};
use serde_json::Value;

#[test]
fn the_report_has_versions_settings_checks_and_the_last_errors() {
    let source = database_with(USERS);
    let mut hub = Hub::whole(&source);
    hub.set("POSTGRES_PASSWORD", "hunter2-of-the-database");
    hub.set("WEBHOOK_URL", "https://example.com/hunter2-of-the-hook");
    let name = source.name().to_owned();
    hub.set("POSTGRES_DB", "hunter2-of-the-database");
    hub.backup_fails(1, &["does not exist"]);
    hub.set("POSTGRES_DB", name);
    hub.backup();
    let report = stdout(&hub.run_expecting(0, &["doctor"]));
    for words in [
        "hubvault 0.",
        "kernel Linux",
        "distribution ",
        "PostgreSQL 1",
        "1 table",
        "pg_dump 1",
        "postgres 1",
        "sandbox of drills",
        "database.password = ********  (variable POSTGRES_PASSWORD)",
        "more at their defaults",
        "2 in the catalog",
        " failed: ",
        "backups: ",
    ] {
        assert!(report.contains(words), "{words:?} is not in:\n{report}");
    }
    let json = stdout(&hub.run_expecting(0, &["doctor", "--json"]));
    let answer: Value = serde_json::from_str(&json).unwrap();
    assert!(
        answer["programs"].as_array().unwrap().len() == 4,
        "{answer}"
    );
    for text in [report, json] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("***"), "{text}");
    }
}

#[test]
fn the_report_is_made_also_where_nothing_works() {
    let source = database_with(USERS);
    let mut hub = Hub::whole(&source);
    hub.set("POSTGRES_HOST", "127.0.0.1");
    hub.set("POSTGRES_PORT", "1");
    std::fs::write(hub.backups().join(".hubvault"), "no directory").unwrap();
    let report = stdout(&hub.run_expecting(0, &["doctor"]));
    assert!(report.contains("Connection refused"), "{report}");
    assert!(
        report.contains("kernel") && report.contains(".hubvault"),
        "{report}"
    );
    hub.set("BACKUP_RETENTION_DAYS", "a month");
    let report = stdout(&hub.run_expecting(0, &["doctor"]));
    assert!(
        report.contains("retention.days") && report.contains("pg_dump"),
        "{report}"
    );
}

#[test]
fn a_right_configuration_says_what_it_leads_to() {
    let source = database_with(USERS);
    let mut hub = Hub::whole(&source);
    hub.set("PROOF", "always");
    // Nothing is known of its disk.
    hub.set("POSTGRES_HOST", "db.example");
    let fine = hub.run_expecting(0, &["config", "check"]);
    assert!(!stdout(&fine).contains("! "), "{}", stdout(&fine));
    let says = |hub: &Hub, words: &str| {
        let output = hub.run_expecting(3, &["config", "check"]);
        assert!(
            stdout(&output).contains(words),
            "{words}: {}",
            stdout(&output)
        );
        let json = hub.run_expecting(3, &["config", "check", "--json"]);
        let answer: Value = serde_json::from_slice(&json.stdout).unwrap();
        let warnings = answer["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{answer}{}", stderr(&json));
    };
    hub.set("EMAIL_ENABLED", "true");
    says(
        &hub,
        "nobody is notified when a backup fails or warns; set email.host",
    );
    hub.set("PING_URL", "https://example.com/ping");
    says(&hub, "only a ping says that a backup failed");
    hub.set("SMTP_HOST", "localhost");
    hub.set("SMTP_FROM", "backup@hub.example");
    hub.set("ADMIN_EMAILS", "ada@hub.example");
    says(&hub, "archives are mailed unsealed");
    hub.set("EMAIL_ATTACH", "sealed");
    hub.run_expecting(0, &["config", "check"]);
    hub.set("BACKUP_RETENTION_DAYS", "0");
    hub.write("file = []\n[scope]\ntables = [\"*\"]\n[retention]\nkeep_last = 1\n");
    says(&hub, "each backup removes the one before it");
}
