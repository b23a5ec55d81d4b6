//! How a store keeps what it is given: encrypted, and in which class.

use super::{bucket, bytes, options, place};
use crate::contract::{content, key};
use hubvault_store::{Encryption, ErrorKind};
use hubvault_testkit::object_store::{HttpFault, HttpFaults, S3Server};

#[test]
fn the_server_encrypts_and_has_the_class_that_is_set() {
    let server = S3Server::shared();
    let kms = |key: &str| Encryption::KeyService(Some(key.into()));
    let key_header = "x-amz-server-side-encryption-aws-kms-key-id: hub-key";
    for (encryption, expected) in [
        (
            Encryption::StoreKey,
            vec!["x-amz-server-side-encryption: AES256"],
        ),
        (
            kms("hub-key"),
            vec!["x-amz-server-side-encryption: aws:kms", key_header],
        ),
    ] {
        let bucket = bucket(&server, false);
        let mut options = options(server.endpoint(), server.owner());
        options.object.encryption = Some(encryption);
        options.object.storage_class = Some("STANDARD_IA".into());
        let store = place(&bucket, &options);
        for (name, count) in [("small", 5), ("large", 9 << 20)] {
            let all = bytes(count);
            assert!(store.put(&key(name), &mut &all[..]).unwrap().is_confirmed);
            assert!(content(&*store, &key(name)) == all);
            let lines = server.head(&format!("/{bucket}/{name}"));
            let has = |line: &str| lines.iter().any(|known| known.eq_ignore_ascii_case(line));
            for line in expected.iter().chain(&["x-amz-storage-class: STANDARD_IA"]) {
                assert!(has(line), "{name}, {line}: {lines:?}");
            }
        }
    }
}

#[test]
fn a_store_that_does_not_encrypt_as_it_shall_is_refused() {
    let server = S3Server::shared();
    let bucket = bucket(&server, false);
    let proxy = HttpFaults::start(server.port());
    let mut options = options(proxy.endpoint(), server.owner());
    options.object.encryption = Some(Encryption::StoreKey);
    let store = place(&bucket, &options);
    let other = |value: &str| {
        let headers = vec![("x-amz-server-side-encryption", value.to_owned())];
        HttpFault::Headers(headers)
    };
    let large = bytes(9 << 20);
    for (name, content) in [("a", &b"x"[..]), ("b", &large)] {
        proxy.fail("HEAD", &format!("/{name}"), 1, other("none"));
        let error = store.put(&key(name), &mut &*content).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed, "{error}");
        assert!(
            error.to_string().contains("remove the setting encryption"),
            "{error}"
        );
    }
    assert_eq!(proxy.left(), 0);
}

#[test]
fn a_class_that_the_store_does_not_have_is_named() {
    let server = S3Server::shared();
    let bucket = bucket(&server, false);
    let mut options = options(server.endpoint(), server.owner());
    options.object.storage_class = Some("NO_SUCH_CLASS".into());
    let error = place(&bucket, &options)
        .put(&key("a"), &mut &b"x"[..])
        .unwrap_err();
    assert!(
        error.to_string().contains("no such storage class"),
        "{error}"
    );
}
