//! Messages of channels other than mail.

use super::facts::{Facts, LinkFacts};
use super::message::{LINK, item};
use super::template::Templates;
use crate::catalog::{Content, OutboxItem, Recipient, RecipientState};
use hubvault_model::{Masks, one_line, printable};
use hubvault_notify::{Channel, ChannelKind, EventKind};
use serde_json::{Value, json};

/// The message of a channel about an event.
pub(super) fn event(
    channel: &Channel,
    kind: EventKind,
    facts: &Facts,
    masks: &Masks,
) -> OutboxItem {
    let rendered = Templates::new(None).render(kind.as_str(), facts);
    let title = rendered
        .subject
        .strip_prefix("[hubvault] ")
        .unwrap_or(&rendered.subject);
    // A ping goes to a stranger who only counts them.
    let link = facts.archive.as_ref();
    let link = link.and_then(|archive| archive.link.as_ref());
    let link = link.filter(|_| channel.kind != ChannelKind::Ping);
    let text = lines(kind, facts, link).join("\n");
    let content = Content::Event {
        title: one_line(&masks.mask(title)).into_owned(),
        text: printable(&masks.mask(&text))
            .replace(LINK, link.map_or("", |link| link.url.as_str())),
        body: body(facts, link, masks),
    };
    let backup = facts.run.id.parse().ok();
    OutboxItem {
        recipients: vec![Recipient {
            address: channel.host(),
            state: RecipientState::Waiting,
            reply: None,
        }],
        ..item(kind.as_str(), channel.kind.as_str(), backup, content)
    }
}

/// The same, with the moment of its run: a channel shows it after messages about later ones.
pub(super) fn late(mut item: OutboxItem, started: &str) -> OutboxItem {
    if let Content::Event { text, .. } = &mut item.content {
        text.insert_str(0, &format!("late: about the run of {started}\n"));
    }
    item
}

/// The lines of its text.
fn lines(kind: EventKind, facts: &Facts, link: Option<&LinkFacts>) -> Vec<String> {
    let mut lines = Vec::new();
    match kind {
        EventKind::Failure => {
            let failure = facts.failure.iter();
            lines.extend(failure.clone().flat_map(|failure| failure.causes.clone()));
            lines.extend(failure.flat_map(|failure| failure.log.clone()));
        }
        EventKind::Alert | EventKind::Recovered => {
            lines.extend([facts.alert.what.clone(), facts.alert.next.clone()]);
        }
        EventKind::Start | EventKind::Success => {
            lines.push(format!("{}: {}", facts.run.state, facts.proof.text));
            // Before what may be so long that it is cut.
            lines.extend(
                link.map(|link| format!("download the archive until {}: {LINK}", link.ends)),
            );
            lines.extend(facts.warnings.iter().map(|warning| format!("! {warning}")));
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// The documented JSON.
fn body(facts: &Facts, link: Option<&LinkFacts>, masks: &Masks) -> Value {
    let masked =
        |texts: &[String]| -> Vec<String> { texts.iter().map(|text| masks.mask(text)).collect() };
    let causes = facts.failure.as_ref().map(|failure| &failure.causes);
    json!({
        "job": facts.job,
        "state": facts.run.state,
        "backup": facts.run.id,
        "started": facts.run.started,
        "took": facts.run.took,
        "tables": facts.run.tables,
        "rows": facts.run.rows,
        "archive": facts.archive.as_ref().map(|archive| json!({
            "name": archive.name, "bytes": archive.bytes, "sealed": archive.sealed,
            "link": link.map(|link| json!({ "url": link.url, "expires_at": link.expires_at })),
        })),
        "proven": facts.proof.proven,
        "proof": masks.mask(&facts.proof.text),
        "warnings": masked(&facts.warnings),
        "causes": causes.map_or_else(Vec::new, |causes| masked(causes)),
        "last_proven": facts.last_proven,
        "alert": (!facts.alert.check.is_empty()).then(|| json!({
            "check": facts.alert.check, "what": masks.mask(&facts.alert.what), "next": facts.alert.next,
        })),
    })
}
