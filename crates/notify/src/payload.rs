//! Events, and their form for each kind of channel.

use crate::message::one_line;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Serialize;
use sha2::Sha256;
use std::fmt::Write;

/// A ping's body at most, in bytes; Healthchecks keeps the first 100 kB, others less.
const PING_BYTES: usize = 10_000;
/// An ntfy message at most, in bytes; a longer one would become a file (ntfy documentation, "Limitations").
const NTFY_BYTES: usize = 4_000;
/// A Slack message at most, in bytes; Slack cuts at 40,000 characters ("chat.postMessage", "Truncating content").
const SLACK_BYTES: usize = 30_000;

/// An event to report.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its own id, the same at every try, so that receivers know a second one.
    pub id: String,
    /// Its kind.
    pub kind: EventKind,
    /// One line to display.
    pub title: String,
    /// Some lines to display.
    pub text: String,
    /// The same for programs; a webhook's `data`.
    pub body: serde_json::Value,
}

impl Event {
    /// Whether an archive is there, and something about it is to be looked at: it is unproven, or has warnings.
    pub(crate) fn has_warnings(&self) -> bool {
        let warnings = self.body["warnings"].as_array();
        let warned = warnings.is_some_and(|warnings| !warnings.is_empty());
        self.kind == EventKind::Success && (warned || self.body["proven"] == false)
    }
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A backup started.
    Start,
    /// A backup succeeded.
    Success,
    /// A backup failed.
    Failure,
    /// A check is firing.
    Alert,
    /// A check recovered.
    Recovered,
}

impl EventKind {
    /// The word for it, as webhooks carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Alert => "alert",
            Self::Recovered => "recovered",
        }
    }
}

/// The body and headers of a request.
#[derive(Debug)]
pub(crate) struct Payload {
    /// Appended to the path of the channel's URL.
    pub(crate) suffix: Option<&'static str>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Payload {
    /// JSON, to the channel's URL.
    pub(crate) fn json(body: &serde_json::Value) -> Self {
        Self {
            suffix: None,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        }
    }
}

/// What a webhook's JSON has, in this order.
#[derive(Serialize)]
struct Webhook<'a> {
    id: &'a str,
    event: &'static str,
    title: &'a str,
    text: &'a str,
    sent_at: Timestamp,
    data: &'a serde_json::Value,
}

/// JSON, signed where there is a secret (`docs/webhooks.md`).
pub(crate) fn webhook(event: &Event, secret: Option<&str>, now: Timestamp) -> Payload {
    let seconds = now.as_second();
    let body = Webhook {
        id: &event.id,
        event: event.kind.as_str(),
        title: &event.title,
        text: &event.text,
        sent_at: Timestamp::from_second(seconds).unwrap_or(now),
        data: &event.body,
    };
    // Strings, a time and a JSON value can always be written.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-hubvault-event", event.kind.as_str().to_owned()),
        ("x-hubvault-id", ascii(&event.id)),
        ("x-hubvault-timestamp", seconds.to_string()),
    ];
    if let Some(secret) = secret {
        let signature = signature(secret.as_bytes(), seconds, &body);
        headers.push(("x-hubvault-signature", format!("sha256={signature}")));
    }
    Payload {
        suffix: None,
        headers,
        body,
    }
}

/// HMAC-SHA256 of `<seconds>.<body>` in hexadecimal. The time is signed too, so that an old message cannot be
/// passed off as a new one.
pub(crate) fn signature(secret: &[u8], seconds: i64, body: &[u8]) -> String {
    // HMAC takes keys of any length (RFC 2104, 2).
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return String::new();
    };
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    mac.finalize()
        .into_bytes()
        .iter()
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// A message for Slack and what understands its incoming webhooks (Mattermost, Rocket.Chat, Discord's `/slack`).
pub(crate) fn slack(event: &Event) -> Payload {
    // "Formatting text for app surfaces": these three characters are Slack's own.
    let escape = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let text = format!(
        "*{}*\n{}",
        escape(&one_line(&event.title)),
        escape(&event.text)
    );
    Payload::json(&serde_json::json!({ "text": first_bytes(&text, SLACK_BYTES) }))
}

/// A message for an ntfy topic; the secret is an access token.
pub(crate) fn ntfy(event: &Event, token: Option<&str>) -> Payload {
    let (priority, tags) = match event.kind {
        EventKind::Success if event.has_warnings() => ("default", "warning"),
        EventKind::Failure => ("high", "rotating_light"),
        EventKind::Alert => ("high", "warning"),
        EventKind::Start => ("default", "hourglass"),
        EventKind::Success | EventKind::Recovered => ("default", "white_check_mark"),
    };
    let mut headers = vec![
        ("content-type", "text/plain; charset=utf-8".to_owned()),
        ("title", encoded_words(&one_line(&event.title))),
        ("priority", priority.to_owned()),
        ("tags", tags.to_owned()),
    ];
    if let Some(token) = token {
        headers.push(("authorization", format!("Bearer {token}")));
    }
    Payload {
        suffix: None,
        headers,
        body: first_bytes(&event.text, NTFY_BYTES).into_bytes(),
    }
}

/// A ping, whose path says what happened.
pub(crate) fn ping(event: &Event) -> Payload {
    let suffix = match event.kind {
        EventKind::Start => "/start",
        EventKind::Success | EventKind::Recovered => "",
        EventKind::Failure | EventKind::Alert => "/fail",
    };
    Payload {
        suffix: Some(suffix),
        headers: vec![("content-type", "text/plain; charset=utf-8".to_owned())],
        body: last_lines(&event.text, PING_BYTES).as_bytes().to_vec(),
    }
}

/// What a header can hold: other characters become `?`.
fn ascii(text: &str) -> String {
    let plain = |c: char| {
        if c == ' ' || c.is_ascii_graphic() {
            c
        } else {
            '?'
        }
    };
    text.chars().map(plain).collect()
}

/// A header's value in any language: as it is in ASCII, else as encoded words (RFC 2047), which ntfy decodes.
fn encoded_words(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        // RFC 2047, 2: a word has 75 characters at most, 12 of them around the base64 of 45 bytes.
        if words
            .last()
            .is_some_and(|word| word.len() + c.len_utf8() > 45)
        {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    let word = |word: &String| format!("=?UTF-8?B?{}?=", STANDARD.encode(word));
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The beginning of a text, marked when it was cut.
pub(crate) fn first_bytes(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}\n…", &text[..text.floor_char_boundary(limit)])
}

/// The last whole lines of a text, or the end of its last line where that alone is too long.
fn last_lines(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let begin = text.len() - limit;
    // A line that begins right there is whole.
    if text.as_bytes()[begin - 1] == b'\n' {
        return &text[begin..];
    }
    let tail = &text[text.ceil_char_boundary(begin)..];
    match tail.split_once('\n') {
        Some((_, lines)) if !lines.is_empty() => lines,
        _ => tail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind) -> Event {
        Event {
            id: "e-1".to_owned(),
            kind,
            title: "hub: failed".to_owned(),
            text: "a\nb".to_owned(),
            body: serde_json::json!({ "job": "hub" }),
        }
    }

    #[test]
    fn the_signature_is_the_one_that_others_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            signature(b"key", 1_700_000_000, br#"{"a":1}"#),
            "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
        );
    }

    #[test]
    fn only_the_last_lines_of_a_long_text_go_with_a_ping() {
        assert_eq!(last_lines("one\ntwo\n", 100), "one\ntwo\n");
        assert_eq!(last_lines("one\ntwo\nthree\n", 10), "two\nthree\n");
        assert_eq!(last_lines("one\ntwo\nthree\n", 9), "three\n");
        assert_eq!(last_lines("a very long line", 4), "line");
        assert_eq!(last_lines("a\nénorme", 6), "norme");
        let mut long = event(EventKind::Failure);
        long.text = "line\n".repeat(10_000);
        let payload = ping(&long);
        assert!(payload.body.len() <= PING_BYTES);
        assert!(payload.body.starts_with(b"line\n"));
    }

    #[test]
    fn a_title_in_any_language_fits_in_a_header() {
        let mut event = event(EventKind::Alert);
        event.title =
            "Sicherung fehlgeschlagen: Größe übersteigt die Grenze – bitte prüfen\r\nX: y"
                .to_owned();
        let payload = ntfy(&event, None);
        let title = &payload
            .headers
            .iter()
            .find(|(name, _)| *name == "title")
            .unwrap()
            .1;
        assert!(title.is_ascii() && !title.contains(['\r', '\n']));
        let decoded: Vec<u8> = title
            .split(' ')
            .flat_map(|word| {
                assert!(word.len() <= 75);
                let word = word.strip_prefix("=?UTF-8?B?").unwrap();
                STANDARD.decode(word.strip_suffix("?=").unwrap()).unwrap()
            })
            .collect();
        assert_eq!(String::from_utf8(decoded).unwrap(), one_line(&event.title));
    }

    #[test]
    fn what_slack_would_read_as_its_own_is_escaped() {
        let mut event = event(EventKind::Failure);
        event.text = "<!channel> a & b".to_owned();
        let body = slack(&event).body;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["text"], "*hub: failed*\n&lt;!channel&gt; a &amp; b");
    }

    #[test]
    fn a_long_message_is_cut_where_a_character_begins() {
        assert_eq!(first_bytes("ééé", 3), "é\n…");
        assert_eq!(first_bytes("abc", 3), "abc");
    }
}
