//! The messages of the tests.

use hubvault_notify::{Attachment, Email, Security, SmtpSettings};
use hubvault_testkit::MailServer;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;

/// Settings for a server of the tests, trusting its authority, with time enough for a loaded machine.
pub(crate) fn settings(server: &MailServer, security: Security) -> SmtpSettings {
    SmtpSettings {
        security,
        ca_file: Some(server.ca_file.clone()),
        timeout: Duration::from_mins(1),
        time_limit: Duration::from_mins(5),
        ..SmtpSettings::to("localhost", server.port)
    }
}

/// The same with hardly any patience, for servers that never answer.
pub(crate) fn impatient(server: &MailServer, security: Security) -> SmtpSettings {
    SmtpSettings {
        timeout: Duration::from_millis(500),
        ..settings(server, security)
    }
}

pub(crate) const ADMIN: &str = "admin@hub.example";

pub(crate) fn to(addresses: &[&str]) -> Vec<String> {
    addresses
        .iter()
        .map(|&address| address.to_owned())
        .collect()
}

pub(crate) fn email() -> Email {
    Email {
        from: "hubvault <backup@hub.example>".to_owned(),
        to: to(&[ADMIN]),
        subject: "[hubvault] OK  hub  2026-11-23".to_owned(),
        message_id: "run-1.1@hub.example".to_owned(),
        in_thread: None,
        list_id: "hub.hubvault.hub.example".to_owned(),
        date: "2026-11-23T02:00:07Z".parse().unwrap(),
        text: "50,000 users\n.a line that begins with a dot\n.\nthe end".to_owned(),
        html: "<p>50,000 users</p>\n<p>the end</p>".to_owned(),
        attachment: None,
    }
}

pub(crate) fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A file of this size that takes no room.
pub(crate) fn sparse(bytes: u64) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(bytes).unwrap();
    file
}

/// The message with a whole file attached.
pub(crate) fn with_file(email: Email, path: &Path) -> Email {
    let attachment = Attachment {
        name: "critical_backup_20261123_020000.tar.gz".to_owned(),
        content_type: "application/gzip".to_owned(),
        path: path.to_owned(),
        offset: 0,
        length: std::fs::metadata(path).unwrap().len(),
    };
    Email {
        attachment: Some(attachment),
        ..email
    }
}

/// Bytes of every value that no encoding leaves alone.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}
