//! Every mail as it arrives, as snapshots: a changed template is reviewed before it is accepted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use hubvault_engine::catalog::{BackupCopy, BackupRecord, State};
use hubvault_engine::delivery::{AlertFacts, Facts, Known, MAIL_TYPES, Templates, sample};
use hubvault_engine::overview::recorded;
use jiff::SignedDuration;
use jiff::tz::TimeZone;

fn facts(kind: &str, record: &BackupRecord, history: &[BackupRecord]) -> Facts {
    let known = Known {
        source: "hub on db:5432",
        history,
        whole: &BackupRecord::clone,
        outbox: &[],
        look: recorded,
        max_age_hours: 25,
        mails_unsealed: false,
        risks: None,
        now: record.started_at + SignedDuration::from_mins(5),
        zone: &TimeZone::UTC,
    };
    Facts::new(kind, record, &known)
}

fn golden(name: &str, kind: &str, facts: &Facts) {
    let rendered = Templates::new(None).render(kind, facts);
    assert_eq!(rendered.problems, [""; 0]);
    let link = facts.archive.as_ref().and_then(|a| a.link.as_ref());
    // The one address that a mail may name.
    let own = link.map(|link| format!("href=\"{}\"", escaped(&link.url)));
    let html = rendered
        .html
        .replace(own.as_deref().unwrap_or("no link"), "");
    for forbidden in ["<script", "http://", "https://", "src=", "@import", "url("] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    insta::assert_snapshot!(
        format!("{name}_text"),
        format!("Subject: {}\n\n{}", rendered.subject, rendered.text)
    );
    let body = rendered.html.split("<body>").nth(1).unwrap();
    insta::assert_snapshot!(format!("{name}_html"), body);
}

/// As templates write it into HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('/', "&#x2f;")
}

fn failed() -> BackupRecord {
    let mut record = sample::record("hub");
    record.state = State::Failed;
    record.copies.clear();
    record.error = Some("exporting users: the connection to db:5432 was lost".to_owned());
    record
}

#[test]
fn the_mail_of_a_proven_backup_says_what_is_in_it_and_how_to_restore_it() {
    let mut record = sample::record("hub");
    record.warnings.clear();
    record.sealed_to = vec!["age1...".into(), "age2...".into()];
    let path = "/backups/critical_backup_20261123_020000.tar.gz.age";
    record.copies = vec![BackupCopy::local(path, record.bytes)];
    let next = record.started_at + jiff::SignedDuration::from_hours(24);
    let history = [record.clone(), sample::before("hub")];
    let mut facts = facts("success", &record, &history).before(Some(next), &TimeZone::UTC);
    facts.archive.as_mut().unwrap().attachment = "It is attached to this mail.".to_owned();
    golden("success", "success", &facts);
}

#[test]
fn a_download_link_is_shown_with_its_expiry() {
    let record = sample::record("hub");
    let mut facts = facts("success", &record, &[]);
    let archive = facts.archive.as_mut().unwrap();
    archive.attachment = "Not attached: email.attach is never.".to_owned();
    archive.link = Some(sample::link());
    golden("linked", "success", &facts);
}

#[test]
fn warnings_and_an_unsealed_archive_come_first() {
    let record = sample::record("hub");
    golden("warnings", "success", &facts("success", &record, &[]));
}

#[test]
fn an_unproven_backup_says_so_in_its_subject_and_first_line() {
    let mut record = sample::record("hub");
    record.state = State::Unproven;
    record.proof.proven = false;
    record.proof.drill = None;
    record.proof.reason = Some("no PostgreSQL server programs here".to_owned());
    golden("unproven", "success", &facts("success", &record, &[]));
}

#[test]
fn a_failure_says_what_it_means_and_what_to_do() {
    let record = failed();
    let history = [record.clone(), sample::before("hub")];
    let causes = [
        "exporting users: the connection to db:5432 was lost".to_owned(),
        "server closed the connection unexpectedly".to_owned(),
    ];
    let log = ["2026-11-23T02:00:02Z  INFO exporting".to_owned()];
    let facts_of = facts("failure", &record, &history).failed_by(&causes, &log);
    golden("failure", "failure", &facts_of);
    golden(
        "failure_of_the_first",
        "failure",
        &facts("failure", &failed(), &[]),
    );
}

#[test]
fn alerts_and_recoveries_name_the_check() {
    let record = sample::record("hub");
    let history = [record.clone(), sample::before("hub")];
    let alert = facts("alert", &record, &history).of_alert(sample::alert());
    golden("alert", "alert", &alert);
    let recovered = facts("recovered", &record, &history).of_alert(AlertFacts {
        what: "a proven backup is 5 minutes old".to_owned(),
        next: String::new(),
        ..sample::alert()
    });
    golden("recovered", "recovered", &recovered);
}

#[test]
fn the_digest_sums_up_a_week() {
    let record = sample::record("hub");
    let mut broken = failed();
    broken.started_at -= SignedDuration::from_hours(48);
    let history = [record.clone(), sample::before("hub"), broken];
    golden("digest", "digest", &facts("digest", &record, &history));
    golden(
        "digest_of_nothing",
        "digest",
        &facts("digest", &failed(), &[]),
    );
}

#[test]
fn table_names_are_escaped_in_html() {
    let mut record = sample::record("hub");
    record.tables[0].name = "<script>alert(1)</script>".to_owned();
    let rendered = Templates::new(None).render("success", &facts("success", &record, &[]));
    assert!(
        !rendered.html.contains("<script>alert"),
        "{}",
        rendered.html
    );
    assert!(rendered.text.contains("<script>alert(1)</script>"));
}

#[test]
fn a_mail_type_needs_only_a_text_template_in_the_template_directory() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("monday.txt"), "{{ job }}\n\n1 < 2\n").unwrap();
    let templates = Templates::new(Some(directory.path()));
    assert!(templates.types().contains("monday"));
    let record = sample::record("hub");
    let rendered = templates.render("monday", &facts("monday", &record, &[]));
    assert_eq!(
        (rendered.subject.as_str(), rendered.text.as_str()),
        ("hub", "1 < 2\n")
    );
    assert!(rendered.html.contains("1 &lt; 2"));
    let outside = templates.render("../monday", &facts("x", &record, &[]));
    assert_eq!(outside.problems.len(), 1);
}

#[test]
fn every_type_of_mail_is_in_the_manual() {
    let page = include_str!("../../../docs/mail.md");
    for mail_type in MAIL_TYPES {
        let name = format!("`{}`", mail_type.name);
        let mut rows = page.lines().filter(|line| line.starts_with("| `"));
        assert!(rows.any(|row| row.contains(&name)), "{name} is missing");
    }
}
