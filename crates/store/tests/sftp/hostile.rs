//! A server that lies: what it says is bounded in memory and time, and leads nowhere else.

use crate::contract::{key, keys};
use crate::{Remote, options, remote, store};
use hubvault_store::{ErrorKind, SftpOptions, StoreError};
use hubvault_testkit::SftpServerOptions;
use jiff::Timestamp;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

fn hostile(mode: &'static str) -> Remote {
    let server = SftpServerOptions {
        hostile: Some(mode),
        ..SftpServerOptions::default()
    };
    let Remote { server, .. } = remote(&server);
    let hasty = SftpOptions {
        patience: Some(Duration::from_secs(10)),
        ..options(&server)
    };
    Remote {
        store: store(&server.url(), hasty),
        server,
    }
}

fn says(error: &StoreError, words: &str) {
    let text = error.to_string();
    assert!(text.contains(words), "{text}");
    assert!(
        text.len() < 600 && !text.chars().any(char::is_control),
        "{text:?}"
    );
}

/// What reading a file says.
fn read(remote: &Remote) -> io::Error {
    let mut reader = match remote.store.read_range(&key("file"), 0, u64::MAX) {
        Ok(reader) => reader,
        Err(error) => return io::Error::other(error),
    };
    let mut taken = Vec::new();
    let error = reader.read_to_end(&mut taken).unwrap_err();
    assert!(taken.len() <= 100, "{}", taken.len());
    // It does not go on behind the lie.
    reader.read_to_end(&mut taken).unwrap_err();
    error
}

#[test]
fn a_directory_without_end_is_given_up() {
    for (mode, words) in [("endless", "longer than"), ("empty", "nothing in it")] {
        let remote = hostile(mode);
        let error = remote.store.list("").unwrap_err();
        says(&error, words);
        assert_eq!(error.kind, ErrorKind::Failed);
        says(
            &remote.store.remove_unfinished(Timestamp::MAX).unwrap_err(),
            words,
        );
        // One connection serves all of it.
        assert_eq!(remote.connections(), 1);
    }
}

#[test]
fn names_that_are_none_lead_nowhere() {
    let remote = hostile("names");
    assert_eq!(keys(&*remote.store, ""), ["good"]);
    assert_eq!(remote.store.remove_unfinished(Timestamp::MAX).unwrap(), []);
    assert_eq!(remote.asked(), "");
}

#[test]
fn a_link_is_no_file() {
    let remote = hostile("links");
    assert!(keys(&*remote.store, "").is_empty());
    assert_eq!(remote.store.head(&key("link")).unwrap(), None);
    let error = remote.store.read_range(&key("link"), 0, 5).map(drop);
    assert_eq!(error.unwrap_err().kind, ErrorKind::NotFound);
    remote.store.delete(&key("link")).unwrap();
    assert_eq!(remote.asked(), "");
}

#[test]
fn a_file_is_not_longer_or_shorter_than_the_server_says() {
    for (mode, words) in [
        ("short", "the file is shorter than it was"),
        ("long", "the file is shorter than it was"),
        ("nothing", "the file is shorter than it was"),
        ("huge", "which no archive has"),
    ] {
        let error = read(&hostile(mode)).to_string();
        assert!(error.contains(words), "{mode}: {error}");
    }
    let huge = hostile("huge");
    says(
        &huge.store.head(&key("file")).unwrap_err(),
        "which no archive has",
    );
}

#[test]
fn a_file_that_comes_a_byte_at_a_time_is_given_up() {
    let remote = hostile("drip");
    let hasty = SftpOptions {
        patience: Some(Duration::from_secs(1)),
        ..options(&remote)
    };
    let hasty = Remote {
        store: store(&remote.url(), hasty),
        server: remote.server,
    };
    let error = read(&hasty);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains("came within"), "{error}");
}

#[test]
fn a_server_that_takes_next_to_nothing_at_once_is_not_used() {
    let error = hostile("tiny").store.check().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    says(&error, "only 1 byte at once");
}

#[test]
fn an_answer_of_4_gigabytes_is_not_waited_for() {
    let error = hostile("flood").store.list("").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    says(&error, "connection");
}

/// What comes first, and then, of who listens.
type Greeting = Box<dyn Fn(usize) -> Vec<u8> + Send>;

/// A machine that greets everybody so, for as long as they listen.
fn greeter(greeting: impl Fn(usize) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut nth = 0;
            while client.write_all(&greeting(nth)).is_ok() {
                nth += 1;
            }
        }
    });
    format!("sftp://somebody@127.0.0.1:{port}/srv")
}

#[test]
fn a_greeting_without_end_is_no_ssh_server() {
    let slow = |_| {
        thread::sleep(Duration::from_millis(100));
        b"-".to_vec()
    };
    let greetings: [(Greeting, &str); 4] = [
        (
            Box::new(|nth| format!("welcome {nth}\r\n").into_bytes()),
            "no SSH server",
        ),
        (Box::new(|_| vec![b'w'; 100]), "no SSH server"),
        (Box::new(slow), "did not answer within 2 s"),
        (
            Box::new(|nth| match nth {
                0 => b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
                _ => vec![0x7f; 1000],
            }),
            "SSH",
        ),
    ];
    for (greeting, words) in greetings {
        let hasty = SftpOptions {
            patience: Some(Duration::from_secs(1)),
            ..SftpOptions::default()
        };
        let error = store(&greeter(greeting), hasty).check().unwrap_err();
        says(&error, words);
    }
}
