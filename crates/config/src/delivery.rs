//! Who is notified, and how: mail and other channels.

use super::links;
use super::problem::Problem;
use super::setting::Values;
use hubvault_engine::delivery::check_templates;
use hubvault_engine::job::{AttachWhen, Delivery, MailOptions, UserCommand};
use hubvault_engine::schedule::Schedule;
use hubvault_model::{ByteSize, Masks};
use hubvault_notify::{Channel, ChannelKind, Security, SmtpSettings, check_address, is_loopback};
use secrecy::{ExposeSecret, SecretString};

/// A channel and the names of its settings: kind, URL, secret.
const CHANNELS: &[(ChannelKind, &str, &str)] = &[
    (ChannelKind::Webhook, "webhook.url", "webhook.secret"),
    (ChannelKind::Slack, "slack.url", ""),
    (ChannelKind::Ntfy, "ntfy.url", "ntfy.token"),
    (ChannelKind::Discord, "discord.url", ""),
    (ChannelKind::Teams, "teams.url", ""),
    (ChannelKind::Ping, "ping.url", ""),
];

/// Everything about notifications. `masks` hides secrets in each of them.
pub(crate) fn delivery(
    values: &Values,
    commands: Vec<UserCommand>,
    masks: Masks,
    problems: &mut Vec<Problem>,
) -> Delivery {
    let templates = values.path("email.templates_dir");
    if let Some(directory) = &templates {
        let wrong = check_templates(directory).into_iter();
        problems.extend(wrong.map(|it| Problem::new(it.place, "email.templates_dir", it.what)));
    }
    let channels = CHANNELS
        .iter()
        .filter_map(|(kind, url, key)| channel(values, *kind, url, key));
    let channels = channels
        .chain(telegram(values, problems))
        .chain(pagerduty(values))
        .chain(commands.iter().map(|command| of_command(values, command)));
    let channels = channels.collect();
    Delivery {
        missing: missing(values),
        mail: mail(values, problems),
        channels,
        commands,
        tries: values.parsed("delivery.tries"),
        pause: values.duration("delivery.pause"),
        templates,
        links: links::links(values),
        digest: Schedule::new(values.text("email.digest"), values.zone()).ok(),
        masks,
    }
}

/// A channel, where its URL is set.
pub(crate) fn channel(values: &Values, kind: ChannelKind, url: &str, key: &str) -> Option<Channel> {
    Some(Channel {
        kind,
        url: values.secret(url)?.clone(),
        secret: values.secret(key).cloned(),
        timeout: values.duration("email.timeout"),
        ca_file: values.path("delivery.ca_file"),
    })
}

fn at(values: &Values, kind: ChannelKind, url: String, secret: Option<SecretString>) -> Channel {
    Channel {
        kind,
        url: SecretString::from(url),
        secret,
        timeout: values.duration("email.timeout"),
        ca_file: values.path("delivery.ca_file"),
    }
}

/// A chat of Telegram, where a bot's token is set. The token is a part of the URL.
fn telegram(values: &Values, problems: &mut Vec<Problem>) -> Option<Channel> {
    let token = values.secret("telegram.token")?;
    let chat = values.text("telegram.chat");
    if chat.is_empty() {
        let what = "is missing; set TELEGRAM_CHAT_ID to the chat that the bot writes to";
        problems.push(values.problem("telegram.chat", what));
    }
    let base = values.text("telegram.url").trim_end_matches('/');
    let url = format!("{base}/bot{}/sendMessage", token.expose_secret().trim());
    let chat = SecretString::from(chat);
    Some(at(values, ChannelKind::Telegram, url, Some(chat)))
}

fn pagerduty(values: &Values) -> Option<Channel> {
    let key = values.secret("pagerduty.key")?;
    let base = values.text("pagerduty.url").trim_end_matches('/');
    let url = format!("{base}/v2/enqueue");
    Some(at(values, ChannelKind::PagerDuty, url, Some(key.clone())))
}

/// It is known by its name.
fn of_command(values: &Values, command: &UserCommand) -> Channel {
    at(values, ChannelKind::Command, command.name.clone(), None)
}

/// Settings of mail that are probably mistakes.
pub(crate) fn notices(values: &Values) -> Vec<String> {
    let mut notices = Vec::new();
    if values.flag("email.insecure") {
        notices.push(
            "email.insecure is set: the mail server's certificate is not verified, so that anyone in \
             between can read mails and the password; name its authority in email.ca_file instead"
                .to_owned(),
        );
    }
    if values.text("email.security") == "none" && values.flag("email.allow_plain") {
        notices.push(
            "email.security is none and email.allow_plain is set: mails travel in the clear"
                .to_owned(),
        );
    }
    let has_host = !values.text("email.host").is_empty();
    let has_recipient = !values.list("email.to").is_empty();
    if values.flag("email.enabled") && has_host != has_recipient {
        let (host, to) = ("email.host (SMTP_HOST)", "email.to (ADMIN_EMAILS)");
        let (has, lacks) = if has_host { (host, to) } else { (to, host) };
        notices.push(format!(
            "{has} is set and {lacks} is not, so no mail is sent"
        ));
    }
    notices
}

/// Why nobody would get mail, where somebody should.
fn missing(values: &Values) -> Option<String> {
    if !values.flag("email.enabled") {
        None
    } else if values.list("email.to").is_empty() {
        Some("email.to (ADMIN_EMAILS) is not set".to_owned())
    } else if values.text("email.host").is_empty() {
        Some("email.host (SMTP_HOST) is not set".to_owned())
    } else {
        None
    }
}

fn mail(values: &Values, problems: &mut Vec<Problem>) -> Option<MailOptions> {
    let to = values.list("email.to");
    check_recipients(values, problems);
    let host = values.text("email.host");
    if !values.flag("email.enabled") || host.is_empty() || to.is_empty() {
        return None;
    }
    let (user, password) = login(values, problems);
    let from = sender(values, user.as_deref(), problems);
    let port = values.parsed("email.port");
    Some(MailOptions {
        smtp: SmtpSettings {
            host: host.to_owned(),
            port,
            security: security(values, host, port, problems),
            ca_file: values.path("email.ca_file"),
            insecure: values.flag("email.insecure"),
            allow_plain: values.flag("email.allow_plain"),
            user,
            password,
            timeout: values.duration("email.timeout"),
            time_limit: values.duration("email.time_limit"),
        },
        from,
        to: to.to_vec(),
        attach: match values.text("email.attach") {
            "sealed" => AttachWhen::Sealed,
            "never" => AttachWhen::Never,
            _ => AttachWhen::Always,
        },
        max_message: ByteSize::from_mib(values.parsed("email.max_message_mb")),
        split: values.flag("email.split"),
    })
}

fn check_recipients(values: &Values, problems: &mut Vec<Problem>) {
    let to = values.list("email.to");
    for (at, address) in to.iter().enumerate() {
        if let Err(what) = check_address(address) {
            let what = format!("{address:?} is not a mail address: {what}");
            problems.push(values.problem("email.to", what));
        }
        let mut before = to[..at].iter();
        if before.any(|other| other.eq_ignore_ascii_case(address)) {
            problems.push(values.problem("email.to", format!("{address} is named twice")));
        }
    }
}

fn security(values: &Values, host: &str, port: u16, problems: &mut Vec<Problem>) -> Security {
    let security = match values.text("email.security") {
        "tls" => Security::Tls,
        "none" => Security::Plain,
        "" if port == 465 => Security::Tls,
        _ => Security::StartTls,
    };
    if security == Security::Plain && !values.flag("email.allow_plain") && !is_loopback(host) {
        let what = format!(
            "mails to {host} would travel in the clear; use starttls or tls, or set \
             email.allow_plain = true if that is intended"
        );
        problems.push(values.problem("email.security", what));
    }
    security
}

fn login(values: &Values, problems: &mut Vec<Problem>) -> (Option<String>, Option<SecretString>) {
    let user = Some(values.text("email.user")).filter(|user| !user.is_empty());
    let password = values.secret("email.password").cloned();
    if user.is_some() && password.is_none() {
        let what = "there is no password for it; set SMTP_PASS or SMTP_PASS_FILE";
        problems.push(values.problem("email.user", what));
    }
    if user.is_none() && password.is_some() {
        let what = "there is no user for it, so it would not be used; set SMTP_USER, or remove it";
        problems.push(values.problem("email.password", what));
    }
    (user.map(str::to_owned), password)
}

fn sender(values: &Values, user: Option<&str>, problems: &mut Vec<Problem>) -> String {
    match (values.text("email.from"), user) {
        ("", Some(user)) if check_address(user).is_ok() => user.to_owned(),
        ("", _) => {
            let what =
                "is missing; set SMTP_FROM to an address that the mail server lets you send from";
            problems.push(values.problem("email.from", what));
            String::new()
        }
        (from, _) => from.to_owned(),
    }
}
