//! Messages arrive as they were sent, at the right recipients.

use crate::fixture::{ADMIN, email, file, noise, settings, to, with_file};
use hubvault_notify::{Email, Mailer, Problem, Security, SmtpSettings};
use hubvault_testkit::{MailServer, MailServerOptions, MailTls};
use secrecy::SecretString;

fn plain() -> MailServerOptions {
    MailServerOptions {
        tls: MailTls::Plain,
        ..MailServerOptions::default()
    }
}

fn logged_in(server: &MailServer, security: Security) -> SmtpSettings {
    SmtpSettings {
        user: Some("backup".to_owned()),
        password: Some(SecretString::from("open-sesame")),
        ..settings(server, security)
    }
}

fn account() -> (String, String) {
    ("backup".to_owned(), "open-sesame".to_owned())
}

#[test]
fn a_message_arrives_complete_over_starttls_and_a_login() {
    let server = MailServer::start(MailServerOptions {
        auth: Some(account()),
        size_limit: Some(10_000_000),
        ..MailServerOptions::default()
    });
    let bytes = noise(1_000_003);
    let archive = file(&bytes);
    let email = Email {
        subject: "[hubvault] fehlgeschlagen – 東京".to_owned(),
        in_thread: Some("run-0@hub.example".to_owned()),
        text: "Grüße\n.a line that begins with a dot\n.\nthe end".to_owned(),
        ..with_file(email(), archive.path())
    };
    let mut mailer = Mailer::connect(&logged_in(&server, Security::StartTls)).unwrap();
    assert_eq!(mailer.max_size(), Some(10_000_000));
    let sent = mailer.send(&email, &to(&[ADMIN])).unwrap();
    mailer.quit();
    assert!(sent.refused.is_empty());
    assert!(sent.reply.contains("queued as 1"), "{}", sent.reply);

    let [received] = server.messages().try_into().unwrap();
    assert_eq!(received.from, "backup@hub.example");
    assert_eq!(received.to, [ADMIN]);
    assert_eq!(received.raw.len() as u64, email.encoded_size().unwrap());
    assert_eq!(received.options, [format!("SIZE={}", received.raw.len())]);
    assert!(received.raw.is_ascii());
    let longest = received
        .raw
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::len)
        .max();
    assert!(longest.unwrap() <= 999, "{longest:?}");

    let parts = received.parts();
    assert_eq!(parts.defects, Vec::<String>::new());
    assert_eq!(
        parts.shape,
        [
            "multipart/mixed",
            "multipart/alternative",
            "text/plain",
            "text/html",
            "application/gzip"
        ]
    );
    assert_eq!(parts.header("Subject"), email.subject);
    assert_eq!(parts.header("From"), "hubvault <backup@hub.example>");
    assert_eq!(parts.header("To"), ADMIN);
    assert_eq!(parts.header("Date"), "Mon, 23 Nov 2026 02:00:07 +0000");
    assert_eq!(parts.header("Message-ID"), "<run-1.1@hub.example>");
    assert_eq!(parts.header("In-Reply-To"), "<run-0@hub.example>");
    assert_eq!(parts.header("References"), "<run-0@hub.example>");
    assert_eq!(parts.header("List-Id"), "<hub.hubvault.hub.example>");
    assert_eq!(parts.header("Auto-Submitted"), "auto-generated");
    assert_eq!(parts.header("MIME-Version"), "1.0");
    assert_eq!(
        parts.text.as_deref().map(str::trim_end),
        Some(email.text.as_str())
    );
    assert_eq!(
        parts.html.as_deref().map(str::trim_end),
        Some(email.html.as_str())
    );
    let [attached] = parts.attachments.as_slice() else {
        panic!("{} attachments", parts.attachments.len());
    };
    assert_eq!(attached.name, "critical_backup_20261123_020000.tar.gz");
    assert_eq!(attached.content_type, "application/gzip");
    assert!(attached.bytes == bytes, "the attachment is another one");
}

#[test]
fn the_size_of_a_message_is_computed_exactly() {
    let server = MailServer::start(plain());
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    assert_eq!(mailer.max_size(), None);
    mailer.send(&email(), &to(&[ADMIN])).unwrap();
    let [received] = server.messages().try_into().unwrap();
    assert_eq!(received.raw.len() as u64, email().encoded_size().unwrap());
    assert_eq!(received.options, Vec::<String>::new());
    let parts = received.parts();
    assert_eq!(
        parts.shape,
        ["multipart/alternative", "text/plain", "text/html"]
    );
    assert_eq!(
        parts.text.as_deref().map(str::trim_end),
        Some(email().text.as_str())
    );
}

#[test]
fn several_messages_go_over_one_connection() {
    let server = MailServer::start(plain());
    let archive = file(&noise(100_000));
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    for number in 1..=3 {
        let email = Email {
            message_id: format!("{number}@hub.example"),
            ..with_file(email(), archive.path())
        };
        mailer.send(&email, &to(&[ADMIN])).unwrap();
    }
    mailer.quit();
    let ids: Vec<String> = server
        .messages()
        .iter()
        .map(|received| received.parts().header("Message-ID").to_owned())
        .collect();
    assert_eq!(
        ids,
        ["<1@hub.example>", "<2@hub.example>", "<3@hub.example>"]
    );
}

#[test]
fn a_part_of_a_file_arrives_as_that_part() {
    let server = MailServer::start(plain());
    let bytes = noise(300_000);
    let archive = file(&bytes);
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    let mut joined = Vec::new();
    for (offset, length) in [(0, 100_001), (100_001, 100_001), (200_002, 99_998)] {
        let mut email = with_file(email(), archive.path());
        let attachment = email.attachment.as_mut().unwrap();
        (attachment.offset, attachment.length) = (offset, length);
        mailer.send(&email, &to(&[ADMIN])).unwrap();
    }
    for received in server.messages() {
        joined.extend_from_slice(&received.parts().attachments[0].bytes);
    }
    assert!(joined == bytes, "the pieces do not join");
}

#[test]
fn one_refused_recipient_does_not_stop_the_others() {
    let server = MailServer::start(MailServerOptions {
        refuse: to(&["gone@hub.example"]),
        defer: to(&["busy@hub.example"]),
        ..plain()
    });
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    let everybody = to(&[
        ADMIN,
        "gone@hub.example",
        "busy@hub.example",
        "other@hub.example",
    ]);
    let sent = mailer.send(&email(), &everybody).unwrap();
    let refused: Vec<_> = sent
        .refused
        .iter()
        .map(|refused| {
            (
                refused.address.as_str(),
                refused.permanent,
                refused.reply.as_str(),
            )
        })
        .collect();
    assert_eq!(
        refused,
        [
            ("gone@hub.example", true, "550 5.1.1 no such mailbox"),
            ("busy@hub.example", false, "450 4.2.1 the mailbox is busy"),
        ]
    );
    assert_eq!(server.messages()[0].to, [ADMIN, "other@hub.example"]);
}

#[test]
fn a_message_with_all_recipients_refused_does_not_end_the_connection() {
    let server = MailServer::start(MailServerOptions {
        refuse: to(&["gone@hub.example"]),
        defer: to(&["busy@hub.example"]),
        ..plain()
    });
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    let error = mailer
        .send(&email(), &to(&["gone@hub.example"]))
        .unwrap_err();
    assert_eq!(error.problem(), Problem::Recipients);
    assert!(error.is_permanent() && !error.outcome_unknown());
    assert!(error.to_string().contains("no such mailbox"), "{error}");

    let both = to(&["gone@hub.example", "busy@hub.example"]);
    let error = mailer.send(&email(), &both).unwrap_err();
    assert!(!error.is_permanent(), "one of them may still take it");
    assert_eq!(error.refused().len(), 2);

    let nobody = mailer.send(&email(), &[]).unwrap_err();
    assert_eq!(nobody.problem(), Problem::Recipients);

    mailer.send(&email(), &to(&[ADMIN])).unwrap();
    assert_eq!(server.messages().len(), 1);
}

#[test]
fn a_refused_sender_is_named() {
    let server = MailServer::start(MailServerOptions {
        refuse: to(&["backup@hub.example"]),
        ..plain()
    });
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    let error = mailer.send(&email(), &to(&[ADMIN])).unwrap_err();
    assert_eq!(error.problem(), Problem::Sender);
    assert!(error.is_permanent());
    assert!(error.to_string().contains("backup@hub.example"), "{error}");
}

#[test]
fn an_address_beyond_ascii_needs_smtputf8() {
    let beyond = to(&[ADMIN, "jörg@hub.example"]);
    let email = Email {
        to: beyond.clone(),
        ..email()
    };
    let server = MailServer::start(plain());
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    let sent = mailer.send(&email, &beyond).unwrap();
    assert_eq!(sent.refused.len(), 1);
    assert!(sent.refused[0].permanent);
    assert!(
        sent.refused[0].reply.contains("SMTPUTF8"),
        "{:?}",
        sent.refused
    );
    assert_eq!(server.messages()[0].parts().header("To"), ADMIN);

    let server = MailServer::start(MailServerOptions {
        utf8: true,
        ..plain()
    });
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    let sent = mailer.send(&email, &beyond).unwrap();
    assert!(sent.refused.is_empty(), "{:?}", sent.refused);
    assert_eq!(server.messages()[0].to, beyond);
    assert_eq!(server.messages()[0].options, ["SMTPUTF8"]);
}

#[test]
fn a_login_works_with_either_mechanism_and_a_missing_one_is_reported() {
    for without in ["PLAIN", "LOGIN"] {
        let server = MailServer::start(MailServerOptions {
            auth: Some(account()),
            no_mechanism: to(&[without]),
            ..plain()
        });
        let mut mailer = Mailer::connect(&logged_in(&server, Security::Plain)).unwrap();
        mailer.send(&email(), &to(&[ADMIN])).unwrap();
    }
    let server = MailServer::start(MailServerOptions {
        auth: Some(account()),
        ..plain()
    });
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    let error = mailer.send(&email(), &to(&[ADMIN])).unwrap_err();
    assert_eq!(error.problem(), Problem::Authentication);
    assert!(error.to_string().contains("SMTP_USER"), "{error}");
}

#[test]
fn a_wrong_password_is_reported_and_not_shown() {
    for without in ["PLAIN", "LOGIN"] {
        let server = MailServer::start(MailServerOptions {
            auth: Some(account()),
            no_mechanism: to(&[without]),
            ..MailServerOptions::default()
        });
        let settings = SmtpSettings {
            password: Some(SecretString::from("wrong-sesame")),
            ..logged_in(&server, Security::StartTls)
        };
        let error = Mailer::connect(&settings).unwrap_err();
        assert_eq!(error.problem(), Problem::Authentication);
        assert!(error.is_permanent());
        assert!(error.to_string().contains("SMTP_PASS"), "{error}");
        let shown = format!("{error} {error:?} {settings:?}");
        assert!(!shown.contains("wrong-sesame"), "{shown}");
    }
}

#[test]
fn a_user_without_a_password_is_refused_before_connecting() {
    let server = MailServer::start(plain());
    let settings = SmtpSettings {
        user: Some("backup".to_owned()),
        ..settings(&server, Security::Plain)
    };
    let error = Mailer::connect(&settings).unwrap_err();
    assert_eq!(error.problem(), Problem::Settings);
}
