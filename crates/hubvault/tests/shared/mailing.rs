//! A hub that sends mail, and the mail that it sent.

use crate::hub::{Hub, stderr};
use hubvault_testkit::{Database, MailServer, MailServerOptions, MailTls, Parts};
use serde_json::Value;
use std::process::Output;

/// Text that does not compress, so that the archive has about as many bytes as its rows.
pub(crate) const NOISE: &str = "CREATE TABLE noise (id int PRIMARY KEY, v text);
    INSERT INTO noise SELECT n, (SELECT string_agg(md5(n::text || i), '')
        FROM generate_series(1, 64) i) FROM generate_series(1, 2000) n; ANALYZE;";
pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// A hub whose mails go to `server`, for ada and grace.
pub(crate) fn mailing(database: &Database, server: &MailServer, tls: MailTls) -> Hub {
    let mut hub = Hub::whole(database);
    send_mail_to(&mut hub, server, tls);
    hub
}

pub(crate) fn send_mail_to(hub: &mut Hub, server: &MailServer, tls: MailTls) {
    for (name, value) in [
        ("EMAIL_ENABLED", "true"),
        ("SMTP_HOST", "localhost"),
        ("SMTP_FROM", "hubvault <backup@hub.example>"),
        ("ADMIN_EMAILS", "ada@hub.example, grace@hub.example"),
        (
            "SMTP_SECURITY",
            match tls {
                MailTls::StartTls => "starttls",
                MailTls::Implicit => "tls",
                MailTls::Plain => "none",
            },
        ),
    ] {
        hub.set(name, value);
    }
    hub.set("SMTP_PORT", server.port.to_string());
    hub.set("SMTP_CA_FILE", server.ca_file.display().to_string());
}

/// The same with quick tries.
pub(crate) fn mailing_with_short_delays(database: &Database, server: &MailServer) -> Hub {
    let mut hub = mailing(database, server, MailTls::Plain);
    hub.write(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\npause = \"10 ms\"\n\
         [email]\ntimeout = \"2 s\"\ntime_limit = \"20 s\"\n",
    );
    hub
}

pub(crate) fn without_tls() -> MailServerOptions {
    MailServerOptions {
        tls: MailTls::Plain,
        ..MailServerOptions::default()
    }
}

pub(crate) fn only_mail(server: &MailServer) -> Parts {
    let messages = server.messages();
    assert_eq!(messages.len(), 1, "one mail");
    messages[0].parts()
}

pub(crate) fn text(parts: &Parts) -> &str {
    parts.text.as_deref().unwrap()
}

pub(crate) fn html(parts: &Parts) -> &str {
    parts.html.as_deref().unwrap()
}

pub(crate) fn subject(parts: &Parts) -> &str {
    parts.header("Subject")
}

pub(crate) fn record(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(output)))
}

pub(crate) fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

pub(crate) fn outbox(hub: &Hub) -> Vec<Value> {
    let output = hub.run(&["mail", "outbox", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap()
}
