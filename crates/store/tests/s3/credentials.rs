//! Credentials that somebody gives out: the machine, a container, a pod, a token service.

use super::{bucket, bytes, options, place};
use crate::contract::{content, key};
use hubvault_store::{Credentials, ErrorKind, Options};
use hubvault_testkit::object_store::{ForwardProxy, S3Server, Sessions};
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// How a store is asked by whom these variables say.
fn by(sessions: &Sessions, variables: &[(&str, &str)]) -> Options {
    let mut options = options(sessions.url(""), S3Server::OWNER);
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let given = variables.iter().map(owned).collect();
    options.object.credentials = Some(Credentials::AwsIdentity(given));
    options
}

const METADATA: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";

/// Content that takes longer than the store's answers.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::from_millis(5));
        self.0.read(buffer)
    }
}

#[test]
fn each_way_to_temporary_credentials_is_gone_and_they_are_renewed_in_an_upload() {
    let server = S3Server::shared();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, Sessions::TOKEN).unwrap();
    let file = file.to_str().unwrap();
    // Less than the five minutes before their end in which they are renewed.
    let sessions = Sessions::start(server.clone(), Duration::from_mins(4));
    let (machine, container) = (sessions.url("/"), sessions.url("/container"));
    let pod = sessions.url("/");
    for variables in [
        &[(METADATA, &*machine)][..],
        &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file),
        ],
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", file),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/hub"),
            ("AWS_ENDPOINT_URL_STS", &pod),
        ],
    ] {
        let bucket = bucket(&server, false);
        let store = place(&bucket, &by(&sessions, variables));
        store.check().unwrap();
        let (before, all) = (sessions.used().len(), bytes(40 << 20));
        let stored = store.put(&key("a"), &mut Slow(&all)).unwrap();
        assert!(stored.is_confirmed);
        let used = sessions.used().len() - before;
        assert!(used > 1, "{variables:?}: {used} keys");
        assert!(content(&*store, &key("a")) == all);
    }
}

#[test]
fn the_machine_is_asked_by_no_proxy() {
    let (server, proxy) = (S3Server::shared(), ForwardProxy::start(false));
    let sessions = Sessions::start(server.clone(), Duration::from_hours(1));
    let bucket = bucket(&server, false);
    // A name of its own tells the two apart in the proxy's log.
    let machine = sessions.url("/").replace("127.0.0.1", "localhost");
    let mut options = by(&sessions, &[(METADATA, &machine)]);
    options.object.proxy = Some(proxy.url("").into());
    place(&bucket, &options).check().unwrap();
    let log = proxy.log();
    assert!(log.contains(&bucket) && !log.contains("/latest/"), "{log}");
}

#[test]
fn a_machine_without_a_role_is_one_sentence_within_seconds() {
    let server = S3Server::shared();
    let sessions = Sessions::start(server.clone(), Duration::from_hours(1));
    let machine = sessions.url("");
    let nobody = "http://127.0.0.1:9";
    sessions.take_role();
    for (address, is_silent) in [(nobody, false), (&*machine, false), (&machine, true)] {
        sessions.set_silent(is_silent);
        let began = Instant::now();
        let store = place("bucket", &by(&sessions, &[(METADATA, address)]));
        let error = store.check().unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind, ErrorKind::Denied, "{text}");
        assert!(
            text.contains("no credentials are set, and this machine has no role"),
            "{text}"
        );
        assert!(text.len() < 400, "{text}");
        // The limits of the requests add up to half of it.
        assert!(
            began.elapsed() < Duration::from_secs(25),
            "{:?}",
            began.elapsed()
        );
    }
    sessions.set_silent(false);
}

#[test]
fn credentials_that_expired_or_cannot_be_renewed_say_so() {
    let server = S3Server::shared();
    let bucket = bucket(&server, false);
    let sessions = Sessions::start(server.clone(), Duration::ZERO);
    let store = place(&bucket, &by(&sessions, &[(METADATA, &sessions.url(""))]));
    let error = store.check().unwrap_err();
    assert!(error.to_string().contains("ExpiredToken"), "{error}");

    let sessions = Sessions::start(server, Duration::from_mins(4));
    let mut options = by(&sessions, &[(METADATA, &sessions.url(""))]);
    // How long it is tried again.
    options.object.patience = Some(Duration::from_secs(3));
    let store = place(&bucket, &options);
    store.check().unwrap();
    sessions.take_role();
    std::thread::sleep(Duration::from_millis(150));
    let error = store.check().unwrap_err();
    // It may pass: whoever gives them out was there before.
    assert!(error.may_be_retried(), "{error}");
    assert!(
        error.to_string().contains("could not be renewed"),
        "{error}"
    );
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
