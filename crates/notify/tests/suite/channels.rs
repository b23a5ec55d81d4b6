//! Webhooks, Slack, ntfy and pings, against a receiver that records what it gets.

use hubvault_notify::{Channel, ChannelKind, Event, EventKind, Problem};
use hubvault_testkit::{Answer, HttpSink};
use secrecy::SecretString;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) const SECRET: &str = "signing-key-xyzzy";

pub(crate) fn channel(kind: ChannelKind, sink: &HttpSink, path: &str) -> Channel {
    Channel {
        kind,
        url: SecretString::from(sink.url(path)),
        secret: Some(SecretString::from(SECRET)),
        timeout: Duration::from_mins(1),
        ca_file: sink.ca_file.clone(),
    }
}

pub(crate) fn event(kind: EventKind) -> Event {
    Event {
        id: "run-1.failure".to_owned(),
        kind,
        title: "hub: the backup failed".to_owned(),
        text: "export: the server went away\nlast proven: yesterday".to_owned(),
        body: serde_json::json!({ "job": "hub", "stage": "export" }),
    }
}

/// Checks a signature as `docs/webhooks.md` tells others to.
fn signed_as_documented(signature: &str, timestamp: &str, body: &[u8]) -> bool {
    let program = "import hashlib, hmac, sys
secret, timestamp, signature = (word.encode() for word in sys.argv[1:])
expected = hmac.new(secret, timestamp + b'.' + sys.stdin.buffer.read(), hashlib.sha256).hexdigest()
sys.exit(not hmac.compare_digest(b'sha256=' + expected.encode(), signature))";
    let mut python = Command::new("python3")
        .args(["-c", program, SECRET, timestamp, signature])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(body).unwrap();
    python.wait().unwrap().success()
}

#[test]
fn a_webhook_is_json_with_a_verifiable_signature() {
    let sink = HttpSink::start([]);
    let channel = channel(ChannelKind::Webhook, &sink, "/hook?team=1");
    channel.post(&event(EventKind::Failure)).unwrap();
    let [request] = sink.requests().try_into().unwrap();
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/hook?team=1")
    );
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("x-hubvault-event"), Some("failure"));
    assert_eq!(request.header("x-hubvault-id"), Some("run-1.failure"));
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["id"], "run-1.failure");
    assert_eq!(body["event"], "failure");
    assert_eq!(body["title"], "hub: the backup failed");
    assert_eq!(body["text"], event(EventKind::Failure).text);
    assert_eq!(
        body["data"],
        serde_json::json!({ "job": "hub", "stage": "export" })
    );
    let timestamp = request.header("x-hubvault-timestamp").unwrap();
    let sent_at: jiff::Timestamp = body["sent_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(sent_at.as_second().to_string(), timestamp);
    let signature = request.header("x-hubvault-signature").unwrap();
    assert!(signed_as_documented(signature, timestamp, &request.body));
    let other = [request.body.as_slice(), b" "].concat();
    assert!(!signed_as_documented(signature, timestamp, &other));
}

#[test]
fn a_webhook_without_a_secret_is_not_signed() {
    let sink = HttpSink::start([]);
    let channel = Channel {
        secret: None,
        ..channel(ChannelKind::Webhook, &sink, "/")
    };
    channel.post(&event(EventKind::Success)).unwrap();
    assert_eq!(sink.requests()[0].header("x-hubvault-signature"), None);
}

#[test]
fn slack_gets_a_title_and_a_text() {
    let sink = HttpSink::start([]);
    let channel = channel(ChannelKind::Slack, &sink, "/services/T0/B0/x");
    channel.post(&event(EventKind::Alert)).unwrap();
    let [request] = sink.requests().try_into().unwrap();
    assert_eq!(request.target, "/services/T0/B0/x");
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let text = format!("*hub: the backup failed*\n{}", event(EventKind::Alert).text);
    assert_eq!(body, serde_json::json!({ "text": text }));
}

#[test]
fn ntfy_gets_the_text_with_a_title_and_a_priority() {
    let sink = HttpSink::start([]);
    let channel = channel(ChannelKind::Ntfy, &sink, "/backups");
    channel.post(&event(EventKind::Failure)).unwrap();
    channel.post(&event(EventKind::Recovered)).unwrap();
    let [failure, recovered] = sink.requests().try_into().unwrap();
    assert_eq!(failure.target, "/backups");
    assert_eq!(failure.body, event(EventKind::Failure).text.as_bytes());
    assert_eq!(failure.header("title"), Some("hub: the backup failed"));
    assert_eq!(failure.header("priority"), Some("high"));
    assert_eq!(failure.header("tags"), Some("rotating_light"));
    let bearer = format!("Bearer {SECRET}");
    assert_eq!(failure.header("authorization"), Some(bearer.as_str()));
    assert_eq!(recovered.header("priority"), Some("default"));
}

#[test]
fn the_path_of_a_ping_names_the_outcome() {
    let sink = HttpSink::start([]);
    let channel = channel(ChannelKind::Ping, &sink, "/check-1/?rid=7");
    for kind in [
        EventKind::Start,
        EventKind::Success,
        EventKind::Failure,
        EventKind::Alert,
        EventKind::Recovered,
    ] {
        channel.post(&event(kind)).unwrap();
    }
    let targets: Vec<String> = sink.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(
        targets,
        [
            "/check-1/start?rid=7",
            "/check-1?rid=7",
            "/check-1/fail?rid=7",
            "/check-1/fail?rid=7"
        ]
    );
    assert_eq!(
        sink.requests()[2].body,
        event(EventKind::Failure).text.as_bytes()
    );
}

#[test]
fn only_pings_are_sent_at_the_start() {
    let sink = HttpSink::start([]);
    for kind in [ChannelKind::Webhook, ChannelKind::Slack, ChannelKind::Ntfy] {
        channel(kind, &sink, "/")
            .post(&event(EventKind::Start))
            .unwrap();
    }
    assert!(sink.requests().is_empty());
}

#[test]
fn the_answer_decides_about_a_retry() {
    for (status, problem, permanent) in [
        (400, Problem::Rejected, true),
        (401, Problem::Authentication, true),
        (404, Problem::Rejected, true),
        (408, Problem::Busy, false),
        (413, Problem::TooLarge, true),
        (425, Problem::Busy, false),
        (429, Problem::Busy, false),
        (500, Problem::Busy, false),
        (503, Problem::Busy, false),
    ] {
        let sink = HttpSink::start([Answer::Status(status)]);
        let channel = channel(ChannelKind::Webhook, &sink, "/");
        let error = channel.post(&event(EventKind::Success)).unwrap_err();
        assert_eq!(
            (error.problem(), error.is_permanent()),
            (problem, permanent),
            "{status}"
        );
        assert!(!error.outcome_unknown());
        // The same again is taken.
        channel.post(&event(EventKind::Success)).unwrap();
        let ids: Vec<_> = sink
            .requests()
            .iter()
            .map(|request| request.header("x-hubvault-id").map(str::to_owned))
            .collect();
        assert_eq!(ids[0], ids[1]);
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = HttpSink::start([]);
    let sink = HttpSink::start([Answer::Redirect(elsewhere.url("/other"))]);
    let error = channel(ChannelKind::Webhook, &sink, "/hook")
        .post(&event(EventKind::Success))
        .unwrap_err();
    assert!(error.is_permanent());
    assert!(
        error.to_string().contains("redirects are not followed"),
        "{error}"
    );
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn an_endless_answer_is_not_read() {
    let sink = HttpSink::start([Answer::Endless]);
    channel(ChannelKind::Webhook, &sink, "/")
        .post(&event(EventKind::Success))
        .unwrap();
}

#[test]
fn a_silent_receiver_leaves_the_outcome_unknown() {
    let sink = HttpSink::start([Answer::Silence, Answer::Cut]);
    let silent = Channel {
        timeout: Duration::from_secs(1),
        ..channel(ChannelKind::Webhook, &sink, "/")
    };
    let error = silent.post(&event(EventKind::Success)).unwrap_err();
    assert_eq!(error.problem(), Problem::Silent, "{error}");
    assert!(error.outcome_unknown() && !error.is_permanent());
    let error = channel(ChannelKind::Webhook, &sink, "/")
        .post(&event(EventKind::Success))
        .unwrap_err();
    assert_eq!(error.problem(), Problem::Lost, "{error}");
    assert!(error.outcome_unknown() && !error.is_permanent());
}

#[test]
fn https_trusts_the_systems_authorities_and_the_configured_one() {
    let sink = HttpSink::start_tls([]);
    let known = channel(ChannelKind::Webhook, &sink, "/hook");
    known.post(&event(EventKind::Success)).unwrap();
    assert_eq!(sink.requests().len(), 1);
    let stranger = Channel {
        ca_file: None,
        ..known.clone()
    };
    let error = stranger.post(&event(EventKind::Success)).unwrap_err();
    assert_eq!(error.problem(), Problem::CertificateUntrusted, "{error}");
    assert!(error.to_string().contains("ca_file"), "{error}");
    let by_address = Channel {
        url: SecretString::from(format!("https://127.0.0.1:{}/hook", sink.port)),
        ..known
    };
    let error = by_address.post(&event(EventKind::Success)).unwrap_err();
    assert_eq!(error.problem(), Problem::CertificateName, "{error}");
    assert_eq!(sink.requests().len(), 1);
}

#[test]
fn errors_show_only_the_host_of_an_address_and_no_secret() {
    let closed = HttpSink::start([]).url("/path-xyzzy?key=xyzzy");
    let failing = HttpSink::start([Answer::Status(404), Answer::Cut]);
    let redirecting = HttpSink::start([Answer::Redirect("/path-xyzzy".to_owned())]);
    let urls = [
        closed,
        failing.url("/path-xyzzy"),
        failing.url("/path-xyzzy"),
        redirecting.url("/path-xyzzy"),
        "http://hub.example/path-xyzzy".to_owned(),
        "https://user:xyzzy@nowhere.invalid/path-xyzzy".to_owned(),
        "https://hub.example:99999/path-xyzzy".to_owned(),
        "https:/path-xyzzy".to_owned(),
        "path-xyzzy".to_owned(),
        "https://hub.example/päth-xyzzy and more".to_owned(),
    ];
    for url in urls {
        for kind in [ChannelKind::Webhook, ChannelKind::Ntfy] {
            let channel = Channel {
                kind,
                url: SecretString::from(url.clone()),
                secret: Some(SecretString::from("token\nxyzzy")),
                timeout: Duration::from_secs(20),
                ca_file: None,
            };
            if let Err(error) = channel.post(&event(EventKind::Failure)) {
                let shown = format!("{error} {error:?} {channel:?} {}", channel.host());
                assert!(!shown.contains("xyzzy"), "{shown}");
            } else {
                assert!(
                    url.starts_with("http://127.0.0.1"),
                    "only a second answer is 200"
                );
            }
        }
    }
}

#[test]
fn plain_http_is_allowed_only_to_this_machine() {
    let channel = Channel {
        kind: ChannelKind::Slack,
        url: SecretString::from("http://hub.example/hook"),
        secret: None,
        timeout: Duration::from_secs(20),
        ca_file: None,
    };
    let error = channel.post(&event(EventKind::Failure)).unwrap_err();
    assert_eq!(error.problem(), Problem::Settings);
    assert!(error.is_permanent());
    assert!(error.to_string().contains("use https"), "{error}");
}

#[test]
fn an_unknown_host_and_a_closed_port_are_different_errors() {
    let closed = HttpSink::start([]);
    let port = closed.port;
    drop(closed);
    for (url, problem) in [
        (
            "https://hooks.hubvault.invalid/x".to_owned(),
            Problem::HostUnknown,
        ),
        (
            format!("http://127.0.0.1:{port}/x"),
            Problem::ConnectionRefused,
        ),
    ] {
        let channel = Channel {
            kind: ChannelKind::Slack,
            url: SecretString::from(url),
            secret: None,
            timeout: Duration::from_secs(40),
            ca_file: None,
        };
        let error = channel.post(&event(EventKind::Failure)).unwrap_err();
        assert_eq!(error.problem(), problem, "{error}");
        assert!(!error.is_permanent() && !error.outcome_unknown());
    }
}
