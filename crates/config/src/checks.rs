//! What is watched, and `[[check]]`: the user's own checks.

use super::delivery::{path, secret};
use super::document::Document;
use super::job::mib;
use super::keys;
use super::problem::Problem;
use super::resolve::Found;
use super::scope::{Fields, Said};
use super::text;
use hubvault_engine::job::{MonitorOptions, RowLimits, UserCheck};
use hubvault_engine::monitor;
use hubvault_notify::{Channel, ChannelKind};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a check of the user's may take where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(4);

pub(super) fn monitor(
    found: &BTreeMap<&'static str, Found>,
    checks: &[Said<UserCheck>],
) -> MonitorOptions {
    let number = |key, otherwise| text(found, key).parse().unwrap_or(otherwise);
    let ping = secret(found, "monitor.ping_url").map(|url| Channel {
        kind: ChannelKind::Ping,
        url,
        secret: None,
        timeout: keys::duration(text(found, "email.timeout")).unwrap_or_default(),
        ca_file: path(found, "delivery.ca_file"),
    });
    let usual = MonitorOptions::default();
    MonitorOptions {
        interval: keys::duration(text(found, "monitor.interval")).unwrap_or(usual.interval),
        max_age_hours: number("monitor.max_age_hours", usual.max_age_hours),
        max_drill_age_hours: number("monitor.max_drill_age_hours", usual.max_drill_age_hours),
        min_free: mib(found, "monitor.min_free_mb"),
        rows: RowLimits {
            fell_percent: number("monitor.rows_fell_percent", usual.rows.fell_percent),
            grew_percent: number("monitor.rows_grew_percent", usual.rows.grew_percent),
        },
        reminder: Duration::from_secs(
            text(found, "monitor.reminder_hours")
                .parse::<u64>()
                .map_or(usual.reminder.as_secs(), |hours| hours * 3_600),
        ),
        ping,
        test_mode: text(found, "monitor.test_mode") == "true",
        checks: checks.iter().map(|said| said.value.clone()).collect(),
    }
}

pub(super) fn checks(document: &Document, problems: &mut Vec<Problem>) -> Vec<Said<UserCheck>> {
    let mut found: Vec<Said<UserCheck>> = Vec::new();
    for item in document.array("check").unwrap_or_default() {
        let known = &["name", "command", "timeout"];
        let mut fields = Fields::new("check", document, item, known, problems);
        for needed in ["name", "command"] {
            if !item.value.contains_key(needed) {
                fields.problem("", format!("{needed} is missing"));
            }
        }
        let has = |key: &str| item.value.contains_key(key);
        let name = if has("name") {
            fields.text("name")
        } else {
            None
        };
        let command = if has("command") {
            fields.command("command")
        } else {
            None
        };
        let timeout = match fields.text("timeout").map(|text| keys::duration(&text)) {
            None => TIMEOUT,
            Some(Ok(timeout)) => timeout,
            Some(Err(what)) => {
                fields.problem("timeout", what);
                TIMEOUT
            }
        };
        let (Some(name), Some(command)) = (name, command) else {
            continue;
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if !name.chars().all(plain) {
            fields.problem("name", "expected lower-case letters, digits, - and _");
        }
        if monitor::NAMES.contains(&name.as_str()) {
            fields.problem("name", format!("{name} is a check of hubvault's own"));
        }
        if found.iter().any(|other| other.value.name == name) {
            fields.problem("name", format!("{name} is the name of another check, too"));
        }
        let value = UserCheck {
            name,
            command,
            timeout,
        };
        found.push(Said {
            value,
            origin: document.origin(item.line),
        });
    }
    found
}
