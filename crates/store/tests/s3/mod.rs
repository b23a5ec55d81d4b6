//! S3, with `SeaweedFS`, a real server.

mod credentials;
mod faults;
mod hostile;
mod kinds;
mod locks;
mod proxies;
mod refusals;
mod uploads;

use crate::contract::{self, content, key, keys};
use hubvault_store::{Credentials, Key, Location, ObjectOptions, Options, Requests, Store, open};
use hubvault_testkit::object_store::{S3Key, S3Server};
use std::io::{self, Read};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// How a server is asked by the owner of a key.
fn options(endpoint: String, key: S3Key) -> Options {
    Options {
        object: ObjectOptions {
            endpoint: Some(endpoint),
            region: Some("us-east-1".into()),
            path_style: true,
            credentials: Some(Credentials::Key {
                id: key.id.into(),
                secret: key.secret.into(),
                token: None,
            }),
            ..ObjectOptions::default()
        },
        ..Options::default()
    }
}

/// A bucket of its own.
fn bucket(server: &S3Server, lock: bool) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server.create_bucket(&name, lock);
    name
}

fn place(place: &str, options: &Options) -> Box<dyn Store> {
    open(&Location::parse(&format!("s3://{place}")).unwrap(), options).unwrap()
}

/// A bucket of its own as its owner opens it.
fn owned(server: &S3Server) -> (String, Box<dyn Store>) {
    let bucket = bucket(server, false);
    let store = place(&bucket, &options(server.endpoint(), server.owner()));
    (bucket, store)
}

/// So many bytes that differ from place to place.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let byte = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..count).map(byte).collect()
}

#[test]
fn s3_keeps_the_contract() {
    let server = S3Server::shared();
    // This server makes a slash of a backslash.
    contract::all(&["back\\slash"], || {
        let below = format!("{}/a/pre fix", bucket(&server, false));
        place(&below, &options(server.endpoint(), server.owner()))
    });
}

#[test]
fn what_is_stored_is_confirmed_and_counted() {
    let server = S3Server::shared();
    let (_, store) = owned(&server);
    let small = store.put(&key("small"), &mut &b"small"[..]).unwrap();
    let counted = Requests {
        writes: 1,
        reads: 1,
        bytes_sent: 5,
        ..Requests::default()
    };
    assert_eq!(store.requests(), counted);
    let all = bytes(20 << 20);
    let large = store.put(&key("large"), &mut &all[..]).unwrap();
    assert!(small.is_confirmed && large.is_confirmed);
    let counted = store.requests() - counted;
    // Begun, three parts, completed; asked.
    assert_eq!((counted.writes, counted.reads, counted.deletes), (5, 1, 0));
    assert_eq!(counted.bytes_sent, 20 << 20);
    assert!(content(&*store, &key("large")) == all);
    store.delete(&key("large")).unwrap();
    let counted = store.requests();
    assert_eq!((counted.deletes, counted.bytes_received), (1, 20 << 20));
}

#[test]
fn an_object_is_replaced_once_from_each_version() {
    let server = S3Server::shared();
    let (_, store) = owned(&server);
    let lease = key("lease");
    assert_eq!(
        store
            .replace_if(&lease, "\"none\"", &mut &b"x"[..])
            .unwrap(),
        None
    );
    let first = store
        .put_if_absent(&lease, &mut &b"first"[..])
        .unwrap()
        .unwrap();
    let version = first.version.unwrap();
    let gate = Barrier::new(4);
    let taken = thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u8)
            .map(|n| {
                let (store, lease, version, gate) = (&store, &lease, &version, &gate);
                scope.spawn(move || {
                    gate.wait();
                    let taken = store
                        .replace_if(lease, version, &mut &[n; 100][..])
                        .unwrap();
                    taken.map(|object| (n, object.version))
                })
            })
            .collect();
        let threads = threads.into_iter();
        threads
            .filter_map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    let [(winner, version)] = &taken[..] else {
        panic!("{taken:?}");
    };
    assert_eq!(content(&*store, &lease), [*winner; 100]);
    assert_eq!(&store.head(&lease).unwrap().unwrap().version, version);
}

/// Stores objects without asking for each afterwards.
fn fill(server: &S3Server, bucket: &str, names: &[String]) {
    thread::scope(|scope| {
        for some in names.chunks(names.len().div_ceil(8)) {
            scope.spawn(move || {
                for name in some {
                    let (status, body) =
                        server.request("PUT", &format!("/{bucket}/{name}"), &[], b"x");
                    assert_eq!(status, 200, "{body}");
                }
            });
        }
    });
}

#[test]
fn a_list_has_every_page_also_while_objects_appear() {
    let server = S3Server::shared();
    let (bucket, store) = owned(&server);
    let names: Vec<_> = (0..2_100).map(|n| format!("day/{n:05}")).collect();
    fill(&server, &bucket, &names);
    thread::scope(|scope| {
        let late = scope.spawn(|| {
            for n in 0..20 {
                store
                    .put(&key(&format!("day/{n:05}x")), &mut &b"late"[..])
                    .unwrap();
            }
        });
        while !late.is_finished() {
            let listed = keys(&*store, "day/");
            assert!(names.iter().all(|name| listed.contains(name)));
        }
    });
    assert_eq!(keys(&*store, "").len(), 2_120);
    assert_eq!(keys(&*store, "day/0001").len(), 20);
}

#[test]
fn what_others_have_put_there_is_no_object() {
    let server = S3Server::shared();
    let (bucket, _) = owned(&server);
    let names = ["hub/ours", "hub/.hidden", "hubbub/theirs", "other"].map(String::from);
    fill(&server, &bucket, &names);
    let store = place(
        &format!("{bucket}/hub"),
        &options(server.endpoint(), server.owner()),
    );
    assert_eq!(keys(&*store, ""), ["ours"]);
    assert_eq!(keys(&*store, "ou"), ["ours"]);
}

/// Content that counts how often it was read.
struct Repeated(usize);

impl Read for Repeated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.0);
        buffer[..most].fill(7);
        self.0 -= most;
        Ok(most)
    }
}

fn adopted(store: &dyn Store, key: &Key, count: usize) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("finished");
    std::fs::write(&file, bytes(count)).unwrap();
    let object = store.adopt(key, &file).unwrap();
    assert_eq!(object.bytes, count as u64);
    assert!(content(store, key) == bytes(count));
}

#[test]
fn parts_end_where_the_object_does() {
    let server = S3Server::shared();
    let (_, store) = owned(&server);
    for count in [8 << 20, (8 << 20) + 1, (16 << 20) - 1] {
        let stored = store.put(&key("even"), &mut Repeated(count)).unwrap();
        assert_eq!(stored.object.bytes, count as u64);
        assert!(stored.is_confirmed);
        adopted(&*store, &key("adopted"), count);
    }
}
