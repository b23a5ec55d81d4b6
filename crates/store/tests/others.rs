//! Azure's store, with Azurite, and Google's, whose requests are those of S3 in other headers, with `SeaweedFS`. What no
//! server here shows of Google's: that it believes a token, and that it replaces an object only if it still has a
//! generation.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod contract;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use contract::key;
use hubvault_store::{
    Credentials, ErrorKind, Location, Lock, LockMode, ObjectOptions, Options, Store, open,
};
use hubvault_testkit::object_store::{
    AzureServer, HttpFaults, S3Server, ScriptedServer, answer, answer_without_end,
};
use hubvault_testkit::{Answer, HttpSink};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn azure(server: &AzureServer, key: &str) -> Options {
    Options {
        object: ObjectOptions {
            endpoint: Some(server.endpoint()),
            account: Some(AzureServer::ACCOUNT.into()),
            credentials: Some(Credentials::AzureKey(key.into())),
            ..ObjectOptions::default()
        },
        ..Options::default()
    }
}

fn google(server: &HttpFaults) -> Options {
    Options {
        object: ObjectOptions {
            endpoint: Some(server.endpoint()),
            anonymous: true,
            ..ObjectOptions::default()
        },
        ..Options::default()
    }
}

fn place(text: &str, options: &Options) -> Box<dyn Store> {
    open(&Location::parse(text).unwrap(), options).unwrap()
}

#[test]
fn azure_keeps_the_contract() {
    let server = AzureServer::start();
    // This server makes a slash of a backslash.
    contract::all(&["back\\slash"], || {
        let name = name();
        server.create_container(&name);
        place(
            &format!("az://{name}/a/pre fix"),
            &azure(&server, AzureServer::KEY),
        )
    });
}

#[test]
fn google_keeps_the_contract() {
    let server = S3Server::start();
    server.create_bucket(S3Server::OPEN, false);
    let proxy = HttpFaults::start_for_google(server.port());
    // This server makes a slash of a backslash, and decodes keys twice of which the slashes are encoded.
    contract::all(&["back\\slash", "%2e%2e/%00"], || {
        let (bucket, below) = (S3Server::OPEN, name());
        place(&format!("gs://{bucket}/{below}/a/prefix"), &google(&proxy))
    });
}

/// The key of a service account signs the token itself, so that no token server is asked.
#[test]
fn google_is_shown_a_token_of_the_service_account() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let made = std::process::Command::new("ssh-keygen")
        .args([
            "-q", "-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "", "-f",
        ])
        .arg(&file)
        .status()
        .unwrap();
    assert!(made.success());
    let key = std::fs::read_to_string(&file).unwrap();
    let account = |key: &str| {
        let key = key.replace('\n', "\\n");
        let json = format!(
            "{{\"type\": \"service_account\", \"private_key\": \"{key}\", \"private_key_id\": \"the-key\", \
             \"client_email\": \"hub@acme.example\"}}"
        );
        Some(Credentials::GoogleJson(json.into()))
    };
    let sink = HttpSink::start([Answer::Status(403)]);
    let mut options = Options::default();
    options.object.endpoint = Some(sink.url(""));
    options.object.credentials = account(&key);
    let error = place("gs://bucket", &options).check().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    let requests = sink.requests();
    let token = requests[0].header("authorization").unwrap();
    let token = token.strip_prefix("Bearer ").unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else {
        panic!("{token}");
    };
    let text = |part: &str| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    assert!(text(head).contains("\"kid\":\"the-key\""), "{}", text(head));
    let claims = text(claims);
    assert!(claims.contains("\"iss\":\"hub@acme.example\""), "{claims}");
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap().len(), 256);
    assert!(!error.to_string().contains(token), "{error}");
    // One that is no key is an error without it.
    options.object.credentials = account("hunter2");
    let error = open(&Location::parse("gs://bucket").unwrap(), &options).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
}

#[test]
fn azure_replaces_once_from_each_version() {
    let server = AzureServer::start();
    server.create_container("leases");
    let store = place("az://leases", &azure(&server, AzureServer::KEY));
    let first = store
        .put_if_absent(&key("lease"), &mut &b"one"[..])
        .unwrap()
        .unwrap();
    let version = first.version.unwrap();
    let second = store
        .replace_if(&key("lease"), &version, &mut &b"two"[..])
        .unwrap();
    assert!(second.is_some_and(|second| second.version.as_ref() != Some(&version)));
    assert_eq!(
        store
            .replace_if(&key("lease"), &version, &mut &b"three"[..])
            .unwrap(),
        None
    );
    assert_eq!(contract::content(&*store, &key("lease")), b"two");
}

#[test]
fn azure_says_what_is_wrong() {
    let server = AzureServer::start();
    server.create_container("container");
    let wrong = azure(&server, "aHVudGVyMg==");
    let error = place("az://container", &wrong).check().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    let error = place("az://missing", &azure(&server, AzureServer::KEY))
        .check()
        .unwrap_err();
    assert!(
        error.kind == ErrorKind::Failed && error.to_string().contains("create"),
        "{error}"
    );
    let mut signed = azure(&server, "");
    signed.object.credentials = Some(Credentials::AzureSas("sv=2022-11-02&sig=hunter2".into()));
    let error = place("az://container", &signed).check().unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn neither_locks() {
    let lock = Some(Lock {
        days: 1,
        mode: LockMode::Compliance,
    });
    for text in ["gs://bucket", "az://container"] {
        let options = Options {
            lock,
            ..Options::default()
        };
        let error = open(&Location::parse(text).unwrap(), &options).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(
            error.to_string().contains("remove the setting lock"),
            "{error}"
        );
    }
}

/// Both clouds at a server that answers as a test wants.
fn both(endpoint: &str) -> [Box<dyn Store>; 2] {
    ["gs://bucket", "az://container"].map(|url| {
        let object = ObjectOptions {
            endpoint: Some(endpoint.to_owned()),
            anonymous: url.starts_with("gs"),
            account: Some(AzureServer::ACCOUNT.into()),
            credentials: (url.starts_with("az"))
                .then(|| Credentials::AzureKey(AzureServer::KEY.into())),
            patience: Some(Duration::from_secs(5)),
            ..ObjectOptions::default()
        };
        place(
            url,
            &Options {
                object,
                ..Options::default()
            },
        )
    })
}

#[test]
fn a_cloud_without_end_is_given_up() {
    const MOST: usize = 200 << 20;
    for status in [200, 403] {
        let taken = Arc::new(AtomicUsize::new(0));
        let all = Arc::clone(&taken);
        let server = ScriptedServer::start(move |_, _, client| {
            let bytes = answer_without_end(client, status, "<EnumerationResults><A>", MOST);
            all.fetch_add(bytes, Ordering::Relaxed);
        });
        for store in both(&server.endpoint()) {
            let error = store.list("").unwrap_err();
            assert!(error.to_string().len() < 900, "{error}");
        }
        // What was on its way when it was given up is in the system's buffers.
        let each = taken.load(Ordering::Relaxed) / server.asked().len();
        assert!(each < 32 << 20, "{status}: {each}");
    }
    // A list that goes on and has nothing in it.
    let server = ScriptedServer::start(|_, _, client| {
        let body = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>\
            </ListBucketResult>";
        answer(client, 200, "Content-Type: application/xml\r\n", body);
    });
    let error = both(&server.endpoint())[0].list("").unwrap_err();
    assert!(error.is_silence(), "{error}");
}

#[test]
fn no_redirect_of_a_cloud_is_followed() {
    for status in [301, 302, 307, 308] {
        let elsewhere = HttpSink::start([]);
        let to = elsewhere.url("/a");
        let server = ScriptedServer::start(move |_, _, client| {
            answer(client, status, &format!("Location: {to}\r\n"), "");
        });
        for store in both(&server.endpoint()) {
            store.list("").unwrap_err();
            store.head(&key("a")).unwrap_err();
            store.put(&key("a"), &mut &b"x"[..]).unwrap_err();
            store.delete(&key("a")).unwrap_err();
        }
        assert!(elsewhere.requests().is_empty(), "{status}");
    }
}
