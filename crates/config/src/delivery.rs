//! Who is told, and how: mail and other channels.

use super::problem::Problem;
use super::resolve::{Found, Value};
use super::text;
use super::{http, keys, schedule};
use hubvault_engine::delivery;
use hubvault_engine::job::{AttachWhen, Delivery, MailOptions};
use hubvault_engine::schedule::Schedule;
use hubvault_model::{ByteSize, Masks};
use hubvault_notify::{Channel, ChannelKind, Security, SmtpSettings, check_address, is_loopback};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Settings = BTreeMap<&'static str, Found>;

/// A channel and the names of its settings: kind, URL, secret.
const CHANNELS: &[(ChannelKind, &str, &str)] = &[
    (ChannelKind::Webhook, "webhook.url", "webhook.secret"),
    (ChannelKind::Slack, "slack.url", ""),
    (ChannelKind::Ntfy, "ntfy.url", "ntfy.token"),
    (ChannelKind::Ping, "ping.url", ""),
];

pub(super) fn delivery(found: &Settings, problems: &mut Vec<Problem>) -> Delivery {
    let templates = path(found, "email.templates_dir");
    if let Some(directory) = &templates {
        check_templates(directory, problems);
    }
    let mail = mail(found, problems);
    Delivery {
        missing: missing(found),
        mail,
        channels: channels(found),
        tries: text(found, "delivery.tries").parse().unwrap_or(1),
        pause: keys::duration(text(found, "delivery.pause")).unwrap_or_default(),
        templates,
        links: http::links(found),
        digest: Schedule::new(text(found, "email.digest"), schedule::zone(found)).ok(),
        masks: Masks::default(),
    }
}

/// What is set about mail and deserves a second look.
pub(super) fn notices(found: &Settings) -> Vec<String> {
    let mut notices = Vec::new();
    let is = |key: &str| text(found, key) == "true";
    if is("email.insecure") {
        notices.push(
            "email.insecure is set: the mail server's certificate is not verified, so that anyone in \
             between can read mails and the password; name its authority in email.ca_file instead"
                .to_owned(),
        );
    }
    if text(found, "email.security") == "none" && is("email.allow_plain") {
        notices.push(
            "email.security is none and email.allow_plain is set: mails travel in the clear"
                .to_owned(),
        );
    }
    if is_on(found) && text(found, "email.host").is_empty() != list(found, "email.to").is_empty() {
        let (has, lacks) = if text(found, "email.host").is_empty() {
            ("email.to (ADMIN_EMAILS)", "email.host (SMTP_HOST)")
        } else {
            ("email.host (SMTP_HOST)", "email.to (ADMIN_EMAILS)")
        };
        notices.push(format!(
            "{has} is set and {lacks} is not, so no mail is sent"
        ));
    }
    notices
}

/// Every secret that somebody set.
pub(crate) fn secrets<'a>(found: impl Iterator<Item = &'a Found>) -> Vec<SecretString> {
    found
        .filter_map(|found| match &found.value {
            Value::Secret(secret) => Some(secret.clone()),
            _ => None,
        })
        .collect()
}

fn is_on(found: &Settings) -> bool {
    text(found, "email.enabled") != "false"
}

fn missing(found: &Settings) -> Option<String> {
    if !is_on(found) {
        return None;
    }
    let named = |key: &str, variable: &str| format!("{key} ({variable}) is not set");
    if list(found, "email.to").is_empty() {
        Some(named("email.to", "ADMIN_EMAILS"))
    } else if text(found, "email.host").is_empty() {
        Some(named("email.host", "SMTP_HOST"))
    } else {
        None
    }
}

fn mail(found: &Settings, problems: &mut Vec<Problem>) -> Option<MailOptions> {
    let mut problem = |key: &'static str, what: String| {
        let origin = found
            .get(key)
            .map_or("email", |found| found.origin.as_str());
        problems.push(Problem::new(origin, key, what));
    };
    let to = list(found, "email.to");
    for (at, address) in to.iter().enumerate() {
        if let Err(what) = check_address(address) {
            problem(
                "email.to",
                format!("{address:?} is no mail address: {what}"),
            );
        }
        if to[..at]
            .iter()
            .any(|other| other.eq_ignore_ascii_case(address))
        {
            problem("email.to", format!("{address} stands in it twice"));
        }
    }
    let host = text(found, "email.host");
    if !is_on(found) || host.is_empty() || to.is_empty() {
        return None;
    }
    let port = text(found, "email.port").parse().unwrap_or(587);
    let security = match text(found, "email.security") {
        "tls" => Security::Tls,
        "none" => Security::Plain,
        "" if port == 465 => Security::Tls,
        _ => Security::StartTls,
    };
    let allow_plain = text(found, "email.allow_plain") == "true";
    if security == Security::Plain && !allow_plain && !is_loopback(host) {
        let what = format!(
            "mails to {host} would travel in the clear; use starttls or tls, or set \
             email.allow_plain = true if that is meant"
        );
        problem("email.security", what);
    }
    let user = Some(text(found, "email.user")).filter(|user| !user.is_empty());
    let password = secret(found, "email.password");
    if user.is_some() && password.is_none() {
        let what = "there is no password for it; set SMTP_PASS or SMTP_PASS_FILE".to_owned();
        problem("email.user", what);
    }
    if user.is_none() && password.is_some() {
        let what =
            "there is no user for it, and it would not be used; set SMTP_USER, or take it out";
        problem("email.password", what.to_owned());
    }
    let from = match (text(found, "email.from"), user) {
        ("", Some(user)) if check_address(user).is_ok() => user,
        ("", _) => {
            let what = "it is needed to send mail: set SMTP_FROM to an address that the server lets \
                        you write from";
            problem("email.from", what.to_owned());
            ""
        }
        (from, _) => from,
    };
    Some(MailOptions {
        smtp: SmtpSettings {
            host: host.to_owned(),
            port,
            security,
            ca_file: path(found, "email.ca_file"),
            insecure: text(found, "email.insecure") == "true",
            allow_plain,
            user: user.map(str::to_owned),
            password,
            timeout: keys::duration(text(found, "email.timeout")).unwrap_or_default(),
            time_limit: keys::duration(text(found, "email.time_limit")).unwrap_or_default(),
        },
        from: from.to_owned(),
        to: to.to_vec(),
        attach: match text(found, "email.attach") {
            "sealed" => AttachWhen::Sealed,
            "never" => AttachWhen::Never,
            _ => AttachWhen::Always,
        },
        max_message: ByteSize::from_mib(text(found, "email.max_message_mb").parse().unwrap_or(25)),
        split: text(found, "email.split") == "true",
    })
}

fn channels(found: &Settings) -> Vec<Channel> {
    let channel = |(kind, url, key): &(ChannelKind, &str, &str)| {
        Some(Channel {
            kind: *kind,
            url: secret(found, url)?,
            secret: secret(found, key),
            timeout: keys::duration(text(found, "email.timeout")).unwrap_or_default(),
            ca_file: path(found, "delivery.ca_file"),
        })
    };
    CHANNELS.iter().filter_map(channel).collect()
}

fn check_templates(directory: &Path, problems: &mut Vec<Problem>) {
    for problem in delivery::check_templates(directory) {
        problems.push(Problem::new(
            problem.place,
            "email.templates_dir",
            problem.what,
        ));
    }
}

pub(super) fn secret(found: &Settings, key: &str) -> Option<SecretString> {
    match found.get(key).map(|found| &found.value) {
        Some(Value::Secret(secret)) => Some(secret.clone()),
        _ => None,
    }
}

fn list<'a>(found: &'a Settings, key: &str) -> &'a [String] {
    match found.get(key).map(|found| &found.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

pub(super) fn path(found: &Settings, key: &str) -> Option<PathBuf> {
    Some(text(found, key))
        .filter(|text| !text.is_empty())
        .map(PathBuf::from)
}
