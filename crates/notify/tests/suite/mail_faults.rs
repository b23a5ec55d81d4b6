//! Failing mail servers: the outcome is known, and no part of a message is delivered.

use crate::fixture::{ADMIN, email, file, impatient, noise, settings, sparse, to, with_file};
use hubvault_notify::{Email, Mailer, Problem, Security, SendError, SmtpSettings};
use hubvault_testkit::{MailFault, MailServer, MailServerOptions, MailTls};
use std::net::TcpListener;
use std::time::Duration;

fn server(options: MailServerOptions) -> MailServer {
    MailServer::start(MailServerOptions {
        tls: MailTls::Plain,
        ..options
    })
}

fn faulty(fault: MailFault) -> MailServer {
    server(MailServerOptions {
        fault: Some(fault),
        ..MailServerOptions::default()
    })
}

fn send(server: &MailServer, email: &Email) -> SendError {
    let mut mailer = Mailer::connect(&settings(server, Security::Plain)).unwrap();
    mailer.send(email, &to(&[ADMIN])).unwrap_err()
}

#[test]
fn a_busy_server_accepts_a_retry_over_the_same_connection() {
    let server = server(MailServerOptions {
        busy_first: 2,
        ..MailServerOptions::default()
    });
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    for _ in 0..2 {
        let error = mailer.send(&email(), &to(&[ADMIN])).unwrap_err();
        assert_eq!(error.problem(), Problem::Busy);
        assert!(!error.is_permanent() && !error.outcome_unknown());
        assert!(error.to_string().contains("451 4.3.2"), "{error}");
    }
    mailer.send(&email(), &to(&[ADMIN])).unwrap();
    assert_eq!(server.messages().len(), 1);
}

#[test]
fn a_server_that_shuts_down_counts_as_busy() {
    let server = faulty(MailFault::Closing);
    let error = Mailer::connect(&settings(&server, Security::Plain)).unwrap_err();
    assert_eq!(error.problem(), Problem::Busy);
    assert!(!error.is_permanent());
}

#[test]
fn a_refused_message_is_not_retried() {
    let error = send(&faulty(MailFault::RefuseData), &email());
    assert_eq!(error.problem(), Problem::Rejected);
    assert!(error.is_permanent() && !error.outcome_unknown());
    assert!(error.to_string().contains("554 5.7.1"), "{error}");
}

#[test]
fn a_message_over_the_servers_size_limit_is_not_started() {
    let server = server(MailServerOptions {
        size_limit: Some(100_000),
        ..MailServerOptions::default()
    });
    let archive = file(&noise(100_000));
    let email = with_file(email(), archive.path());
    let error = send(&server, &email);
    assert_eq!(error.problem(), Problem::TooLarge);
    assert!(error.is_permanent());
    assert!(error.to_string().contains("100000"), "{error}");
    assert!(server.messages().is_empty());
}

#[test]
fn a_server_may_refuse_a_message_as_too_large_while_it_is_sent() {
    let archive = sparse(20 << 20);
    let error = send(
        &faulty(MailFault::RefuseInData),
        &with_file(email(), archive.path()),
    );
    assert_eq!(error.problem(), Problem::TooLarge, "{error}");
    assert!(error.is_permanent());
}

#[test]
fn a_connection_cut_in_the_middle_delivers_nothing_for_certain() {
    let server = faulty(MailFault::CutInData);
    let archive = sparse(50 << 20);
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    let email = with_file(email(), archive.path());
    let error = mailer.send(&email, &to(&[ADMIN])).unwrap_err();
    assert_eq!(error.problem(), Problem::Lost, "{error}");
    assert!(!error.is_permanent() && !error.outcome_unknown());
    assert!(server.messages().is_empty());
    let again = mailer.send(&email, &to(&[ADMIN])).unwrap_err();
    assert!(again.to_string().contains("connect again"), "{again}");
}

#[test]
fn a_connection_lost_after_the_last_byte_leaves_the_outcome_unknown() {
    for fault in [MailFault::CutAfterData, MailFault::StallAfterData] {
        let server = faulty(fault);
        let mut mailer = Mailer::connect(&SmtpSettings {
            timeout: Duration::from_secs(3),
            ..settings(&server, Security::Plain)
        })
        .unwrap();
        let error = mailer.send(&email(), &to(&[ADMIN])).unwrap_err();
        assert!(error.outcome_unknown(), "{error}");
        assert!(!error.is_permanent());
        assert_eq!(server.messages().len(), 1, "it has it indeed");
    }
}

#[test]
fn a_silent_or_slow_server_times_out() {
    for fault in [MailFault::Stall, MailFault::Dribble] {
        let server = faulty(fault);
        for security in [Security::Plain, Security::StartTls] {
            let error = Mailer::connect(&impatient(&server, security)).unwrap_err();
            assert_eq!(error.problem(), Problem::Silent, "{error}");
            assert!(!error.is_permanent() && !error.outcome_unknown());
        }
    }
    let server = faulty(MailFault::Stall);
    let error = Mailer::connect(&impatient(&server, Security::Tls)).unwrap_err();
    assert_eq!(error.problem(), Problem::Silent, "{error}");
}

#[test]
fn a_server_that_stops_reading_times_out() {
    let server = faulty(MailFault::StallInData);
    let archive = sparse(50 << 20);
    let mut mailer = Mailer::connect(&SmtpSettings {
        timeout: Duration::from_secs(3),
        ..settings(&server, Security::Plain)
    })
    .unwrap();
    let email = with_file(email(), archive.path());
    let error = mailer.send(&email, &to(&[ADMIN])).unwrap_err();
    assert_eq!(error.problem(), Problem::Silent, "{error}");
    assert!(!error.outcome_unknown());
}

#[test]
fn a_message_has_a_time_limit_of_its_own() {
    let server = faulty(MailFault::StallInData);
    let archive = sparse(50 << 20);
    let mut mailer = Mailer::connect(&SmtpSettings {
        time_limit: Duration::from_secs(4),
        ..settings(&server, Security::Plain)
    })
    .unwrap();
    let email = with_file(email(), archive.path());
    let error = mailer.send(&email, &to(&[ADMIN])).unwrap_err();
    assert_eq!(error.problem(), Problem::Silent, "{error}");
    assert!(error.to_string().contains("longer than 4 s"), "{error}");
    assert!(!error.outcome_unknown());
}

#[test]
fn an_attachment_that_shrinks_is_never_delivered_shorter() {
    let archive = file(&noise(200_000));
    let server = server(MailServerOptions {
        shrink: Some(archive.path().to_owned()),
        ..MailServerOptions::default()
    });
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    let email = with_file(email(), archive.path());
    let error = mailer.send(&email, &to(&[ADMIN])).unwrap_err();
    assert_eq!(error.problem(), Problem::Attachment, "{error}");
    assert!(!error.outcome_unknown());
    assert!(server.messages().is_empty());
    drop(mailer);
    assert!(server.messages().is_empty());
}

#[test]
fn a_missing_attachment_does_not_end_the_connection() {
    let server = server(MailServerOptions::default());
    let archive = file(b"archive");
    let gone = with_file(email(), archive.path());
    archive.close().unwrap();
    let mut mailer = Mailer::connect(&settings(&server, Security::Plain)).unwrap();
    let error = mailer.send(&gone, &to(&[ADMIN])).unwrap_err();
    assert_eq!(error.problem(), Problem::Attachment);
    assert!(error.is_permanent());
    mailer.send(&email(), &to(&[ADMIN])).unwrap();
}

#[test]
fn an_unknown_host_is_named() {
    // RFC 6761, 6.4: this name never has one.
    let settings = SmtpSettings::to("mail.hubvault.invalid", 587);
    let error = Mailer::connect(&settings).unwrap_err();
    assert_eq!(error.problem(), Problem::HostUnknown, "{error}");
    assert!(error.to_string().contains("SMTP_HOST"), "{error}");
    assert!(!error.is_permanent());
}

#[test]
fn a_closed_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = Mailer::connect(&SmtpSettings::to("127.0.0.1", port)).unwrap_err();
    assert_eq!(error.problem(), Problem::ConnectionRefused, "{error}");
    assert!(error.to_string().contains("SMTP_PORT"), "{error}");
}

#[test]
fn another_kind_of_server_is_named() {
    let server = MailServer::start(MailServerOptions {
        tls: MailTls::Plain,
        ..MailServerOptions::default()
    });
    // Speaking TLS to a port that greets in the clear.
    let error = Mailer::connect(&settings(&server, Security::Tls)).unwrap_err();
    assert_eq!(error.problem(), Problem::Tls, "{error}");
    assert!(
        error.to_string().contains("check that the port speaks TLS"),
        "{error}"
    );
}
