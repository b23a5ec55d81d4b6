//! Servers on bad days: what is known afterwards, and that nothing arrives in part.

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
fn a_busy_server_takes_it_at_another_try_over_the_same_connection() {
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
fn a_server_that_is_shutting_down_is_busy() {
    let server = faulty(MailFault::Closing);
    let error = Mailer::connect(&settings(&server, Security::Plain)).unwrap_err();
    assert_eq!(error.problem(), Problem::Busy);
    assert!(!error.is_permanent());
}

#[test]
fn a_refused_message_is_refused_for_good() {
    let error = send(&faulty(MailFault::RefuseData), &email());
    assert_eq!(error.problem(), Problem::Rejected);
    assert!(error.is_permanent() && !error.outcome_unknown());
    assert!(error.to_string().contains("554 5.7.1"), "{error}");
}

#[test]
fn a_message_beyond_the_servers_size_is_not_begun() {
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
fn a_server_that_finds_it_too_large_meanwhile_is_heard() {
    let archive = sparse(20 << 20);
    let error = send(
        &faulty(MailFault::RefuseInData),
        &with_file(email(), archive.path()),
    );
    assert_eq!(error.problem(), Problem::TooLarge, "{error}");
    assert!(error.is_permanent());
}

#[test]
fn a_connection_that_is_cut_in_the_middle_delivers_nothing_and_that_is_known() {
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
fn a_connection_that_is_lost_after_the_last_byte_leaves_the_outcome_open() {
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
fn a_silent_or_dribbling_server_does_not_hold_us() {
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
fn a_server_that_stops_reading_does_not_hold_us() {
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
fn a_message_has_a_time_limit_beyond_which_no_patience_with_answers_helps() {
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
fn an_attachment_that_shrinks_meanwhile_is_never_delivered_shorter() {
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
fn an_attachment_that_is_gone_costs_the_connection_nothing() {
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
fn a_host_without_an_address_is_said_to_have_none() {
    // RFC 6761, 6.4: this name never has one.
    let settings = SmtpSettings::to("mail.hubvault.invalid", 587);
    let error = Mailer::connect(&settings).unwrap_err();
    assert_eq!(error.problem(), Problem::HostUnknown, "{error}");
    assert!(error.to_string().contains("SMTP_HOST"), "{error}");
    assert!(!error.is_permanent());
}

#[test]
fn a_port_where_nothing_listens_is_said_to_be_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = Mailer::connect(&SmtpSettings::to("127.0.0.1", port)).unwrap_err();
    assert_eq!(error.problem(), Problem::ConnectionRefused, "{error}");
    assert!(error.to_string().contains("SMTP_PORT"), "{error}");
}

#[test]
fn what_is_no_mail_server_is_said_to_be_none() {
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
