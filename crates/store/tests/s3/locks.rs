//! Objects that nobody can remove for a while.

use super::{bucket, bytes, options, place};
use crate::contract::{content, key, keys};
use hubvault_store::{ErrorKind, Lock, LockMode, Options};
use hubvault_testkit::object_store::S3Server;
use jiff::{SignedDuration, Timestamp};

fn locking(server: &S3Server, mode: LockMode) -> Options {
    Options {
        lock: Some(Lock { days: 30, mode }),
        ..options(server.endpoint(), server.owner())
    }
}

#[test]
fn what_is_stored_is_locked_and_stays() {
    let server = S3Server::shared();
    for mode in [LockMode::Compliance, LockMode::Governance] {
        let bucket = bucket(&server, true);
        let store = place(&bucket, &locking(&server, mode));
        store.check().unwrap();
        let month = Timestamp::now() + SignedDuration::from_hours(30 * 24);
        for (name, count) in [("small", 5), ("large", 9 << 20)] {
            let all = bytes(count);
            let stored = store.put(&key(name), &mut &all[..]).unwrap();
            let until = stored.object.locked_until.unwrap();
            let late = until.duration_since(month);
            assert!(late.abs() < SignedDuration::from_mins(15), "{until}");
            let found = store.head(&key(name)).unwrap().unwrap();
            assert_eq!(found.locked_until, Some(until));
            let error = store.delete(&key(name)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Locked, "{error}");
            assert!(error.to_string().contains("locked until 20"), "{error}");
            assert!(content(&*store, &key(name)) == all);
        }
        assert_eq!(keys(&*store, ""), ["large", "small"]);
        let (_, versions) = server.request("GET", &format!("/{bucket}?versions="), &[], b"");
        assert!(!versions.contains("DeleteMarker"), "{versions}");
    }
}

#[test]
fn what_is_small_and_conditional_is_not_locked() {
    let server = S3Server::shared();
    let store = place(
        &bucket(&server, true),
        &locking(&server, LockMode::Compliance),
    );
    let made = store
        .put_if_absent(&key("lease"), &mut &b"one"[..])
        .unwrap()
        .unwrap();
    let version = made.version.unwrap();
    store
        .replace_if(&key("lease"), &version, &mut &b"two"[..])
        .unwrap()
        .unwrap();
    assert_eq!(
        store.head(&key("lease")).unwrap().unwrap().locked_until,
        None
    );
    store.delete(&key("lease")).unwrap();
}

#[test]
fn a_bucket_that_cannot_lock_is_refused() {
    let server = S3Server::shared();
    let store = place(
        &bucket(&server, false),
        &locking(&server, LockMode::Compliance),
    );
    let error = store.check().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert!(
        error.to_string().contains("remove the setting lock"),
        "{error}"
    );
    let error = store.put(&key("unlocked"), &mut &b"x"[..]).unwrap_err();
    assert!(!error.may_be_retried(), "{error}");
}
