//! The result of a run is mailed, with the archive.

use crate::drill::drilling;
use crate::hub::{stderr, stdout};
use crate::mailing::{
    NOISE, PASSWORD, code, html, mailing, only_mail, record, send_mail_to, subject, text,
    without_tls,
};
use hubvault_testkit::{
    MailServer, MailServerOptions, MailTls, USERS, database_with, restore_with_plain_tools, server,
};
use std::process::Command;

#[test]
fn a_proven_backup_arrives_with_its_archive_and_restores_from_the_mail() {
    let mail = MailServer::start(MailServerOptions {
        auth: Some(("backup".into(), PASSWORD.into())),
        ..MailServerOptions::default()
    });
    let source = database_with(USERS);
    let (mut hub, _drills) = drilling(&source);
    send_mail_to(&mut hub, &mail, MailTls::StartTls);
    hub.set("SMTP_USER", "backup");
    hub.set("SMTP_PASS", PASSWORD);
    let output = hub.run(&["backup", "--json"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let record = record(&output);
    assert_eq!(record["delivery"]["attachment"], "attached");
    assert_eq!(record["delivery"]["untold"], serde_json::json!([]));

    assert_eq!(
        mail.messages()[0].to,
        ["ada@hub.example", "grace@hub.example"]
    );
    let parts = only_mail(&mail);
    assert!(
        subject(&parts).starts_with("[hubvault] OK  ") && subject(&parts).contains("1,000 users"),
        "{}",
        subject(&parts)
    );
    for (name, value) in [
        ("Auto-Submitted", "auto-generated"),
        ("List-Id", "hubvault"),
    ] {
        assert!(parts.header(name).contains(value), "{name}");
    }
    for words in ["proven", "restore.sh", "NOT SEALED", "BACKUP_RECIPIENTS"] {
        assert!(text(&parts).contains(words), "{words}: {}", text(&parts));
    }
    assert!(html(&parts).contains("not sealed") && !html(&parts).contains("<script"));
    // As an administrator would: save what is attached, unpack it, run its script.
    let directory = tempfile::tempdir().unwrap();
    let attached = &parts.attachments[0];
    let archive = directory.path().join(&attached.name);
    std::fs::write(&archive, &attached.bytes).unwrap();
    let target = server().database();
    restore_with_plain_tools(&archive, &target);
    assert_eq!(source.digests(), target.digests());
}

#[test]
fn a_sealed_archive_arrives_sealed_and_only_its_key_opens_it() {
    let mail = MailServer::start(MailServerOptions {
        tls: MailTls::Implicit,
        ..MailServerOptions::default()
    });
    let source = database_with(USERS);
    let mut hub = mailing(&source, &mail, MailTls::Implicit);
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key.txt");
    let words = |words: &[&str]| Command::new("age-keygen").args(words).output().unwrap();
    words(&["-o", key.to_str().unwrap()]);
    let public = stdout(&words(&["-y", key.to_str().unwrap()]));
    hub.set("BACKUP_RECIPIENTS", public.trim());
    hub.set("EMAIL_ATTACH", "sealed");
    hub.backup();
    let parts = only_mail(&mail);
    assert!(!text(&parts).contains("NOT SEALED"), "{}", text(&parts));
    assert!(text(&parts).contains("age -d -i KEY"), "{}", text(&parts));
    let archive = keys.path().join(&parts.attachments[0].name);
    std::fs::write(&archive, &parts.attachments[0].bytes).unwrap();
    let shown = hub.run(&[
        "show",
        archive.to_str().unwrap(),
        "--identity",
        key.to_str().unwrap(),
    ]);
    assert!(stdout(&shown).contains("users"), "{}", stderr(&shown));
    assert_eq!(code(&shown), Some(0));
}

#[test]
fn an_unsealed_archive_is_not_attached_where_only_sealed_ones_may_be() {
    let mail = MailServer::start(without_tls());
    let source = database_with(USERS);
    let mut hub = mailing(&source, &mail, MailTls::Plain);
    hub.set("EMAIL_ATTACH", "sealed");
    let (record, archive) = hub.backup();
    let said = record["delivery"]["attachment"].as_str().unwrap();
    assert!(
        said.contains("not attached") && said.contains("sealed"),
        "{said}"
    );
    let parts = only_mail(&mail);
    assert!(parts.attachments.is_empty());
    assert!(
        text(&parts).contains(archive.to_str().unwrap()),
        "{}",
        text(&parts)
    );
}

#[test]
fn a_mail_too_large_for_the_server_is_sent_without_its_archive() {
    let mail = MailServer::start(MailServerOptions {
        size_limit: Some(60_000),
        ..without_tls()
    });
    let source = database_with(NOISE);
    let hub = mailing(&source, &mail, MailTls::Plain);
    let (record, archive) = hub.backup();
    let said = record["delivery"]["attachment"].as_str().unwrap();
    assert!(said.starts_with("not attached"), "{said}");
    let parts = only_mail(&mail);
    assert!(parts.attachments.is_empty());
    assert!(
        text(&parts).contains("takes no message this large"),
        "{}",
        text(&parts)
    );
    assert!(
        text(&parts).contains(archive.to_str().unwrap()),
        "{}",
        text(&parts)
    );
}

#[test]
fn an_archive_in_parts_is_joined_by_the_command_in_the_mail() {
    let mail = MailServer::start(without_tls());
    let source = database_with(NOISE);
    let mut hub = mailing(&source, &mail, MailTls::Plain);
    hub.set("EMAIL_MAX_MESSAGE_MB", "1");
    hub.set("EMAIL_SPLIT", "true");
    let (record, archive) = hub.backup();
    let messages = mail.messages();
    assert!(messages.len() > 1, "{}", record["delivery"]);
    let directory = tempfile::tempdir().unwrap();
    let mut join = String::new();
    for (at, message) in messages.iter().enumerate() {
        assert!(message.raw.len() <= 1 << 20, "{}", message.raw.len());
        let parts = message.parts();
        let part = format!("(part {} of {})", at + 1, messages.len());
        assert!(subject(&parts).contains(&part), "{}", subject(&parts));
        let attached = &parts.attachments[0];
        std::fs::write(directory.path().join(&attached.name), &attached.bytes).unwrap();
        let line = text(&parts)
            .lines()
            .find(|line| line.trim().starts_with("cat "));
        line.unwrap().trim().clone_into(&mut join);
    }
    let joined = Command::new("sh")
        .args(["-c", &join])
        .current_dir(directory.path())
        .status();
    assert!(joined.unwrap().success());
    let name = archive.file_name().unwrap();
    assert!(
        std::fs::read(directory.path().join(name)).unwrap() == std::fs::read(&archive).unwrap()
    );
}
