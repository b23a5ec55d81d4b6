//! Errors in mail settings and templates.

use crate::drill::drilling;
use crate::hub::{stderr, stdout};
use crate::mailing::{PASSWORD, code, mailing, only_mail, subject, text, without_tls};
use hubvault_testkit::{MailServer, MailServerOptions, MailTls, USERS, database_with, server};

#[test]
fn a_run_without_recipients_warns_unless_mail_is_disabled() {
    let source = database_with(USERS);
    let (mut hub, _drills) = drilling(&source);
    hub.set("EMAIL_ENABLED", "true");
    let output = hub.run(&["backup"]);
    assert_eq!(code(&output), Some(3));
    assert!(
        stdout(&output).contains("nobody is notified"),
        "{}",
        stdout(&output)
    );
    assert!(stdout(&hub.run(&["status"])).contains("nobody is notified"));
    hub.set("EMAIL_ENABLED", "false");
    assert_eq!(code(&hub.run(&["backup"])), Some(0));
}

#[test]
fn mistakes_in_mail_settings_are_refused_at_start_with_their_setting() {
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
            vec![("SMTP_PASS", "7jK2wqX0")],
            &["there is no user for it"],
        ),
        (
            vec![("EMAIL_TEMPLATES_DIR", directory)],
            &["success.txt line 1", "docs/mail.md"],
        ),
    ] {
        let mail = MailServer::start(without_tls());
        let mut hub = mailing(&source, &mail, MailTls::Plain);
        for (name, value) in set {
            hub.set(name, value);
        }
        hub.backup_fails(2, words);
    }
}

#[test]
fn a_failing_template_does_not_lose_the_mail() {
    let mail = MailServer::start(without_tls());
    let source = database_with(USERS);
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
    let parts = only_mail(&mail);
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
fn each_connection_error_is_named_with_the_next_step() {
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
