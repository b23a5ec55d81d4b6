//! A server with an unsupported login method is refused with the method's name.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, CopySession, SslMode};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};

/// A message of the protocol.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[kind][..], &length, body].concat()
}

/// `AuthenticationXxx` with its number.
fn authentication(number: u32, body: &[u8]) -> Vec<u8> {
    message(b'R', &[&number.to_be_bytes()[..], body].concat())
}

/// What a login comes to at a server that answers this to everyone.
fn login(answer: Vec<u8>, sslmode: SslMode) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            // The client may have gone away.
            let _ = client.write_all(&answer);
            let _ = client.shutdown(Shutdown::Write);
            let _ = client.read_to_end(&mut Vec::new());
        }
    });
    let settings = ConnectSettings {
        host: "127.0.0.1".into(),
        port,
        password: Some("a-secret-word".to_owned().into()),
        sslmode,
        ..ConnectSettings::default()
    };
    let error = CopySession::connect(&settings, &Cancel::new())
        .unwrap_err()
        .to_string();
    assert!(!error.contains("a-secret-word"), "{error}");
    error
}

#[test]
fn unsupported_login_methods_are_refused() {
    let fields = b"SFATAL\0C28000\0Mgo away\0Dnot you\0Hask\0Wat the door\0\0";
    let sasl = b"SCRAM-SHA-256\0\0";
    for (answer, words) in [
        (message(b'E', fields), &["go away"][..]),
        (
            authentication(10, b"OAUTH\0\0"),
            &["no way to log in that is known"],
        ),
        (
            authentication(7, b""),
            &["a way to log in that is not known"],
        ),
        (
            [authentication(10, sasl), message(b'Z', b"I")].concat(),
            &["ended the login"],
        ),
        (
            authentication(0, b""),
            &["the server closed the connection"],
        ),
        (
            [
                message(b'N', b"SNOTICE\0C00000\0Mhello\0\0"),
                authentication(3, b""),
            ]
            .concat(),
            &["the server closed the connection"],
        ),
    ] {
        let said = login(answer, SslMode::Disable);
        assert!(
            words.iter().all(|word| said.contains(word)),
            "{words:?}: {said}"
        );
    }
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_wanted() {
    let said = login(b"N".to_vec(), SslMode::Require);
    assert!(said.contains("does not offer TLS"), "{said}");
}
