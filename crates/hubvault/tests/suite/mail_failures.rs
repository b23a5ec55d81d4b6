//! Notifications that fail are sent later, or reported as not sent.

use crate::hub::{Hub, stderr, stdout};
use crate::mailing::{
    PASSWORD, code, mailing, mailing_with_short_delays, only_mail, outbox, record, subject, text,
    without_tls,
};
use hubvault_testkit::{
    Answer, HttpSink, MailFault, MailServer, MailServerOptions, MailTls, USERS, database_with,
    server,
};
use std::path::Path;

#[test]
fn a_busy_server_is_retried_and_nothing_arrives_twice() {
    let mail = MailServer::start(MailServerOptions {
        busy_first: 2,
        ..without_tls()
    });
    let source = database_with(USERS);
    let hub = mailing_with_short_delays(&source, &mail);
    let (record, _) = hub.backup();
    assert_eq!(record["delivery"]["told"].as_array().unwrap().len(), 2);
    assert_eq!(mail.messages().len(), 1);
    assert_eq!(outbox(&hub)[0]["tries"], 3);
    let retry = hub.run(&["mail", "retry"]);
    assert_eq!((code(&retry), mail.messages().len()), (Some(0), 1));
}

#[test]
fn one_refused_recipient_does_not_block_the_others_mail() {
    let mail = MailServer::start(MailServerOptions {
        refuse: vec!["grace@hub.example".into()],
        ..without_tls()
    });
    let source = database_with(USERS);
    let hub = mailing_with_short_delays(&source, &mail);
    let output = hub.run(&["backup", "--json"]);
    assert_eq!(code(&output), Some(3));
    let record = record(&output);
    assert_eq!(
        record["delivery"]["told"],
        serde_json::json!(["ada@hub.example"])
    );
    let untold = &record["delivery"]["untold"][0];
    assert_eq!(untold["to"], "grace@hub.example");
    assert_eq!(untold["waiting"], false);
    assert!(
        untold["reason"].as_str().unwrap().contains("550"),
        "{untold}"
    );
    assert_eq!(mail.messages()[0].to, ["ada@hub.example"]);
    assert_eq!(mail.messages().len(), 1);
    assert!(stdout(&hub.run(&["list"])).contains("undelivered"));
    let status = hub.run(&["status"]);
    assert!(stdout(&status).contains("grace@hub.example was not notified"));
    assert_eq!(code(&status), Some(3));
}

#[test]
fn an_unreachable_mail_server_leaves_the_backup_valid_and_the_mail_queued() {
    let source = database_with(USERS);
    let sink = HttpSink::start([Answer::Status(200), Answer::Status(200)]);
    let dead = MailServer::start(without_tls());
    let port = dead.port;
    let mut hub = mailing_with_short_delays(&source, &dead);
    drop(dead);
    hub.set("WEBHOOK_URL", sink.url("/hook"));
    let output = hub.run(&["backup", "--json"]);
    assert_eq!(code(&output), Some(3), "{}", stderr(&output));
    let record = record(&output);
    assert!(Path::new(record["file"].as_str().unwrap()).is_file());
    for untold in record["delivery"]["untold"].as_array().unwrap() {
        assert_eq!(untold["waiting"], true, "{untold}");
        let reason = untold["reason"].as_str().unwrap();
        assert!(reason.contains(&port.to_string()), "{reason}");
    }
    // Other channels are notified of the backup, and that it was not mailed.
    let events: Vec<String> = sink
        .requests()
        .iter()
        .map(|request| request.header("x-hubvault-event").unwrap().to_owned())
        .collect();
    assert_eq!(events, ["success", "alert"]);
    let status = hub.run(&["status"]);
    assert_eq!(code(&status), Some(3));
    assert!(stdout(&status).contains("is queued"), "{}", stdout(&status));
    // The server is back, elsewhere.
    let back = MailServer::start(without_tls());
    hub.set("SMTP_PORT", back.port.to_string());
    assert_eq!(code(&hub.run(&["mail", "retry"])), Some(0));
    assert_eq!(only_mail(&back).attachments.len(), 1);
    assert!(outbox(&hub).iter().all(|item| item["state"] == "sent"));
    // The record knows, too.
    assert!(!stdout(&hub.run(&["list"])).contains("undelivered"));
}

#[test]
fn a_connection_cut_after_the_last_byte_is_retried_with_the_same_message_id() {
    let mail = MailServer::start(MailServerOptions {
        fault: Some(MailFault::CutAfterData),
        ..without_tls()
    });
    let source = database_with(USERS);
    let mut hub = mailing_with_short_delays(&source, &mail);
    let output = hub.run(&["backup"]);
    assert_eq!(code(&output), Some(3), "{}", stderr(&output));
    let good = MailServer::start(without_tls());
    hub.set("SMTP_PORT", good.port.to_string());
    hub.run(&["mail", "retry"]);
    let first = mail.messages()[0].parts();
    let again = only_mail(&good);
    assert_eq!(first.header("Message-ID"), again.header("Message-ID"));
}

#[test]
fn silent_and_cutting_mail_servers_never_get_a_shorter_archive() {
    let source = database_with(USERS);
    for fault in [MailFault::Stall, MailFault::CutInData, MailFault::Closing] {
        let mail = MailServer::start(MailServerOptions {
            fault: Some(fault),
            ..without_tls()
        });
        let mut hub = mailing_with_short_delays(&source, &mail);
        hub.write("file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\ntries = 1\n[email]\ntimeout = \"1 s\"\n");
        let output = hub.run(&["backup", "--json"]);
        assert_eq!(code(&output), Some(3), "{fault:?}: {}", stderr(&output));
        assert_eq!(mail.messages().len(), 0, "{fault:?}");
        assert_eq!(outbox(&hub)[0]["state"], "waiting", "{fault:?}");
    }
}

#[test]
fn the_mail_of_a_failed_backup_has_stage_causes_and_log_and_no_secret() {
    let mail = MailServer::start(without_tls());
    let source = database_with(USERS);
    let mut hub = mailing(&source, &mail, MailTls::Plain);
    hub.backup();
    hub.set("POSTGRES_DB", "no_such_database");
    // The job is called after the database; its history is the hub's.
    hub.set("POSTGRES_PASSWORD", PASSWORD);
    let output = hub.run(&["backup"]);
    assert_eq!(code(&output), Some(1));
    let messages = mail.messages();
    let parts = messages[messages.len() - 1].parts();
    assert!(
        subject(&parts).starts_with("[hubvault] FAILED"),
        "{}",
        subject(&parts)
    );
    assert!(
        subject(&parts).ends_with("at snapshot"),
        "{}",
        subject(&parts)
    );
    for words in [
        "no_such_database",
        "WHAT TO DO NEXT",
        "Nothing was published",
    ] {
        assert!(text(&parts).contains(words), "{words}: {}", text(&parts));
    }
    assert!(parts.attachments.is_empty());
    for message in &messages {
        assert!(!String::from_utf8_lossy(&message.raw).contains(PASSWORD));
    }
}

#[test]
fn a_ping_is_called_at_the_start_and_at_the_end() {
    let source = database_with(USERS);
    let sink = HttpSink::start((0..4).map(|_| Answer::Status(200)));
    let mut hub = Hub::whole(&source);
    hub.set("PING_URL", sink.url("/uuid"));
    hub.backup();
    hub.set("POSTGRES_DB", "no_such_database");
    hub.run(&["backup"]);
    let targets: Vec<String> = sink.requests().iter().map(|r| r.target.clone()).collect();
    assert_eq!(
        targets,
        ["/uuid/start", "/uuid", "/uuid/start", "/uuid/fail"]
    );
}

#[test]
fn a_backup_that_cannot_start_is_notified() {
    let mail = MailServer::start(without_tls());
    let source = server().database();
    let mut hub = mailing_with_short_delays(&source, &mail);
    hub.set("BACKUP_DIR", "/dev/null/backups");
    let output = hub.run(&["backup"]);
    assert_eq!(code(&output), Some(1));
    let parts = only_mail(&mail);
    assert!(
        text(&parts).contains("/dev/null/backups"),
        "{}",
        text(&parts)
    );
}

#[test]
fn a_queued_mail_whose_archive_was_removed_is_still_sent() {
    let source = database_with(USERS);
    let dead = MailServer::start(without_tls());
    let mut hub = mailing_with_short_delays(&source, &dead);
    drop(dead);
    let output = hub.run(&["backup", "--json"]);
    let file = record(&output)["file"].as_str().unwrap().to_owned();
    std::fs::remove_file(file).unwrap();
    let back = MailServer::start(without_tls());
    hub.set("SMTP_PORT", back.port.to_string());
    assert_eq!(code(&hub.run(&["mail", "retry"])), Some(0));
    let parts = only_mail(&back);
    assert!(parts.attachments.is_empty());
    assert!(
        text(&parts).contains("it was missing when this mail was sent"),
        "{}",
        text(&parts)
    );
}

#[test]
fn a_killed_run_is_notified_by_the_next() {
    let mail = MailServer::start(without_tls());
    let source = database_with(USERS);
    let sink = HttpSink::start((0..9).map(|_| Answer::Status(200)));
    let mut hub = mailing(&source, &mail, MailTls::Plain);
    hub.set("PING_URL", sink.url("/uuid"));
    // A run without a lock that is listed as running: its process crashed.
    hub.backup();
    let catalog = hub.backups().join(".hubvault/catalog.sqlite");
    let sql = "UPDATE backups SET state = 'running', record = json_set(record, '$.state', 'running', '$.delivery', json('null'))";
    rewrite(&catalog, sql);
    hub.backup();
    let subjects: Vec<String> = mail
        .messages()
        .iter()
        .map(|message| subject(&message.parts()).to_owned())
        .collect();
    assert_eq!(subjects.len(), 3, "{subjects:?}");
    // The newest run is the last of which somebody hears.
    assert!(subjects[1].contains("FAILED"), "{subjects:?}");
    // A dead-man's switch is called for the newest run only.
    let pings: Vec<String> = sink.requests().iter().map(|r| r.target.clone()).collect();
    assert_eq!(pings, ["/uuid/start", "/uuid", "/uuid/start", "/uuid"]);
    hub.backup();
    assert_eq!(mail.messages().len(), 4, "it is told once");
}

#[test]
fn a_run_that_crashed_before_its_notification_is_notified_by_the_next() {
    let mail = MailServer::start(without_tls());
    let source = database_with(USERS);
    let hub = mailing(&source, &mail, MailTls::Plain);
    let (_, first) = hub.backup();
    let catalog = hub.backups().join(".hubvault/catalog.sqlite");
    rewrite(
        &catalog,
        "UPDATE backups SET record = json_set(record, '$.delivery', json('null'))",
    );
    hub.backup();
    let messages = mail.messages();
    assert_eq!(messages.len(), 3);
    let late = messages[1].parts();
    let name = first.file_name().unwrap().to_str().unwrap();
    assert_eq!(late.attachments[0].name, name);
}

/// Changes a catalog by hand.
pub(crate) fn rewrite(catalog: &Path, sql: &str) {
    let script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]); db.commit()";
    let status = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(catalog)
        .arg(sql)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn queued_messages_use_the_current_settings() {
    let source = database_with(USERS);
    let dead = MailServer::start(without_tls());
    let mut hub = mailing_with_short_delays(&source, &dead);
    drop(dead);
    hub.run(&["backup"]);
    let back = MailServer::start(without_tls());
    hub.set("SMTP_PORT", back.port.to_string());
    hub.set("ADMIN_EMAILS", "ada@hub.example");
    hub.set("EMAIL_ATTACH", "never");
    assert_eq!(code(&hub.run(&["mail", "retry"])), Some(3));
    assert_eq!(back.messages()[0].to, ["ada@hub.example"]);
    assert!(only_mail(&back).attachments.is_empty());
}

#[test]
fn a_ping_is_never_sent_late() {
    let source = database_with(USERS);
    let down = HttpSink::start((0..6).map(|_| Answer::Status(503)));
    let mut hub = Hub::whole(&source);
    hub.write("file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\npause = \"10 ms\"\n");
    hub.set("PING_URL", down.url("/uuid"));
    assert_eq!(code(&hub.run(&["backup"])), Some(3));
    let asked = down.requests().len();
    hub.run(&["mail", "retry"]);
    assert_eq!(down.requests().len(), asked);
    assert_eq!(outbox(&hub)[0]["state"], "failed");
}
