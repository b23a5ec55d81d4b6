//! Telegram, Discord, Microsoft Teams and `PagerDuty`, against a receiver that records what it gets.

use crate::channels::{SECRET, channel, event};
use hubvault_notify::{ChannelKind, Event, EventKind};
use hubvault_testkit::{Answer, HttpSink};
use serde_json::{Value, json};

/// What a channel of this kind posts for these events.
fn posted(kind: ChannelKind, events: &[Event]) -> Vec<Value> {
    let sink = HttpSink::start([]);
    let channel = channel(kind, &sink, "/somewhere?sig=x");
    for event in events {
        channel.post(event).unwrap();
    }
    let bodies = sink.requests().into_iter().map(|request| {
        assert_eq!(request.target, "/somewhere?sig=x");
        assert_eq!(request.header("content-type"), Some("application/json"));
        serde_json::from_slice(&request.body).unwrap()
    });
    bodies.collect()
}

fn about(kind: EventKind, body: Value) -> Event {
    Event {
        body,
        ..event(kind)
    }
}

#[test]
fn telegram_gets_a_text_for_the_chat() {
    let bodies = posted(ChannelKind::Telegram, &[event(EventKind::Failure)]);
    let text = format!(
        "🚨 hub: the backup failed\n{}",
        event(EventKind::Failure).text
    );
    let preview = json!({ "is_disabled": true });
    let expected = json!({ "chat_id": SECRET, "text": text, "link_preview_options": preview });
    assert_eq!(bodies, [expected]);
    // Its limit is in characters, and it refuses what is longer.
    let long = Event {
        text: "é".repeat(9_000),
        ..event(EventKind::Alert)
    };
    let body = &posted(ChannelKind::Telegram, &[long])[0];
    assert!(body["text"].as_str().unwrap().chars().count() < 4_096);
}

#[test]
fn discord_gets_a_text_that_mentions_nobody() {
    let hostile = Event {
        text: "@everyone <@1> **x**".to_owned(),
        ..event(EventKind::Alert)
    };
    let body = &posted(ChannelKind::Discord, &[hostile])[0];
    assert_eq!(body["allowed_mentions"], json!({ "parse": [] }));
    assert_eq!(
        body["content"],
        "⚠️ **hub: the backup failed**\n@everyone \\<@1\\> \\*\\*x\\*\\*"
    );
}

#[test]
fn teams_gets_a_card_whose_text_is_no_markup() {
    let good = about(
        EventKind::Success,
        json!({ "proven": true, "warnings": [] }),
    );
    let warned = about(
        EventKind::Success,
        json!({ "proven": true, "warnings": ["rows"] }),
    );
    let events = [event(EventKind::Failure), good, warned];
    let bodies = posted(ChannelKind::Teams, &events);
    let card = |body: &Value| body["attachments"][0]["content"].clone();
    assert_eq!(bodies[0]["type"], "message");
    let kind = &bodies[0]["attachments"][0]["contentType"];
    assert_eq!(kind, "application/vnd.microsoft.card.adaptive");
    let first = card(&bodies[0]);
    assert_eq!(first["type"], "AdaptiveCard");
    let blocks = first["body"].as_array().unwrap();
    assert_eq!(blocks.len(), 3, "a title and two lines: {first}");
    assert!(blocks.iter().all(|block| block["type"] == "RichTextBlock"));
    assert_eq!(blocks[0]["inlines"][0]["text"], "hub: the backup failed");
    assert_eq!(blocks[2]["inlines"][0]["text"], "last proven: yesterday");
    let colours: Vec<Value> = bodies
        .iter()
        .map(|body| card(body)["body"][0]["inlines"][0]["color"].clone())
        .collect();
    assert_eq!(colours, ["Attention", "Good", "Warning"]);
    // Teams refuses cards of more than 28 KB.
    let long = Event {
        text: "a line\n".repeat(9_000),
        ..event(EventKind::Alert)
    };
    let body = posted(ChannelKind::Teams, &[long])[0].to_string();
    assert!(body.len() < 28_000, "{} bytes", body.len());
}

#[test]
fn pagerduty_opens_an_incident_that_its_end_resolves() {
    let run = json!({ "job": "hub", "alert": null });
    let check = json!({ "job": "hub", "alert": { "check": "disk" } });
    let events = [
        about(EventKind::Failure, run.clone()),
        about(EventKind::Success, run),
        about(EventKind::Alert, check.clone()),
        about(EventKind::Recovered, check),
    ];
    let bodies = posted(ChannelKind::PagerDuty, &events);
    let actions: Vec<(&str, &str)> = bodies
        .iter()
        .map(|body| {
            assert_eq!(body["routing_key"], SECRET);
            let text = |key: &str| body[key].as_str().unwrap();
            (text("event_action"), text("dedup_key"))
        })
        .collect();
    assert_eq!(
        actions,
        [
            ("trigger", "hubvault/hub/run"),
            ("resolve", "hubvault/hub/run"),
            ("trigger", "hubvault/hub/disk"),
            ("resolve", "hubvault/hub/disk"),
        ]
    );
    assert_eq!(bodies[0]["payload"]["severity"], "critical");
    assert_eq!(bodies[2]["payload"]["severity"], "error");
    assert_eq!(bodies[2]["payload"]["source"], "hub");
    assert_eq!(bodies[2]["payload"]["summary"], "hub: the backup failed");
    // Long names stay within the limit and differ.
    let long = json!({ "job": "x".repeat(400), "alert": { "check": "disk" } });
    let body = &posted(ChannelKind::PagerDuty, &[about(EventKind::Alert, long)])[0];
    let key = body["dedup_key"].as_str().unwrap();
    assert!(key.len() == 255 && key.ends_with("/disk"), "{key}");
}

#[test]
fn an_error_names_the_host_and_nothing_of_the_address() {
    for kind in [
        ChannelKind::Telegram,
        ChannelKind::Discord,
        ChannelKind::Teams,
    ] {
        let sink = HttpSink::start([Answer::Status(404)]);
        let error = channel(kind, &sink, "/bot123:xyzzy/sendMessage?sig=xyzzy")
            .post(&event(EventKind::Failure))
            .unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(
            said.contains("127.0.0.1") || said.contains("localhost"),
            "{said}"
        );
        assert!(!said.contains("xyzzy") && !said.contains(SECRET), "{said}");
    }
}
