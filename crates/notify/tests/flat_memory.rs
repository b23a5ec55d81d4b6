//! Memory does not grow with the attachment. A program of its own, because the memory of the whole process is measured.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use hubvault_notify::{Attachment, Email, Mailer, Security, SmtpSettings};
use hubvault_testkit::{MailFault, MailServer, MailServerOptions};
use std::time::Duration;

/// The largest memory that this process had so far, in kB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_attachment_of_200_mb_needs_no_more_memory_than_a_small_one() {
    let server = MailServer::start(MailServerOptions {
        fault: Some(MailFault::Blocks),
        ..MailServerOptions::default()
    });
    let archive = tempfile::NamedTempFile::new().unwrap();
    archive.as_file().set_len(200 << 20).unwrap();
    let email = |length| Email {
        from: "backup@hub.example".to_owned(),
        to: vec!["admin@hub.example".to_owned()],
        subject: "large".to_owned(),
        message_id: "1@hub.example".to_owned(),
        in_thread: None,
        list_id: "hub.hubvault".to_owned(),
        date: jiff::Timestamp::UNIX_EPOCH,
        text: "text".to_owned(),
        html: "<p>html</p>".to_owned(),
        attachment: Some(Attachment {
            name: "large.tar.gz".to_owned(),
            content_type: "application/gzip".to_owned(),
            path: archive.path().to_owned(),
            offset: 0,
            length,
        }),
    };
    let settings = SmtpSettings {
        security: Security::StartTls,
        ca_file: Some(server.ca_file.clone()),
        timeout: Duration::from_mins(2),
        ..SmtpSettings::to("localhost", server.port)
    };
    let mut mailer = Mailer::connect(&settings).unwrap();
    let to = ["admin@hub.example".to_owned()];
    mailer.send(&email(1 << 20), &to).unwrap();
    let before = peak();
    mailer.send(&email(200 << 20), &to).unwrap();
    let grown = peak() - before;
    assert!(grown < 16 << 10, "{grown} kB more");
    let sizes = server.message_sizes();
    assert_eq!(sizes[1], email(200 << 20).encoded_size().unwrap());
}
