//! Proxies between a client and its store, with `tinyproxy`, a real one.

use super::{bucket, bytes, options, place};
use crate::contract::{content, key};
use hubvault_store::Options;
use hubvault_testkit::object_store::{ForwardProxy, S3Server};

fn by(proxy: String, (endpoint, ca_file): (String, std::path::PathBuf)) -> Options {
    let mut options = options(endpoint, S3Server::OWNER);
    options.object.ca_file = Some(ca_file);
    options.object.proxy = Some(proxy.into());
    options
}

fn login() -> String {
    format!("{}:{}@", ForwardProxy::USER, ForwardProxy::PASSWORD)
}

#[test]
fn a_store_is_reached_by_a_proxy_that_wants_a_login() {
    let (server, proxy) = (S3Server::shared(), ForwardProxy::start(true));
    let bucket = bucket(&server, false);
    let plain = (server.endpoint(), server.https().1);
    for (endpoint, sign) in [
        (server.https(), "CONNECT localhost:".to_owned()),
        (plain, format!("PUT {}/{bucket}/a", server.endpoint())),
    ] {
        let store = place(&bucket, &by(proxy.url(&login()), endpoint));
        let all = bytes(9 << 20);
        assert!(store.put(&key("a"), &mut &b"x"[..]).unwrap().is_confirmed);
        assert!(store.put(&key("b"), &mut &all[..]).unwrap().is_confirmed);
        assert!(content(&*store, &key("b")) == all);
        let log = proxy.log();
        assert!(log.contains(&sign), "{sign}: {log}");
    }
}

#[test]
fn a_proxy_that_refuses_is_named_and_its_password_is_not() {
    let (server, proxy) = (S3Server::shared(), ForwardProxy::start(true));
    let bucket = bucket(&server, false);
    let plain = (server.endpoint(), server.https().1);
    let wants = "the proxy wants a user and a password";
    // This one says 401 to a wrong password, as a store could.
    for (login, endpoint, words) in [
        ("", server.https(), wants),
        ("", plain.clone(), wants),
        (
            "hub:hunter2@",
            server.https(),
            "correct its user and password",
        ),
        ("hub:hunter2@", plain, "also those for a proxy in between"),
    ] {
        let options = by(proxy.url(login), endpoint);
        assert!(!format!("{options:?}").contains("hunter2"));
        let error = place(&bucket, &options).check().unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(words) && !text.contains("hunter2"), "{text}");
    }
    let refusing = ForwardProxy::start_refusing();
    let error = place(&bucket, &by(refusing.url(""), server.https()))
        .check()
        .unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(
        error.to_string().contains("have it allow the store's host"),
        "{error}"
    );
}

#[test]
fn a_proxy_that_is_not_there_or_is_no_address_is_an_error_without_its_password() {
    let server = S3Server::shared();
    let bucket = bucket(&server, false);
    for (address, words) in [
        (
            "http://u:hunter2@127.0.0.1:9",
            "cannot connect to the proxy",
        ),
        ("http://u:hunter2@", "proxy"),
        ("socks5://u:hunter2@127.0.0.1:9", "proxy"),
    ] {
        let options = by(address.into(), server.https());
        let location = hubvault_store::Location::parse(&format!("s3://{bucket}")).unwrap();
        let error = match hubvault_store::open(&location, &options) {
            Ok(store) => store.check().unwrap_err(),
            Err(error) => error,
        };
        let text = format!("{error} {error:?}");
        assert!(text.contains(words) && !text.contains("hunter2"), "{text}");
    }
}
