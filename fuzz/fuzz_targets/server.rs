//! A server that answers anything: the reader of COPY ends with an error or with rows, and does not hang.

#![no_main]

use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, CopySession, PgError, SslMode};
use libfuzzer_sys::fuzz_target;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};

/// A login that worked and statements that worked, so that what comes next is read as rows.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05IC\0\0\0\x08SET\0Z\0\0\0\x05I";

/// A login, then the number of the server's process twice, which only a server without a pooler before it says.
const LOOK: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x07\0\0\0\0Z\0\0\0\x05I\
    D\0\0\0\x0b\0\x01\0\0\0\x017C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";

/// A server whose next connection gets these bytes and is closed then; its port.
static SERVER: LazyLock<(u16, Sender<Vec<u8>>)> = LazyLock::new(|| {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (sender, answers) = channel::<Vec<u8>>();
    std::thread::spawn(move || {
        // The first of a process looks for a pooler while it has logged in already.
        let open: Vec<_> = [WELCOME, LOOK].map(|said| answer(&listener, said)).into();
        open.into_iter().for_each(until_closed);
        for said in answers {
            until_closed(answer(&listener, &said));
        }
    });
    CopySession::connect(&settings(port), &Cancel::new()).expect("no pooler is seen");
    (port, sender)
});

fn answer(listener: &TcpListener, said: &[u8]) -> TcpStream {
    let (mut client, _) = listener.accept().expect("the fuzzer connects");
    // The client may have hung up already.
    let _ = client.write_all(said);
    let _ = client.shutdown(Shutdown::Write);
    client
}

fn until_closed(mut client: TcpStream) {
    let _ = client.read_to_end(&mut Vec::new());
}

fn settings(port: u16) -> ConnectSettings {
    ConnectSettings {
        host: "127.0.0.1".to_owned(),
        port,
        password: Some("secret".to_owned().into()),
        sslmode: SslMode::Disable,
        ..ConnectSettings::default()
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (port, answers) = &*SERVER;
    answers
        .send([WELCOME, bytes].concat())
        .expect("the server lives");
    let Ok(mut session) = CopySession::connect(&settings(*port), &Cancel::new()) else {
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
