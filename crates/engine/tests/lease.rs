//! Leases at a real server of objects.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use hubvault_engine::publish::lease::{Holder, Lease, LeaseError, Taken, check, try_out};
use hubvault_store::{
    Call, Credentials, ErrorKind, Fault, Faulty, Key, LocalDirectory, Location, Object,
    ObjectOptions, Options, Store, StoreError, Stored, Unfinished, open,
};
use hubvault_testkit::object_store::S3Server;
use jiff::{SignedDuration, Timestamp};
use std::io::Read;
use std::sync::{Arc, Barrier};
use std::thread;

const LASTS: SignedDuration = SignedDuration::from_mins(4);

fn store(bucket: &str) -> (Arc<S3Server>, Box<dyn Store>) {
    let server = S3Server::shared();
    server.create_bucket(bucket, false);
    let key = server.owner();
    let object = ObjectOptions {
        endpoint: Some(server.endpoint()),
        region: Some("us-east-1".into()),
        path_style: true,
        credentials: Some(Credentials::Key {
            id: key.id.into(),
            secret: key.secret.into(),
            token: None,
        }),
        ..ObjectOptions::default()
    };
    let options = Options {
        object,
        ..Options::default()
    };
    let location = Location::parse(&format!("s3://{bucket}/hub")).unwrap();
    let store = open(&location, &options).unwrap();
    (server, store)
}

fn key() -> Key {
    Key::parse("lease.json").unwrap()
}

/// An hour and so many seconds.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(3_600 + seconds).unwrap()
}

fn take(store: &dyn Store, holder: &str, now: Timestamp) -> Taken {
    Lease::take(store, &key(), holder, LASTS, now, None).unwrap()
}

fn held(store: &dyn Store, holder: &str, now: Timestamp) -> Lease {
    match take(store, holder, now) {
        Taken::Held(lease) => lease,
        Taken::By(other) => panic!("{other:?} has it"),
    }
}

fn refused(store: &dyn Store, holder: &str, ended: Option<&Holder>) -> Holder {
    match Lease::take(store, &key(), holder, LASTS, at(9_000), ended).unwrap() {
        Taken::By(other) => other,
        Taken::Held(_) => panic!("two hold it"),
    }
}

#[test]
fn a_lease_has_one_holder_until_it_is_not_renewed() {
    let (_server, store) = store("lease-one");
    let mut first = held(&*store, "first", at(0));
    assert_eq!(first.number(), 1);
    // The other machine's clock says that it ended long ago, which proves nothing.
    let found = refused(&*store, "second", None);
    assert_eq!(
        (&*found.name, found.until, found.lasts),
        ("first", at(240), LASTS)
    );
    first.renew(&*store, at(200)).unwrap();
    let renewed = refused(&*store, "second", Some(&found));
    assert!(renewed.until == at(440) && !found.is_unchanged(&renewed));
    let taken = Lease::take(&*store, &key(), "second", LASTS, at(0), Some(&renewed)).unwrap();
    let Taken::Held(second) = taken else {
        panic!("it has ended");
    };
    assert_eq!(second.number(), 2);
    // One that was stopped and goes on learns of it, and changes nothing.
    let Err(LeaseError::Lost { holder, .. }) = first.renew(&*store, at(210)) else {
        panic!("the first one does not notice");
    };
    assert_eq!(holder, "second");
    second.release(&*store, at(600)).unwrap();
    assert_eq!(held(&*store, "third", at(0)).number(), 3);
}

#[test]
fn of_several_at_once_one_takes_it() {
    let (_server, store) = store("lease-many");
    for round in 1..=3 {
        let gate = Barrier::new(5);
        let now = at(round * 10_000);
        let taken: Vec<Lease> = thread::scope(|scope| {
            let all: Vec<_> = (0..5)
                .map(|n| {
                    let (store, gate) = (&*store, &gate);
                    scope.spawn(move || {
                        gate.wait();
                        match take(store, &format!("{round}-{n}"), now) {
                            Taken::Held(lease) => Some(lease),
                            Taken::By(_) => None,
                        }
                    })
                })
                .collect();
            all.into_iter()
                .filter_map(|one| one.join().unwrap())
                .collect()
        });
        let numbers: Vec<u64> = taken.iter().map(Lease::number).collect();
        assert_eq!(numbers, [round as u64]);
        for lease in taken {
            lease.release(&*store, now).unwrap();
        }
    }
}

#[test]
fn a_lost_answer_loses_no_lease() {
    let (_server, store) = store("lease-answers");
    held(&*store, "before", at(0))
        .release(&*store, at(0))
        .unwrap();
    let store = Faulty::new(store);
    for call in [Call::Put, Call::Put] {
        store.fail_next(call, Fault::AnswerLost);
    }
    let mut lease = held(&store, "first", at(0));
    store.fail_next(Call::Put, Fault::AnswerLost);
    lease.renew(&store, at(100)).unwrap();
    assert_eq!(
        (lease.number(), refused(&store, "second", None).until),
        (2, at(340))
    );
    store.fail_next(Call::Put, Fault::Refused(ErrorKind::Unavailable));
    lease.renew(&store, at(200)).unwrap_err();
    // It still holds, and the next try works.
    assert_eq!(refused(&store, "second", None).until, at(340));
    lease.renew(&store, at(210)).unwrap();
    store.fail_next(Call::Put, Fault::AnswerLost);
    lease.release(&store, at(220)).unwrap();
    assert_eq!(held(&store, "second", at(0)).number(), 3);
}

#[test]
fn what_a_newer_version_wrote_is_kept_and_what_is_no_lease_refused() {
    let (_server, store) = store("lease-newer");
    let newer = br#"{"number":7,"holder":"newer","until":"1970-01-01T00:00:00Z","lasts":"PT1M","released":true,"region":"eu"}"#;
    store.put(&key(), &mut &newer[..]).unwrap();
    assert_eq!(held(&*store, "older", at(0)).number(), 8);
    let mut text = String::new();
    let mut reader = store.read_range(&key(), 0, 1_000).unwrap();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.contains(r#""region":"eu""#), "{text}");
    store.put(&key(), &mut &b"something else"[..]).unwrap();
    let error = Lease::take(&*store, &key(), "older", LASTS, at(0), None).unwrap_err();
    assert!(error.to_string().contains("it is no lease"), "{error}");
    for (number, lasts) in [("18446744073709551615", "PT1M"), ("7", "PT876000H")] {
        let text = format!(
            r#"{{"number":{number},"holder":"x","until":"1970-01-01T00:00:00Z","lasts":"{lasts}","released":true}}"#
        );
        store.put(&key(), &mut text.as_bytes()).unwrap();
        let error = Lease::take(&*store, &key(), "older", LASTS, at(0), None).unwrap_err();
        assert!(error.to_string().contains("it is no lease"), "{error}");
        let error = check(&*store, &key()).unwrap_err();
        assert!(error.to_string().contains("it is no lease"), "{error}");
    }
}

#[test]
fn a_lease_that_is_there_is_checked_without_a_further_object() {
    let (_server, store) = store("lease-check");
    check(&*store, &key()).unwrap();
    assert!(store.list("").unwrap().is_empty());
    let mut first = held(&*store, "first", at(0));
    check(&*store, &key()).unwrap();
    first.renew(&*store, at(10)).unwrap();
    assert_eq!(store.list("").unwrap().len(), 1);
    let store = Heedless(store);
    let error = check(&store, &key()).unwrap_err();
    assert!(
        error.to_string().contains("no conditional writes"),
        "{error}"
    );
}

/// A server that takes a condition for a decoration.
#[derive(Debug)]
struct Heedless(Box<dyn Store>);

impl Store for Heedless {
    fn put(&self, key: &Key, content: &mut dyn Read) -> Result<Stored, StoreError> {
        self.0.put(key, content)
    }

    fn put_if_absent(
        &self,
        key: &Key,
        content: &mut dyn Read,
    ) -> Result<Option<Object>, StoreError> {
        self.0.put_if_absent(key, content)
    }

    fn replace_if(
        &self,
        key: &Key,
        _version: &str,
        content: &mut dyn Read,
    ) -> Result<Option<Object>, StoreError> {
        self.0.put(key, content)?;
        self.0.head(key)
    }

    fn read_range(
        &self,
        key: &Key,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        self.0.read_range(key, offset, length)
    }

    fn head(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.0.head(key)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        self.0.list(prefix)
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.0.delete(key)
    }

    fn remove_unfinished(&self, before: Timestamp) -> Result<Vec<Unfinished>, StoreError> {
        self.0.remove_unfinished(before)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.0.check()
    }
}

#[test]
fn a_store_that_ignores_conditions_is_refused() {
    let (_server, store) = store("lease-heedless");
    try_out(&*store).unwrap();
    let store = Heedless(store);
    let error = Lease::take(&store, &key(), "first", LASTS, at(0), None).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no conditional writes"), "{text}");
    assert!(store.list("").unwrap().is_empty());
}

#[test]
fn a_store_that_ignores_conditions_by_now_is_refused_though_the_lease_is_there() {
    let (_server, store) = store("lease-moved");
    held(&*store, "first", at(0))
        .release(&*store, at(1))
        .unwrap();
    held(&*store, "second", at(2))
        .release(&*store, at(3))
        .unwrap();
    // Another server behind the same address has what was stored.
    let store = Heedless(store);
    let error = Lease::take(&store, &key(), "third", LASTS, at(4), None).unwrap_err();
    assert!(
        error.to_string().contains("no conditional writes"),
        "{error}"
    );
}

#[test]
fn a_store_without_conditional_writes_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalDirectory::open(directory.path()).unwrap();
    let error = Lease::take(&store, &key(), "first", LASTS, at(0), None).unwrap_err();
    assert!(
        error.to_string().contains("no conditional writes"),
        "{error}"
    );
    assert!(store.list("").unwrap().is_empty());
}
