//! What a mail may say, who may be told, and what is refused at start.

use crate::drill::drilling;
use crate::hub::{stderr, stdout};
use crate::post_office::{PASSWORD, SMALL, code, html, mailing, only, plain, subject, text};
use hubvault_testkit::{Answer, HttpSink, MailServer, MailServerOptions, MailTls, server};
use std::path::Path;
use std::process::Command;

#[test]
fn no_secret_of_the_configuration_is_in_a_mail_a_log_an_archive_or_the_catalog() {
    let mail = MailServer::start(MailServerOptions {
        auth: Some(("backup".into(), PASSWORD.into())),
        refuse: vec!["grace@hub.example".into()],
        ..MailServerOptions::default()
    });
    let sink = HttpSink::start((0..8).map(|_| Answer::Status(500)));
    let source = server().database();
    source.execute(SMALL);
    let mut hub = mailing(&source, &mail, MailTls::StartTls);
    hub.write(
        "file = []\n[scope]\ntables = [\"*\", \"gone\"]\nwindow = []\n[delivery]\ntries = 1\n",
    );
    hub.set("SMTP_USER", "backup");
    let secrets = [
        ("SMTP_PASS", PASSWORD.to_owned()),
        ("POSTGRES_PASSWORD", "postgres-secret-1".to_owned()),
        ("WEBHOOK_URL", sink.url("/webhook-secret-2")),
        ("WEBHOOK_SECRET", "webhook-secret-3".to_owned()),
        ("SLACK_WEBHOOK_URL", sink.url("/slack-secret-4")),
        ("NTFY_URL", sink.url("/ntfy-secret-5")),
        ("NTFY_TOKEN", "ntfy-secret-6".to_owned()),
        ("PING_URL", sink.url("/ping-secret-7")),
        ("LOG_LEVEL", "trace".to_owned()),
    ];
    for (name, value) in &secrets {
        hub.set(name, value.clone());
    }
    let mut said = Vec::new();
    for arguments in [
        &["backup"][..],
        &["status"],
        &["mail", "outbox", "--json"],
        &["mail", "retry"],
        &["config", "show"],
    ] {
        let output = hub.run(arguments);
        said.push(stdout(&output) + &stderr(&output));
    }
    for message in mail.messages() {
        let parts = message.parts();
        said.push(String::from_utf8_lossy(&message.raw).into_owned());
        said.push(format!("{}{}", text(&parts), html(&parts)));
        for attached in &parts.attachments {
            said.push(unpacked(&attached.bytes));
        }
    }
    for file in files(&hub.backups()) {
        said.push(String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned());
    }
    assert!(said.len() > 8);
    for (name, value) in secrets.iter().filter(|(name, _)| *name != "LOG_LEVEL") {
        let secret = value.rsplit('/').next().unwrap();
        for text in &said {
            assert!(!text.contains(secret), "{name} is in: {text}");
        }
    }
}

/// Everything in an archive, as text.
fn unpacked(archive: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("archive.tar.gz");
    std::fs::write(&file, archive).unwrap();
    let output = Command::new("tar")
        .arg("-xOzf")
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_run_of_which_nobody_would_hear_says_so_unless_that_is_meant() {
    let source = server().database();
    source.execute(SMALL);
    let (mut hub, _drills) = drilling(&source);
    hub.set("EMAIL_ENABLED", "true");
    let output = hub.run(&["backup"]);
    assert_eq!(code(&output), Some(3));
    assert!(
        stdout(&output).contains("nobody is told"),
        "{}",
        stdout(&output)
    );
    assert!(stdout(&hub.run(&["status"])).contains("nobody is told"));
    hub.set("EMAIL_ENABLED", "false");
    assert_eq!(code(&hub.run(&["backup"])), Some(0));
}

#[test]
fn mistakes_about_mail_are_refused_at_start_with_their_place() {
    let source = server().database();
    let templates = tempfile::tempdir().unwrap();
    std::fs::write(templates.path().join("success.txt"), "OK {{ jop }}\n\nx\n").unwrap();
    let directory = templates.path().to_str().unwrap();
    for (set, words) in [
        (
            vec![("ADMIN_EMAILS", "ada@hub.example,ada hub.example")],
            &["variable ADMIN_EMAILS", "ada hub.example"][..],
        ),
        (
            vec![("ADMIN_EMAILS", "a@b.example,A@b.example")],
            &["twice"],
        ),
        (
            vec![("SMTP_SECURITY", "none"), ("SMTP_HOST", "mail.example")],
            &["in the clear"],
        ),
        (vec![("SMTP_FROM", "")], &["email.from", "SMTP_FROM"]),
        (vec![("SMTP_USER", "backup")], &["no password"]),
        (
            vec![("EMAIL_TEMPLATES_DIR", directory)],
            &["success.txt line 1", "docs/mail.md"],
        ),
    ] {
        let mail = MailServer::start(plain());
        let mut hub = mailing(&source, &mail, MailTls::Plain);
        for (name, value) in set {
            hub.set(name, value);
        }
        hub.backup_fails(2, words);
    }
}

#[test]
fn a_template_that_fails_only_when_it_is_used_does_not_lose_the_mail() {
    let mail = MailServer::start(plain());
    let source = server().database();
    source.execute(SMALL);
    let mut hub = mailing(&source, &mail, MailTls::Plain);
    let templates = tempfile::tempdir().unwrap();
    // The sample has a failure, so that only a real success shows the mistake.
    let mistaken = "OK\n\n{{ failure.stage }}\n";
    std::fs::write(templates.path().join("success.txt"), mistaken).unwrap();
    std::fs::write(
        templates.path().join("monday.txt"),
        "Monday of {{ job }}\n\nhello\n",
    )
    .unwrap();
    hub.set("EMAIL_TEMPLATES_DIR", templates.path().to_str().unwrap());
    let output = hub.run(&["backup"]);
    assert_eq!(code(&output), Some(3), "{}", stderr(&output));
    let parts = only(&mail);
    assert!(
        text(&parts).contains("this is the built-in one"),
        "{}",
        text(&parts)
    );
    assert_eq!(parts.attachments.len(), 1);
    // A type of the user's own.
    assert_eq!(code(&hub.run(&["mail", "send", "monday"])), Some(0));
    let sent = mail.messages()[1].parts();
    assert!(subject(&sent).starts_with("Monday of "));
    let unknown = hub.run(&["mail", "send", "tuesday"]);
    assert_eq!(code(&unknown), Some(1));
    assert!(stderr(&unknown).contains("monday"), "{}", stderr(&unknown));
}

#[test]
fn errors_of_a_connection_are_named_apart_with_the_next_step() {
    let mail = MailServer::start(MailServerOptions {
        auth: Some(("backup".into(), PASSWORD.into())),
        ..MailServerOptions::default()
    });
    let source = server().database();
    let test = |set: &[(&str, &str)]| {
        let mut hub = mailing(&source, &mail, MailTls::StartTls);
        hub.write("file = []\n[delivery]\ntries = 1\n");
        for (name, value) in [("SMTP_USER", "backup"), ("SMTP_PASS", PASSWORD)]
            .iter()
            .chain(set)
        {
            hub.set(name, *value);
        }
        let output = hub.run(&["mail", "test"]);
        (code(&output), stderr(&output))
    };
    assert_eq!(test(&[]).0, Some(0));
    for (set, words) in [
        (("SMTP_PASS", "wrong-password"), "SMTP_PASS"),
        (("SMTP_CA_FILE", ""), "ca_file"),
        (
            ("SMTP_HOST", "no-such-host.invalid"),
            "no-such-host.invalid",
        ),
    ] {
        let (code, said) = test(&[set]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(words), "{words}: {said}");
        assert!(!said.contains("wrong-password"), "{said}");
    }
}
