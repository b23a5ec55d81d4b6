//! Servers that end, stop, fill up, or are not `OpenSSH`.

use crate::contract::{content, key, keys};
use crate::{Remote, options, remote, store, usual};
use hubvault_store::{ErrorKind, SftpOptions};
use hubvault_testkit::SftpServerOptions;
use jiff::{SignedDuration, Timestamp};
use std::fs;
use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

/// So many bytes, with something that happens after as many of them.
struct Eventful<F> {
    left: usize,
    then: usize,
    event: Option<F>,
}

impl<F: FnOnce()> Read for Eventful<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left <= self.then
            && let Some(event) = self.event.take()
        {
            event();
        }
        let most = buffer.len().min(self.left).min(64 << 10);
        buffer[..most].fill(7);
        self.left -= most;
        Ok(most)
    }
}

const LARGE: usize = 20 << 20;

fn halfway<F: FnOnce()>(event: F) -> Eventful<F> {
    Eventful {
        left: LARGE,
        then: LARGE / 2,
        event: Some(event),
    }
}

fn later() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(1)
}

/// Files in the directory of the server.
fn files(remote: &Remote) -> usize {
    fs::read_dir(remote.directory()).unwrap().count()
}

#[test]
fn a_server_killed_in_the_middle_of_a_put_leaves_no_object() {
    let remote = usual();
    remote.store.put(&key("kept"), &mut &b"before"[..]).unwrap();
    let error = remote
        .store
        .put(&key("kept"), &mut halfway(|| remote.kill()))
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.may_be_retried() && !error.is_uncertain, "{error}");
    assert_eq!(content(&*remote.store, &key("kept")), b"before");
    assert_eq!(keys(&*remote.store, ""), ["kept"]);
    // What is left over is swept, and nothing else.
    assert_eq!(files(&remote), 2);
    assert_eq!(remote.store.remove_unfinished(Timestamp::MIN).unwrap(), []);
    let swept = remote.store.remove_unfinished(later()).unwrap();
    assert_eq!(swept.len(), 1);
    assert!(swept[0].name.starts_with("kept.") && swept[0].bytes > Some(0));
    assert_eq!(files(&remote), 1);
    remote.store.put(&key("kept"), &mut halfway(|| {})).unwrap();
    assert_eq!(content(&*remote.store, &key("kept")), vec![7; LARGE]);
}

#[test]
fn a_server_killed_in_the_middle_of_a_read_ends_it_with_an_error() {
    let remote = usual();
    remote
        .store
        .put(&key("large"), &mut halfway(|| {}))
        .unwrap();
    let mut reader = remote.store.read_range(&key("large"), 0, u64::MAX).unwrap();
    let mut start = vec![0; 1000];
    reader.read_exact(&mut start).unwrap();
    remote.kill();
    let mut rest = Vec::new();
    let error = reader.read_to_end(&mut rest).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    assert!(error.to_string().contains("/large: "), "{error}");
    assert!(rest.len() < LARGE - 1000);
    // It does not go on behind the gap.
    reader.read_to_end(&mut rest).unwrap_err();
    assert_eq!(content(&*remote.store, &key("large")).len(), LARGE);
}

#[test]
fn a_silent_server_is_given_up_and_the_next_call_connects_again() {
    let remote = usual();
    let hasty = SftpOptions {
        patience: Some(Duration::from_secs(2)),
        ..options(&remote)
    };
    let hasty = store(&remote.url(), hasty);
    hasty.put(&key("a"), &mut halfway(|| {})).unwrap();
    let begun = Instant::now();
    let error = hasty
        .put(&key("b"), &mut halfway(|| remote.freeze()))
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.may_be_retried() && !error.is_uncertain, "{error}");
    let mut reader = hasty.read_range(&key("a"), 0, u64::MAX).unwrap();
    reader.read_exact(&mut [0; 1000]).unwrap();
    remote.freeze();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap_err();
    assert_eq!(keys(&*hasty, ""), ["a"]);
    assert!(begun.elapsed() < Duration::from_secs(50));
    assert_eq!(remote.connections(), 3);
}

#[test]
fn a_connection_lost_between_calls_is_made_again() {
    let remote = usual();
    remote.store.put(&key("a"), &mut &b"x"[..]).unwrap();
    for _ in 0..3 {
        remote.kill();
        assert_eq!(keys(&*remote.store, ""), ["a"]);
        remote.kill();
        remote.store.put(&key("a"), &mut &b"y"[..]).unwrap();
        remote.kill();
        assert_eq!(content(&*remote.store, &key("a")), b"y");
    }
    assert_eq!(remote.connections(), 10);
}

#[test]
fn a_full_disk_is_said_so_and_leaves_room() {
    let remote = remote(&SftpServerOptions {
        room: Some(4 << 20),
        ..SftpServerOptions::default()
    });
    let error = remote
        .store
        .put(&key("large"), &mut halfway(|| {}))
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    assert!(error.to_string().contains("disk is full"), "{error}");
    remote
        .store
        .put(&key("small"), &mut &vec![1; 1 << 20][..])
        .unwrap();
    assert_eq!(keys(&*remote.store, ""), ["small"]);
    assert_eq!(remote.connections(), 1);
}

#[test]
fn a_right_that_is_missing_is_said_so() {
    let remote = remote(&SftpServerOptions {
        without: "remove",
        ..SftpServerOptions::default()
    });
    remote.store.put(&key("a"), &mut &b"x"[..]).unwrap();
    let error = remote.store.delete(&key("a")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(
        error.to_string().contains("the right to do that"),
        "{error}"
    );
}

#[test]
fn a_server_without_extensions_replaces_whole_objects_too() {
    let remote = remote(&SftpServerOptions {
        without: "posix-rename,hardlink,fsync,statvfs,limits",
        ..SftpServerOptions::default()
    });
    let key = key("a/b");
    for text in ["one", "another", "the third"] {
        remote.store.put(&key, &mut text.as_bytes()).unwrap();
        assert_eq!(content(&*remote.store, &key), text.as_bytes());
    }
    let other = store(&remote.url(), options(&remote));
    thread::scope(|scope| {
        for (store, byte) in [(&*other, 1), (&*remote.store, 2)] {
            let key = &key;
            scope.spawn(move || {
                for _ in 0..5 {
                    store.put(key, &mut &vec![byte; 300_000][..]).unwrap();
                }
            });
        }
    });
    let won = content(&*remote.store, &key);
    assert!(won.len() == 300_000 && won.iter().all(|byte| *byte == won[0]));
    assert_eq!(keys(&*remote.store, ""), ["a/b"]);
    assert_eq!(
        fs::read_dir(remote.directory().join("a")).unwrap().count(),
        1
    );
    let error = remote
        .store
        .put_if_absent(&key, &mut &b"x"[..])
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
}
