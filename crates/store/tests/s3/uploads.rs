//! Uploads that nobody finished.

use super::{bucket, bytes, options, owned, place};
use crate::contract::{content, key, keys};
use hubvault_testkit::object_store::{HttpFault, HttpFaults, S3Key, S3Server};
use hubvault_testkit::wait_for;
use jiff::{SignedDuration, Timestamp};
use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

const ENDPOINT: &str = "HUBVAULT_TEST_UPLOAD_TO";

/// Content that never ends and, after a while, never goes on.
struct Endless(usize);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            std::thread::sleep(Duration::from_hours(1));
        }
        let most = buffer.len().min(self.0);
        self.0 -= most;
        Ok(most)
    }
}

/// What the process does that the next test kills; nothing without that.
#[test]
fn an_upload_that_is_killed() {
    let Ok(place_of_it) = std::env::var(ENDPOINT) else {
        return;
    };
    let (endpoint, bucket) = place_of_it.split_once(' ').unwrap();
    let (id, secret) = (S3Server::OWNER.id, S3Server::OWNER.secret);
    let store = place(bucket, &options(endpoint.to_owned(), S3Key { id, secret }));
    store
        .put(&key("day/killed"), &mut Endless(20 << 20))
        .unwrap();
}

#[test]
fn an_upload_of_a_killed_process_is_no_object_and_is_ended_later() {
    let server = S3Server::shared();
    let (bucket, store) = owned(&server);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "s3::uploads::an_upload_that_is_killed"])
        .env(ENDPOINT, format!("{} {bucket}", server.endpoint()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let has_begun = || {
        let (_, uploads) = server.request("GET", &format!("/{bucket}?uploads="), &[], b"");
        let id = uploads.split_once("<UploadId>").map(|(_, rest)| rest);
        id.and_then(|rest| rest.split_once("</UploadId>"))
            .is_some_and(|(id, _)| {
                let target = format!("/{bucket}/day/killed?uploadId={id}");
                server
                    .request("GET", &target, &[], b"")
                    .1
                    .matches("<Part>")
                    .count()
                    == 2
            })
    };
    wait_for(has_begun, || "the upload".into());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(keys(&*store, "").is_empty());
    assert_eq!(store.head(&key("day/killed")).unwrap(), None);
    assert_eq!(store.remove_unfinished(Timestamp::MIN).unwrap(), []);
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    let removed = store.remove_unfinished(later).unwrap();
    assert_eq!(removed.len(), 1);
    assert_eq!(removed[0].name, "day/killed");
    assert_eq!(removed[0].bytes, Some(16 << 20));
    let age = later.duration_since(removed[0].began);
    assert!(age.abs() < SignedDuration::from_hours(2), "{age}");
    assert_eq!(store.remove_unfinished(later).unwrap(), []);
}

#[test]
fn uploads_of_others_are_left_alone() {
    let server = S3Server::shared();
    let bucket = bucket(&server, false);
    let (status, _) = server.request("POST", &format!("/{bucket}/theirs?uploads="), &[], b"");
    assert_eq!(status, 200);
    let store = place(
        &format!("{bucket}/hub"),
        &options(server.endpoint(), server.owner()),
    );
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    assert_eq!(store.remove_unfinished(later).unwrap(), []);
    let (_, left) = server.request("GET", &format!("/{bucket}?uploads="), &[], b"");
    assert!(left.contains("theirs"), "{left}");
}

const STAGED: &str = "HUBVAULT_TEST_STAGED_UPLOAD_TO";
const LARGE: usize = 20 << 20;

/// What the process does that the next test kills; nothing without that.
#[test]
fn a_whole_upload() {
    let Ok(place_of_it) = std::env::var(STAGED) else {
        return;
    };
    let (endpoint, bucket) = place_of_it.split_once(' ').unwrap();
    let store = place(bucket, &options(endpoint.to_owned(), S3Server::OWNER));
    store.put(&key("staged"), &mut &bytes(LARGE)[..]).unwrap();
}

#[test]
fn a_process_that_is_killed_at_any_stage_leaves_nothing_half() {
    let server = S3Server::shared();
    for (method, part) in [
        ("POST", "uploads="),
        ("PUT", "partNumber=1&"),
        ("PUT", "partNumber=3&"),
        ("POST", "uploadId="),
        ("HEAD", "/staged"),
    ] {
        let (bucket, store) = owned(&server);
        let proxy = HttpFaults::start(server.port());
        proxy.fail(method, part, usize::MAX, HttpFault::Silence);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "s3::uploads::a_whole_upload"])
            .env(STAGED, format!("{} {bucket}", proxy.endpoint()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let is_there = |asked: &String| asked.starts_with(method) && asked.contains(part);
        wait_for(|| proxy.seen().iter().any(is_there), || part.into());
        child.kill().unwrap();
        child.wait().unwrap();
        // The last stage asks for what is whole.
        let is_whole = method == "HEAD";
        assert_eq!(keys(&*store, "").len(), usize::from(is_whole), "{part}");
        let later = Timestamp::now() + SignedDuration::from_hours(1);
        let ended = store.remove_unfinished(later).unwrap();
        let had_begun = !is_whole && part != "uploads=";
        assert_eq!(ended.len(), usize::from(had_begun), "{part}");
        let (_, uploads) = server.request("GET", &format!("/{bucket}?uploads="), &[], b"");
        assert!(!uploads.contains("<UploadId>"), "{part}");
        if !is_whole {
            store.put(&key("staged"), &mut &bytes(LARGE)[..]).unwrap();
        }
        assert!(content(&*store, &key("staged")) == bytes(LARGE), "{part}");
    }
}
