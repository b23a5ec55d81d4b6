//! What a store refuses, and what hubvault says then.

use super::{bucket, bytes, options, owned, place};
use crate::contract::{content, key, keys};
use hubvault_store::{Credentials, ErrorKind, Lock, LockMode, Options, StoreError};
use hubvault_testkit::object_store::{HttpFault, HttpFaults, S3Key, S3Server};
use hubvault_testkit::{Answer, HttpSink};
use jiff::Timestamp;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;

/// What storing says, and listing.
fn errors(bucket: &str, options: &Options) -> [StoreError; 2] {
    let store = place(bucket, options);
    [
        store.put(&key("a"), &mut &b"x"[..]).unwrap_err(),
        store.check().unwrap_err(),
    ]
}

fn says(error: &StoreError, kind: ErrorKind, words: &str) {
    let text = error.to_string();
    assert_eq!(error.kind, kind, "{text}");
    assert!(text.contains(words), "{text}");
    assert!(
        !text.contains("secret") || words.contains("secret"),
        "{text}"
    );
    assert!(
        !text.contains("Signature=") && !text.contains('?'),
        "{text}"
    );
}

#[test]
fn wrong_credentials_are_told_apart() {
    let server = S3Server::shared();
    let bucket = bucket(&server, false);
    let unknown = S3Key {
        id: "NOBODY",
        ..server.owner()
    };
    for error in errors(&bucket, &options(server.endpoint(), unknown)) {
        says(&error, ErrorKind::Denied, "does not know the key's id");
    }
    let wrong = S3Key {
        secret: "hunter2",
        ..server.owner()
    };
    for error in errors(&bucket, &options(server.endpoint(), wrong)) {
        says(&error, ErrorKind::Denied, "the secret does not belong");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn a_right_that_is_missing_is_named() {
    let server = S3Server::shared();
    let (bucket, store) = owned(&server);
    store.put(&key("there"), &mut &b"x"[..]).unwrap();
    let store = place(&bucket, &options(server.endpoint(), server.reader()));
    store.check().unwrap();
    assert!(store.head(&key("there")).unwrap().is_some());
    let error = store.put(&key("a"), &mut &b"x"[..]).unwrap_err();
    says(&error, ErrorKind::Denied, "give the key the right");
    let error = store.delete(&key("there")).unwrap_err();
    says(&error, ErrorKind::Denied, "give the key the right");
    assert!(store.head(&key("there")).unwrap().is_some());
}

#[test]
fn a_bucket_that_is_not_there_is_no_missing_object() {
    let server = S3Server::shared();
    for error in errors("not-there", &options(server.endpoint(), server.owner())) {
        says(&error, ErrorKind::Failed, "create the bucket");
    }
}

#[test]
fn answers_of_every_kind_say_what_to_do() {
    let server = S3Server::shared();
    let bucket = bucket(&server, false);
    let proxy = HttpFaults::start(server.port());
    let store = place(&bucket, &options(proxy.endpoint(), server.owner()));
    for (status, code, kind, words) in [
        (400, "ExpiredToken", ErrorKind::Denied, "renew them"),
        (
            403,
            "RequestTimeTooSkewed",
            ErrorKind::Denied,
            "set the clock",
        ),
        (
            400,
            "AuthorizationHeaderMalformed",
            ErrorKind::Denied,
            "set the region",
        ),
        (507, "", ErrorKind::Full, "make room there"),
        (403, "QuotaExceeded", ErrorKind::Full, "raise the quota"),
        (
            501,
            "NotImplemented",
            ErrorKind::Unsupported,
            "cannot do this",
        ),
        (
            400,
            "InvalidStorageClass",
            ErrorKind::Failed,
            "correct the setting",
        ),
    ] {
        proxy.fail("PUT", "/a", 1, HttpFault::Refused(status, code));
        let error = store.put(&key("a"), &mut &b"x"[..]).unwrap_err();
        says(&error, kind, words);
        assert!(!error.may_be_retried() && !error.is_uncertain, "{error}");
    }
    assert!(store.list("").unwrap().is_empty());
}

#[test]
fn what_a_store_says_is_one_short_line() {
    let server = S3Server::shared();
    let bucket = bucket(&server, false);
    let proxy = HttpFaults::start(server.port());
    let store = place(&bucket, &options(proxy.endpoint(), server.owner()));
    let code: &str =
        Box::leak(format!("Long\nerror: forged{}", "A".repeat(100_000)).into_boxed_str());
    proxy.fail("PUT", "/a", 1, HttpFault::Refused(403, code));
    let error = store.put(&key("a"), &mut &b"x"[..]).unwrap_err();
    says(&error, ErrorKind::Denied, r"Long\nerror: forgedAAA");
    let text = error.to_string();
    assert!(text.chars().count() < 450 && !text.contains('\n'), "{text}");
}

#[test]
fn a_server_without_the_right_certificate_is_not_asked() {
    let sink = HttpSink::start_tls([]);
    let mut options = options(
        format!("https://127.0.0.1:{}", sink.port),
        S3Key {
            id: "K",
            secret: "S",
        },
    );
    // The authority is not known, then the name is another one.
    for (ca_file, words) in [
        (None, "its issuer is not known on this machine"),
        (sink.ca_file.clone(), "it is for another name"),
    ] {
        options.object.ca_file = ca_file;
        for error in errors("bucket", &options) {
            says(&error, ErrorKind::Failed, words);
            let text = error.to_string();
            assert!(
                !text.contains("client error") && !text.contains("Context"),
                "{text}"
            );
        }
    }
    assert!(sink.requests().is_empty());
}

#[test]
fn a_server_that_is_not_there_is_asked_again_and_given_up() {
    let options = options(
        "http://127.0.0.1:9".into(),
        S3Key {
            id: "K",
            secret: "S",
        },
    );
    let error = place("bucket", &options)
        .put(&key("a"), &mut &b"x"[..])
        .unwrap_err();
    assert!(error.may_be_retried() && !error.is_uncertain, "{error}");
    assert!(error.is_unreachable() && !error.is_silence(), "{error}");
}

#[test]
fn nobody_signs_nothing_and_a_token_is_sent() {
    let mut options = options(
        String::new(),
        S3Key {
            id: "K",
            secret: "S",
        },
    );
    for (is_anonymous, signature, token) in [(true, None, None), (false, Some(()), Some("T"))] {
        let sink = HttpSink::start([Answer::Status(403)]);
        options.object.endpoint = Some(sink.url(""));
        options.object.anonymous = is_anonymous;
        options.object.credentials = Some(Credentials::Key {
            id: "K".into(),
            secret: "S".into(),
            token: Some("T".into()),
        });
        place("bucket", &options).check().unwrap_err();
        let request = &sink.requests()[0];
        assert_eq!(request.header("authorization").map(drop), signature);
        assert_eq!(request.header("x-amz-security-token"), token);
    }
}

#[test]
fn no_redirect_is_followed() {
    let elsewhere = HttpSink::start([]);
    let to = || Answer::Redirect(elsewhere.url("/bucket/a"));
    let sink = HttpSink::start([to(), to()]);
    let key = S3Key {
        id: "K",
        secret: "S",
    };
    for error in errors("bucket", &options(sink.url(""), key)) {
        says(&error, ErrorKind::Failed, "redirects are not followed");
    }
    assert_eq!(sink.requests().len(), 2);
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_login_page_is_no_store() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    // It ends with the last of its clients, of which each sends a request.
    let portal = thread::spawn(move || {
        for tag in ["", "", "", "", "ETag: \"1\"\r\n"] {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 8192]).unwrap();
            let answer = format!(
                "HTTP/1.1 200 OK\r\n{tag}Content-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"
            );
            client.write_all(answer.as_bytes()).unwrap();
        }
    });
    let key_of = S3Key {
        id: "K",
        secret: "S",
    };
    let store = place("bucket", &options(endpoint, key_of));
    says_page(&store.check().unwrap_err());
    says_page(&store.list("").unwrap_err());
    says_page(&store.delete(&key("a")).unwrap_err());
    says_page(&store.read_range(&key("a"), 0, 6).map(drop).unwrap_err());
    // An object may be a page.
    assert!(content(&*store, &key("page")) == b"<html>");
    portal.join().unwrap();
}

fn says_page(error: &StoreError) {
    let text = error.to_string();
    assert!(
        error.kind == ErrorKind::Failed && text.contains("login page"),
        "{text}"
    );
}

#[test]
fn the_region_of_a_bucket_is_found_or_named() {
    let server = S3Server::shared();
    let bucket = bucket(&server, false);
    let proxy = HttpFaults::start(server.port());
    let mut options = options(proxy.endpoint(), server.owner());
    proxy.fail(
        "GET",
        "list-type=2",
        1,
        HttpFault::OtherRegion("eu-north-1"),
    );
    let error = place(&bucket, &options).check().unwrap_err();
    says(
        &error,
        ErrorKind::Denied,
        "the bucket is in the region eu-north-1",
    );
    options.object.region = None;
    proxy.fail(
        "GET",
        "list-type=2",
        1,
        HttpFault::OtherRegion("eu-north-1"),
    );
    let store = place(&bucket, &options);
    store.check().unwrap();
    assert_eq!((proxy.left(), proxy.seen().len()), (0, 3));
}

const SKEWED: &str = "HUBVAULT_TEST_SKEWED_AT";

/// What the process with the wrong clock does that the next test starts; nothing without that.
#[test]
fn a_clock_that_is_an_hour_late() {
    let Ok(place_of_it) = std::env::var(SKEWED) else {
        return;
    };
    let (endpoint, bucket) = place_of_it.split_once(' ').unwrap();
    for error in errors(bucket, &options(endpoint.to_owned(), S3Server::OWNER)) {
        says(&error, ErrorKind::Denied, "set the clock");
    }
}

#[test]
fn a_clock_that_is_wrong_is_said_so() {
    let server = S3Server::shared();
    let bucket = bucket(&server, false);
    let libraries = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|platform| format!("/usr/lib/{platform}/faketime/libfaketimeMT.so.1"));
    let library = libraries.into_iter().find(|path| Path::new(path).exists());
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "s3::refusals::a_clock_that_is_an_hour_late"])
        .env(SKEWED, format!("{} {bucket}", server.endpoint()))
        .env("LD_PRELOAD", library.unwrap())
        .env("FAKETIME", "-1h")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && shown.contains("1 passed"),
        "{shown}"
    );
}

/// Gives the guest what docs/destinations.md says, but for these rights; how the guest opens the bucket with a lock.
fn documented(server: &S3Server, bucket: &str, without: &[&str]) -> Options {
    let docs = include_str!("../../../../docs/destinations.md");
    let (_, policy) = docs.split_once("```json\n").unwrap();
    let (policy, _) = policy.split_once("```").unwrap();
    let mut policy = policy
        .replace("acme-backups", bucket)
        .replace("\"Effect\"", "\"Principal\": \"*\", \"Effect\"");
    for right in without {
        assert!(policy.contains(right), "{right}");
        policy = policy.replace(&format!("\"{right}\""), "\"s3:GetBucketLocation\"");
    }
    let target = format!("/{bucket}?policy=");
    let (status, body) = server.request("PUT", &target, &[], policy.as_bytes());
    assert!((200..300).contains(&status), "{body}");
    let mut options = options(server.endpoint(), server.guest());
    options.lock = Some(Lock {
        days: 1,
        mode: LockMode::Governance,
    });
    options
}

#[test]
fn each_right_that_is_missing_is_an_error_that_says_so() {
    let server = S3Server::shared();
    for right in [
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:GetBucketObjectLockConfiguration",
        "s3:PutObject",
        "s3:PutObjectRetention",
        "s3:GetObject",
        "s3:DeleteObject",
    ] {
        let bucket = bucket(&server, true);
        let store = place(
            &format!("{bucket}/hub"),
            &documented(&server, &bucket, &[right]),
        );
        let error = match right {
            "s3:ListBucket" => {
                store.list("").unwrap_err();
                store.check()
            }
            "s3:ListBucketMultipartUploads" => {
                let now = Timestamp::now();
                store.remove_unfinished(now).map(drop)
            }
            "s3:GetBucketObjectLockConfiguration" => store.check(),
            "s3:PutObject" | "s3:PutObjectRetention" => {
                store.put(&key("a"), &mut &b"x"[..]).map(drop)
            }
            "s3:GetObject" => {
                // It is stored, and nothing confirms that it is locked.
                store.put(&key("a"), &mut &b"x"[..]).map(drop)
            }
            _ => {
                store.put_if_absent(&key("a"), &mut &b"x"[..]).unwrap();
                store.delete(&key("a"))
            }
        };
        let error = error.unwrap_err();
        let text = error.to_string();
        assert!(
            error.kind == ErrorKind::Denied || right == "s3:GetObject",
            "{right}: {text}"
        );
        assert!(text.contains("right"), "{right}: {text}");
        assert!(!error.may_be_retried(), "{right}: {text}");
    }
}

/// The policy of docs/destinations.md is enough, and gives no right outside of its prefix.
#[test]
fn the_documented_policy_is_enough() {
    let server = S3Server::shared();
    let bucket = bucket(&server, true);
    let options = documented(&server, &bucket, &[]);
    let store = place(&format!("{bucket}/hub"), &options);
    store.check().unwrap();
    for count in [5, 9 << 20] {
        let all = bytes(count);
        let stored = store.put(&key("copy"), &mut &all[..]).unwrap();
        assert!(stored.object.locked_until.is_some());
        assert!(content(&*store, &key("copy")) == all);
    }
    store
        .put_if_absent(&key("lease"), &mut &b"x"[..])
        .unwrap()
        .unwrap();
    store.delete(&key("lease")).unwrap();
    assert_eq!(keys(&*store, ""), ["copy"]);
    store.remove_unfinished(Timestamp::now()).unwrap();
    let outside = place(&bucket, &options);
    let error = outside.put(&key("other"), &mut &b"x"[..]).unwrap_err();
    says(&error, ErrorKind::Denied, "give the key the right");
    let error = outside
        .read_range(&key("other"), 0, 1)
        .map(drop)
        .unwrap_err();
    says(&error, ErrorKind::Denied, "give the key the right");
}
