//! `PagerDuty`'s Events API v2: an incident is opened, and resolved by what ended it.

use crate::message::one_line;
use crate::payload::{Event, EventKind, Payload, first_bytes};
use serde_json::{Value, json};

/// A summary at most, in bytes; `PagerDuty` allows 1,024 characters ("PD-CEF").
const SUMMARY_BYTES: usize = 1_000;
/// The details at most, in bytes; an event may have 512 KB.
const DETAILS_BYTES: usize = 30_000;
/// A key at most; `PagerDuty` allows 255 characters.
const KEY_CHARACTERS: usize = 255;

/// A failed run opens the incident of the job's runs, and the next run that publishes an archive resolves it. Each check has
/// an incident of its own. The secret is the integration's routing key.
pub(crate) fn event(event: &Event, routing_key: Option<&str>) -> Payload {
    let (action, severity) = match event.kind {
        EventKind::Failure => ("trigger", "critical"),
        EventKind::Alert => ("trigger", "error"),
        EventKind::Success | EventKind::Recovered | EventKind::Start => ("resolve", "info"),
    };
    let mut body = json!({
        "routing_key": routing_key.unwrap_or_default(),
        "event_action": action,
        "dedup_key": incident(&event.body),
    });
    if action == "trigger" {
        body["payload"] = json!({
            "summary": first_bytes(&one_line(&event.title), SUMMARY_BYTES),
            "source": text(&event.body["job"]),
            "severity": severity,
            "component": "hubvault",
            "custom_details": { "text": first_bytes(&event.text, DETAILS_BYTES), "id": event.id },
        });
    }
    Payload::json(&body)
}

/// The key of the incident that an event is about: the check's of an alert, else that of the runs.
fn incident(body: &Value) -> String {
    let subject = match text(&body["alert"]["check"]) {
        "" => "run",
        check => check,
    };
    let key = format!("hubvault/{}/{subject}", text(&body["job"]));
    // What is last tells checks of a job with a long name apart.
    let from = key.chars().count().saturating_sub(KEY_CHARACTERS);
    key.chars().skip(from).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
