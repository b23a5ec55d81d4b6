//! TLS as configured, never weaker.

use crate::fixture::{ADMIN, email, file, noise, settings, to, with_file};
use hubvault_notify::{Mailer, Problem, Security, SmtpSettings};
use hubvault_testkit::{MailServer, MailServerOptions, MailTls};
use std::path::PathBuf;

fn implicit() -> MailServerOptions {
    MailServerOptions {
        tls: MailTls::Implicit,
        ..MailServerOptions::default()
    }
}

#[test]
fn implicit_tls_works() {
    let server = MailServer::start(implicit());
    let bytes = noise(500_000);
    let archive = file(&bytes);
    let mut mailer = Mailer::connect(&settings(&server, Security::Tls)).unwrap();
    let email = with_file(email(), archive.path());
    mailer.send(&email, &to(&[ADMIN])).unwrap();
    mailer.quit();
    let parts = server.messages()[0].parts();
    assert!(parts.attachments[0].bytes == bytes);
}

#[test]
fn a_server_without_starttls_is_sent_nothing() {
    let server = MailServer::start(MailServerOptions {
        tls: MailTls::Plain,
        ..MailServerOptions::default()
    });
    let error = Mailer::connect(&settings(&server, Security::StartTls)).unwrap_err();
    assert_eq!(error.problem(), Problem::NoTls);
    assert!(error.is_permanent());
    assert!(error.to_string().contains("no STARTTLS"), "{error}");
    assert!(server.messages().is_empty());
}

#[test]
fn a_certificate_for_another_name_is_reported() {
    for (tls, security) in [
        (MailTls::StartTls, Security::StartTls),
        (MailTls::Implicit, Security::Tls),
    ] {
        let server = MailServer::start(MailServerOptions {
            tls,
            certificate_name: "mail.elsewhere.example".to_owned(),
            ..MailServerOptions::default()
        });
        let error = Mailer::connect(&settings(&server, security)).unwrap_err();
        assert_eq!(error.problem(), Problem::CertificateName, "{error}");
        assert!(
            error.to_string().contains("mail.elsewhere.example"),
            "{error}"
        );
        assert!(!error.is_permanent(), "its administrator may put it right");
    }
}

#[test]
fn an_unknown_authority_is_reported_and_can_be_configured_or_ignored() {
    for (tls, security) in [
        (MailTls::StartTls, Security::StartTls),
        (MailTls::Implicit, Security::Tls),
    ] {
        let server = MailServer::start(MailServerOptions {
            tls,
            ..MailServerOptions::default()
        });
        let stranger = SmtpSettings {
            ca_file: None,
            ..settings(&server, security)
        };
        let error = Mailer::connect(&stranger).unwrap_err();
        assert_eq!(error.problem(), Problem::CertificateUntrusted, "{error}");
        assert!(error.to_string().contains("ca_file"), "{error}");
        let careless = SmtpSettings {
            insecure: true,
            ..stranger
        };
        let mut mailer = Mailer::connect(&careless).unwrap();
        mailer.send(&email(), &to(&[ADMIN])).unwrap();
    }
}

#[test]
fn an_unreadable_authority_file_is_named() {
    let server = MailServer::start(implicit());
    let empty = file(b"no certificate\n");
    for path in [PathBuf::from("/nowhere/ca.pem"), empty.path().to_owned()] {
        let settings = SmtpSettings {
            ca_file: Some(path.clone()),
            ..settings(&server, Security::Tls)
        };
        let error = Mailer::connect(&settings).unwrap_err();
        assert_eq!(error.problem(), Problem::Settings);
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
}
