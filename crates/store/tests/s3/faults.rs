//! A network and a server that fail: nothing half is an object, what can be asked again is, errors say what they are.

use super::{bucket, bytes, options, place};
use crate::contract::{content, key, keys};
use hubvault_store::{ErrorKind, Options, Store, StoreError};
use hubvault_testkit::object_store::{HttpFault as F, HttpFaults, S3Server};
use jiff::{SignedDuration, Timestamp};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

struct Disturbed {
    server: Arc<S3Server>,
    bucket: String,
    proxy: HttpFaults,
    store: Box<dyn Store>,
    /// The same without the proxy.
    direct: Box<dyn Store>,
}

fn disturbed() -> Disturbed {
    disturbed_for(Duration::from_secs(3))
}

fn disturbed_for(patience: Duration) -> Disturbed {
    let server = S3Server::shared();
    let bucket = bucket(&server, false);
    let proxy = HttpFaults::start(server.port());
    let mut options: Options = options(proxy.endpoint(), server.owner());
    let direct = super::options(server.endpoint(), server.owner());
    options.object.patience = Some(patience);
    Disturbed {
        store: place(&bucket, &options),
        direct: place(&bucket, &direct),
        server,
        bucket,
        proxy,
    }
}

impl Disturbed {
    /// Nothing is there, neither an object nor an upload.
    fn is_empty(&self) -> bool {
        let (_, uploads) =
            self.server
                .request("GET", &format!("/{}?uploads=", self.bucket), &[], b"");
        keys(&*self.direct, "").is_empty() && !uploads.contains("<UploadId>")
    }
}

#[test]
fn an_upload_goes_on_after_faults_that_pass() {
    let all = bytes(20 << 20);
    for fault in [
        F::Refused(503, "SlowDown"),
        F::Refused(500, "InternalError"),
        F::Refused(429, ""),
        F::Refused(400, "BadDigest"),
        F::DoneBut(500, "InternalError"),
        F::Cut,
        F::AnswerLost,
    ] {
        let it = disturbed();
        it.proxy
            .fail("POST", "uploads=", 1, F::Refused(503, "SlowDown"));
        it.proxy.fail("PUT", "partNumber=1", 2, fault.clone());
        it.proxy.fail("PUT", "partNumber=3", 1, fault.clone());
        it.proxy.fail("POST", "uploadId=", 1, fault.clone());
        it.proxy.fail("HEAD", "/large", 1, F::Cut);
        let stored = it.store.put(&key("large"), &mut &all[..]);
        let stored = stored.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(it.proxy.left(), 0, "{fault:?}");
        assert!(stored.is_confirmed, "{fault:?}");
        assert!(content(&*it.direct, &key("large")) == all, "{fault:?}");
    }
}

#[test]
fn a_part_that_stalls_is_sent_again() {
    let it = disturbed();
    let all = bytes(9 << 20);
    it.proxy.fail("PUT", "partNumber=2", 1, F::Silence);
    it.store.put(&key("large"), &mut &all[..]).unwrap();
    assert!(content(&*it.direct, &key("large")) == all);
}

#[test]
fn an_upload_that_is_refused_in_the_middle_leaves_nothing() {
    for (fault, kind) in [
        (F::Refused(403, "AccessDenied"), ErrorKind::Denied),
        (F::Refused(400, "ExpiredToken"), ErrorKind::Denied),
        (F::Refused(507, ""), ErrorKind::Full),
    ] {
        for (method, part) in [("PUT", "partNumber=2"), ("POST", "uploadId=")] {
            let it = disturbed();
            it.proxy.fail(method, part, 1, fault.clone());
            let error = it
                .store
                .put(&key("large"), &mut &bytes(20 << 20)[..])
                .unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(!error.is_uncertain, "{error}");
            assert!(it.is_empty(), "{fault:?} at {method} {part}");
        }
    }
}

#[test]
fn what_is_small_is_sent_again_unless_that_could_do_it_twice() {
    for fault in [
        F::Refused(503, "SlowDown"),
        F::DoneBut(500, ""),
        F::Cut,
        F::AnswerLost,
    ] {
        let it = disturbed();
        it.proxy.fail("PUT", "/small", 1, fault.clone());
        it.store.put(&key("small"), &mut &b"small"[..]).unwrap();
        assert_eq!(content(&*it.direct, &key("small")), b"small");
    }
    let it = disturbed();
    it.proxy.fail("PUT", "/lease", 1, F::AnswerLost);
    let error = it
        .store
        .put_if_absent(&key("lease"), &mut &b"mine"[..])
        .unwrap_err();
    assert!(error.is_uncertain && error.may_be_retried(), "{error}");
    assert_eq!(content(&*it.direct, &key("lease")), b"mine");
    it.proxy
        .fail("PUT", "/other", 1, F::Refused(503, "SlowDown"));
    it.store
        .put_if_absent(&key("other"), &mut &b"mine"[..])
        .unwrap()
        .unwrap();
}

#[test]
fn a_reader_goes_on_where_it_was_cut() {
    let it = disturbed();
    let all = bytes(5 << 20);
    it.direct.put(&key("read"), &mut &all[..]).unwrap();
    for fault in [
        F::Refused(503, "SlowDown"),
        F::Cut,
        F::AnswerLost,
        F::CutAfter(1_000_000),
        F::SilenceAfter(3_000_000),
        F::Shorter(100_000),
    ] {
        it.proxy.fail("GET", "/read", 2, fault.clone());
        let mut read = Vec::new();
        let mut reader = it.store.read_range(&key("read"), 17, 5_000_000).unwrap();
        reader
            .read_to_end(&mut read)
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert!(read == all[17..5_000_017], "{fault:?}");
        assert_eq!(it.proxy.left(), 0, "{fault:?}");
    }
}

#[test]
fn a_reader_never_ends_early_and_mixes_nothing() {
    let it = disturbed();
    let all = bytes(5 << 20);
    it.direct.put(&key("read"), &mut &all[..]).unwrap();
    // Whatever it is asked, no more than this comes of it.
    it.proxy.fail("GET", "/read", 1, F::Shorter(1_000));
    it.proxy.fail("GET", "/read", 100, F::Shorter(0));
    let mut read = Vec::new();
    let mut reader = it.store.read_range(&key("read"), 0, u64::MAX).unwrap();
    let error = reader.read_to_end(&mut read).unwrap_err();
    assert!(
        error.to_string().contains("ended its answer early"),
        "{error}"
    );
    assert_eq!(read, all[..1_000]);

    let it = disturbed();
    it.direct.put(&key("read"), &mut &all[..]).unwrap();
    it.proxy.fail("GET", "/read", 1, F::CutAfter(1_000_000));
    let mut reader = it.store.read_range(&key("read"), 0, u64::MAX).unwrap();
    it.direct
        .put(&key("read"), &mut &bytes((5 << 20) - 1)[..])
        .unwrap();
    let mut read = Vec::new();
    // What was read ahead before is the first object's; what comes after it would be another's.
    match reader.read_to_end(&mut read) {
        Err(error) => assert!(error.to_string().contains("replaced"), "{error}"),
        Ok(_) => assert!(read == all),
    }

    it.proxy.fail(
        "GET",
        "/read",
        1,
        F::Headers(vec![("Content-Range", "bytes 5-9/10".into())]),
    );
    let error = it
        .store
        .read_range(&key("read"), 0, 10)
        .map(drop)
        .unwrap_err();
    assert!(error.to_string().contains("range"), "{error}");
}

#[test]
fn a_store_that_holds_something_else_is_not_believed() {
    let lies = |name, value: &str| F::Headers(vec![(name, value.to_owned())]);
    for (lie, words) in [
        (lies("Content-Length", "4"), "4 bytes instead of 5"),
        (
            lies("x-amz-checksum-sha256", "bm90IHRoYXQ="),
            "its checksum is not",
        ),
    ] {
        let it = disturbed();
        it.proxy.fail("HEAD", "/small", 1, lie);
        let error = it.store.put(&key("small"), &mut &b"small"[..]).unwrap_err();
        assert!(
            error.is_uncertain && error.to_string().contains(words),
            "{error}"
        );
    }
    // Another version: somebody replaced it, and this one is not known to be there.
    let it = disturbed();
    it.proxy
        .fail("HEAD", "/small", 1, lies("ETag", "\"other\""));
    let stored = it.store.put(&key("small"), &mut &b"small"[..]).unwrap();
    assert!(!stored.is_confirmed);
}

#[test]
fn lists_and_deletions_are_asked_again() {
    let it = disturbed();
    it.direct.put(&key("a"), &mut &b"x"[..]).unwrap();
    for fault in [
        F::Refused(503, "SlowDown"),
        F::Cut,
        F::CutAfter(40),
        F::Silence,
    ] {
        it.proxy.fail("GET", "list-type=2", 1, fault);
        assert_eq!(keys(&*it.store, ""), ["a"]);
    }
    it.proxy.fail("DELETE", "/a", 1, F::AnswerLost);
    it.store.delete(&key("a")).unwrap();
    assert!(it.is_empty());
    it.proxy.fail("GET", "uploads=", 1, F::Refused(500, ""));
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    assert_eq!(it.store.remove_unfinished(later).unwrap(), []);
    assert_eq!(it.proxy.left(), 0);
}

/// How many of the requests had this in them.
fn count(proxy: &HttpFaults, part: &str) -> usize {
    let seen = proxy.seen();
    seen.iter().filter(|asked| asked.contains(part)).count()
}

#[test]
fn a_silent_store_ends_every_call_after_two_tries() {
    let it = disturbed_for(Duration::from_secs(1));
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        it.proxy.fail(method, "", usize::MAX, F::Silence);
    }
    let told = |error: StoreError| {
        assert!(error.is_silence() && error.is_unreachable(), "{error}");
        assert!(error.may_be_retried(), "{error}");
    };
    told(it.store.list("").unwrap_err());
    assert_eq!(count(&it.proxy, "GET "), 2);
    told(it.store.head(&key("a")).unwrap_err());
    assert_eq!(count(&it.proxy, "HEAD "), 2);
    told(it.store.put(&key("a"), &mut &b"x"[..]).unwrap_err());
    assert_eq!(count(&it.proxy, "PUT "), 2);
    told(
        it.store
            .put_if_absent(&key("if"), &mut &b"x"[..])
            .unwrap_err(),
    );
    assert_eq!(count(&it.proxy, "PUT "), 3);
}

#[test]
fn a_store_that_falls_silent_before_the_end_of_an_upload_is_asked_a_few_times() {
    let it = disturbed();
    it.proxy.fail("POST", "uploadId=", usize::MAX, F::Silence);
    it.proxy.fail("HEAD", "", usize::MAX, F::Silence);
    it.proxy.fail("DELETE", "", usize::MAX, F::Silence);
    let error = it
        .store
        .put(&key("large"), &mut &bytes(9 << 20)[..])
        .unwrap_err();
    assert!(error.is_uncertain && error.is_silence(), "{error}");
    assert_eq!(count(&it.proxy, "POST /"), 2, "{:?}", it.proxy.seen());
    assert_eq!(count(&it.proxy, "HEAD "), 1, "{:?}", it.proxy.seen());
    assert_eq!(count(&it.proxy, "DELETE "), 1, "{:?}", it.proxy.seen());
}

#[test]
fn a_reader_of_a_store_that_falls_silent_ends() {
    let it = disturbed();
    it.direct
        .put(&key("read"), &mut &bytes(5 << 20)[..])
        .unwrap();
    it.proxy.fail("GET", "/read", 1, F::SilenceAfter(1000));
    it.proxy.fail("GET", "/read", usize::MAX, F::Silence);
    let mut reader = it.store.read_range(&key("read"), 0, 5 << 20).unwrap();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    assert_eq!(count(&it.proxy, "GET "), 2, "{:?}", it.proxy.seen());
}

#[test]
fn a_server_that_takes_nothing_of_what_is_sent_is_connected_to_twice() {
    let frozen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options(
        format!("http://{}", frozen.local_addr().unwrap()),
        S3Server::shared().owner(),
    );
    options.object.patience = Some(Duration::from_secs(1));
    let error = place("bucket", &options)
        .put(&key("a"), &mut &bytes(7 << 20)[..])
        .unwrap_err();
    assert!(error.is_silence(), "{error}");
    frozen.set_nonblocking(true).unwrap();
    assert_eq!(frozen.incoming().map_while(Result::ok).count(), 2);
}

#[test]
fn a_store_that_sends_a_byte_now_and_then_is_given_up() {
    let it = disturbed_for(Duration::from_millis(500));
    it.direct
        .put(&key("read"), &mut &bytes(1 << 20)[..])
        .unwrap();
    // Each byte comes long before the store counts as silent.
    let drip = F::Trickle(Duration::from_millis(50));
    it.proxy.fail("GET", "/read", usize::MAX, drip);
    let mut read = Vec::new();
    let mut reader = it.store.read_range(&key("read"), 0, 1 << 20).unwrap();
    let error = reader.read_to_end(&mut read).unwrap_err();
    assert!(error.to_string().contains("came within"), "{error}");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}
