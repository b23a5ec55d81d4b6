//! A server that answers anything: the reader of COPY ends with an error or with rows, and does not hang.

#![no_main]

use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, CopySession, PgError, SslMode};
use libfuzzer_sys::fuzz_target;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};

/// A login that worked and statements that worked, so that what comes next is read as rows.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05IC\0\0\0\x08SET\0Z\0\0\0\x05I";

/// A server whose next connection gets these bytes and is closed then; its port.
static SERVER: LazyLock<(u16, Sender<Vec<u8>>)> = LazyLock::new(|| {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (sender, answers) = channel::<Vec<u8>>();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut client, _) = listener.accept().expect("the fuzzer connects");
            // The client may have hung up already.
            let _ = client.write_all(&answer);
            let _ = client.shutdown(Shutdown::Write);
            let _ = client.read_to_end(&mut Vec::new());
        }
    });
    (port, sender)
});

fuzz_target!(|bytes: &[u8]| {
    let (port, answers) = &*SERVER;
    answers
        .send([WELCOME, bytes].concat())
        .expect("the server lives");
    let settings = ConnectSettings {
        host: "127.0.0.1".to_owned(),
        port: *port,
        password: Some("secret".to_owned().into()),
        sslmode: SslMode::Disable,
        ..ConnectSettings::default()
    };
    let Ok(mut session) = CopySession::connect(&settings, &Cancel::new()) else {
        return;
    };
    let mut rows = 0;
    let copied: Result<u64, PgError> = session.copy_out("reading", "COPY t TO STDOUT", |piece| {
        rows += piece.len();
        Ok(())
    });
    assert!(
        rows <= bytes.len(),
        "{rows} bytes of rows out of {}: {copied:?}",
        bytes.len()
    );
});
