//! A store that lies: what it says is bounded in memory and time, leads nowhere else, and is an error in a sentence.

use super::{options, place};
use crate::contract::{key, keys};
use hubvault_store::{ErrorKind, Store, StoreError};
use hubvault_testkit::object_store::{S3Key, ScriptedServer, answer, answer_without_end};
use hubvault_testkit::{Answer, HttpSink};
use jiff::Timestamp;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const NOBODY: S3Key = S3Key {
    id: "THE-KEY",
    secret: "hunter2",
};

/// A bucket of a server that answers so.
fn hostile(
    script: impl Fn(&str, usize, &mut TcpStream) + Send + Sync + 'static,
) -> (ScriptedServer, Box<dyn Store>) {
    let server = ScriptedServer::start(script);
    let mut options = options(server.endpoint(), NOBODY);
    options.object.patience = Some(Duration::from_secs(5));
    let store = place("bucket", &options);
    (server, store)
}

fn says(error: &StoreError, kind: ErrorKind, words: &str) {
    let text = error.to_string();
    assert_eq!(error.kind, kind, "{text}");
    assert!(text.contains(words), "{text}");
    assert!(
        text.len() < 900 && !text.chars().any(char::is_control) && !text.contains("hunter2"),
        "{text:?}"
    );
}

/// A page of a list with these keys, and where it goes on.
fn page<'a>(keys: impl IntoIterator<Item = &'a str>, size: &str, next: Option<&str>) -> String {
    let objects = keys.into_iter().map(|key| {
        format!("<Contents><Key>{key}</Key><Size>{size}</Size><ETag>\"1\"</ETag></Contents>")
    });
    let objects: String = objects.collect();
    let more = next.is_some();
    let next = next.map(|next| format!("<NextContinuationToken>{next}</NextContinuationToken>"));
    format!(
        "<ListBucketResult><Name>b</Name><IsTruncated>{more}</IsTruncated>{}{objects}</ListBucketResult>",
        next.unwrap_or_default()
    )
}

fn ok(client: &mut TcpStream, body: &str) {
    answer(client, 200, "Content-Type: application/xml\r\n", body);
}

#[test]
fn a_list_that_repeats_itself_is_not_taken_for_whole() {
    let (server, store) = hostile(|_, _, client| ok(client, &page(["a"], "1", Some("again"))));
    says(
        &store.list("").unwrap_err(),
        ErrorKind::Failed,
        "repeats itself",
    );
    assert_eq!(server.asked().len(), 2);
    let uploads = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>\
        <NextUploadIdMarker>u</NextUploadIdMarker></ListMultipartUploadsResult>";
    let (server, store) = hostile(|_, _, client| ok(client, uploads));
    let error = store.remove_unfinished(Timestamp::MAX).unwrap_err();
    says(&error, ErrorKind::Failed, "repeats itself");
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_hundred_thousand_objects_are_listed() {
    let (server, store) = hostile(|_, nth, client| {
        let keys: Vec<String> = (0..1_000)
            .map(|n| format!("{:06}", nth * 1_000 + n))
            .collect();
        let next = (nth < 99).then(|| format!("page-{nth}"));
        ok(
            client,
            &page(keys.iter().map(String::as_str), "5", next.as_deref()),
        );
    });
    let listed = store.list("").unwrap();
    assert_eq!((listed.len(), server.asked().len()), (100_000, 100));
    assert_eq!(listed[99_999].key.as_str(), "099999");
}

#[test]
fn a_list_without_end_is_given_up() {
    let long: Vec<String> = (0..8_000).map(|n| format!("{n:0760}")).collect();
    let (server, store) = hostile(move |_, nth, client| {
        let keys = long.iter().map(String::as_str);
        ok(client, &page(keys, "1", Some(&format!("page-{nth}"))));
    });
    says(
        &store.list("").unwrap_err(),
        ErrorKind::Failed,
        "longer than",
    );
    assert!(server.asked().len() < 20, "{}", server.asked().len());
    let (server, store) = hostile(|_, nth, client| {
        ok(client, &page([], "1", Some(&format!("page-{nth}"))));
    });
    says(
        &store.list("").unwrap_err(),
        ErrorKind::Failed,
        "nothing in it",
    );
    assert!(server.asked().len() < 200, "{}", server.asked().len());
    // Two places of which each names the other one.
    let (server, store) = hostile(|_, nth, client| {
        let next = ["one", "two"][nth % 2];
        let uploads = format!(
            "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>{next}</NextKeyMarker>\
             </ListMultipartUploadsResult>"
        );
        ok(client, &uploads);
    });
    let error = store.remove_unfinished(Timestamp::MAX).unwrap_err();
    says(&error, ErrorKind::Failed, "nothing in it");
    assert!(server.asked().len() < 200, "{}", server.asked().len());
}

#[test]
fn keys_that_are_none_are_no_objects() {
    let wild = [
        "../../etc/passwd",
        "a/../../b",
        "/etc/shadow",
        "a//b",
        "two&#10;lines",
        "esc&#27;[31m",
        "nul&#0;",
        ".hubvault/catalog.sqlite",
        "",
        "good",
    ];
    let (_server, store) = hostile(move |_, _, client| ok(client, &page(wild, "1", None)));
    // Some of it is no XML, either.
    match store.list("") {
        Ok(listed) => assert_eq!(listed.len(), 1, "{listed:?}"),
        Err(error) => says(&error, ErrorKind::Failed, "not that of a store"),
    }
    let decent = wild.into_iter().filter(|key| !key.contains("&#0"));
    let decent: Vec<&str> = decent.collect();
    let (_server, store) = hostile(move |_, _, client| {
        ok(client, &page(decent.iter().copied(), "1", None));
    });
    assert_eq!(keys(&*store, ""), ["good"]);
    // Nor is anything ended that is no upload of ours.
    let uploads = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>../../x</Key>\
        <UploadId>1</UploadId><Initiated>2001-01-01T00:00:00Z</Initiated></Upload></ListMultipartUploadsResult>";
    let (server, store) = hostile(|_, _, client| ok(client, uploads));
    assert_eq!(store.remove_unfinished(Timestamp::MAX).unwrap(), []);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn sizes_that_no_object_has_are_refused() {
    for (size, words) in [
        ("-1", "not that of a store"),
        ("99999999999999999999999999", "not that of a store"),
        ("18446744073709551615", "which no object has"),
        ("9223372036854775807", "which no object has"),
    ] {
        let (_server, store) = hostile(move |asked, _, client| {
            if asked.starts_with("GET") {
                return ok(client, &page(["a"], size, None));
            }
            let head = format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {size}\r\n\r\n");
            let _ = client.write_all(head.as_bytes());
        });
        says(&store.list("").unwrap_err(), ErrorKind::Failed, words);
        let error = store.head(&key("a")).unwrap_err();
        assert!(error.to_string().len() < 900, "{error}");
    }
    let (_server, store) = hostile(|_, _, client| {
        let headers = "ETag: \"1\"\r\nContent-Range: bytes 0-9/18446744073709551615\r\n";
        answer(client, 206, headers, "0123456789");
    });
    let error = store.read_range(&key("a"), 0, u64::MAX).map(drop);
    says(
        &error.unwrap_err(),
        ErrorKind::Failed,
        "which no object has",
    );
}

#[test]
fn an_answer_without_end_is_not_read_to_it() {
    const MOST: usize = 200 << 20;
    for (status, begin) in [
        (200, "<ListBucketResult><Name>"),
        (
            200,
            "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult><Name>",
        ),
        (403, "<Error><Code>"),
        (500, "<Error><Message>"),
    ] {
        let taken = Arc::new(AtomicUsize::new(0));
        let all = Arc::clone(&taken);
        let (server, store) = hostile(move |_, _, client| {
            all.fetch_add(
                answer_without_end(client, status, begin, MOST),
                Ordering::Relaxed,
            );
        });
        let error = store.list("").unwrap_err();
        assert!(error.to_string().len() < 900, "{error}");
        // What was on its way when it was given up is in the system's buffers.
        let each = taken.load(Ordering::Relaxed) / server.asked().len();
        assert!(each < 32 << 20, "{status}: {each}");
    }
}

#[test]
fn an_answer_that_dribbles_is_given_up() {
    fn dribble(client: &mut TcpStream, text: &str) {
        for byte in text.bytes().chain(std::iter::repeat(b'a')) {
            if client.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    for head in [
        "HTTP/1.1 200 OK\r\nX-Long: ",
        "HTTP/1.1 200 OK\r\n\r\n<ListBucketResult>",
        "HTTP/1.1 403 No\r\n\r\n<Error>",
    ] {
        let server = ScriptedServer::start(move |_, _, client| dribble(client, head));
        let mut options = options(server.endpoint(), NOBODY);
        options.object.patience = Some(Duration::from_millis(500));
        let error = place("bucket", &options).list("").unwrap_err();
        assert!(error.to_string().len() < 900, "{error}");
        assert!(server.asked().len() <= 2, "{:?}", server.asked());
    }
}

#[test]
fn no_redirect_takes_credentials_elsewhere() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = HttpSink::start([Answer::Status(200)]);
        let to = elsewhere.url("/bucket/a");
        let (server, store) = hostile(move |_, _, client| {
            let host = to.trim_start_matches("http://").split('/').next().unwrap();
            let headers = format!(
                "Location: {to}\r\nRefresh: 0; url={to}\r\nx-amz-bucket-region: {host}/x\r\n"
            );
            let body =
                format!("<Error><Code>TemporaryRedirect</Code><Endpoint>{host}</Endpoint></Error>");
            answer(client, status, &headers, &body);
        });
        store.list("").unwrap_err();
        store.check().unwrap_err();
        store.head(&key("a")).unwrap_err();
        store.put(&key("a"), &mut &b"x"[..]).unwrap_err();
        store.read_range(&key("a"), 0, 1).map(drop).unwrap_err();
        store.delete(&key("a")).unwrap_err();
        store.remove_unfinished(Timestamp::MAX).unwrap_err();
        assert!(server.asked().len() >= 7);
        assert!(elsewhere.requests().is_empty(), "{status}");
    }
}
