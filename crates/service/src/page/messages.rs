//! Messages as lists show them. Their texts are not shown: they may hold links to archives.

use super::shown::{Clock, When};
use super::wish::Wish;
use crate::logging::masked;
use hubvault_engine::catalog::{CHANGE_CHECK, Content, OutboxItem, OutboxState, RecipientState};
use hubvault_model::excerpt;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// So much of a line is shown, in characters.
const LONGEST: usize = 400;
/// So many alerts are shown.
const ALERTS: usize = 50;
/// What is sent about one event is recorded within this.
const TOGETHER: SignedDuration = SignedDuration::from_secs(5);

/// A message, for a template.
#[derive(Debug, Serialize)]
pub(super) struct MessageRow {
    pub(super) when: When,
    title: String,
    kind: String,
    channel: String,
    mark: &'static str,
    pub(super) state: &'static str,
    tries: u32,
    pub(super) to: Vec<To>,
    reason: Option<String>,
}

/// One who is to have it.
#[derive(Debug, Serialize)]
pub(super) struct To {
    pub(super) address: String,
    state: &'static str,
    reply: Option<String>,
}

/// An alert or a recovery that was sent.
#[derive(Debug, Serialize)]
pub(super) struct History {
    when: When,
    fired: bool,
    what: String,
    to: Vec<String>,
    #[serde(skip)]
    at: Timestamp,
}

/// The word for how far a message got.
pub(super) fn state(item: &OutboxItem) -> &'static str {
    match item.state {
        OutboxState::Waiting => "queued",
        OutboxState::Sending => "sending",
        OutboxState::Failed if item.superseded => "superseded",
        OutboxState::Failed => "refused",
        OutboxState::Sent => "sent",
    }
}

impl MessageRow {
    pub(super) fn of(item: &OutboxItem, clock: &Clock) -> Self {
        let shown = |text: &str| excerpt(&masked(text), LONGEST);
        let title = match &item.content {
            Content::Email { subject, .. } => subject,
            Content::Event { title, .. } => title,
        };
        let to = item.recipients.iter().map(|recipient| To {
            address: shown(&recipient.address),
            state: match recipient.state {
                RecipientState::Accepted => "accepted",
                RecipientState::Waiting => "queued",
                RecipientState::Refused if item.superseded => "superseded",
                RecipientState::Refused => "refused",
            },
            reply: recipient.reply.as_deref().map(shown),
        });
        Self {
            when: clock.when(item.created_at),
            title: shown(title.trim_start_matches("[hubvault] ")),
            kind: item.kind.clone(),
            channel: item.channel.clone(),
            mark: match item.state {
                OutboxState::Waiting | OutboxState::Sending => "unproven",
                OutboxState::Sent if !item.is_missed() => "proven",
                OutboxState::Failed if item.superseded => "stopped",
                OutboxState::Sent | OutboxState::Failed => "failed",
            },
            state: state(item),
            tries: item.tries,
            to: to.collect(),
            reason: item.error.as_deref().map(shown),
        }
    }
}

/// The alerts and recoveries among the messages that the address looks for, in its order, else newest first; what went to
/// several recipients is one.
pub(super) fn history(outbox: &[OutboxItem], clock: &Clock, wish: &Wish) -> Vec<History> {
    let mut all: Vec<(&OutboxItem, History)> = Vec::new();
    for item in outbox {
        let fired = item.kind == "alert";
        if !fired && item.kind != "recovered" {
            continue;
        }
        let Some(what) = subject(item).filter(|what| wish.finds(what)) else {
            continue;
        };
        let accepted = item.recipients.iter().map(|recipient| {
            let accepted = recipient.state == RecipientState::Accepted;
            let how = if accepted { "" } else { " (not accepted)" };
            format!("{}{how}", masked(&recipient.address))
        });
        let same = all.last_mut().filter(|(newer, known)| {
            let apart = newer.created_at.duration_since(item.created_at).abs();
            known.fired == fired && known.what == what && apart < TOGETHER
        });
        if let Some((_, known)) = same {
            known.to.extend(accepted);
            continue;
        }
        if all.len() == ALERTS {
            break;
        }
        let new = History {
            when: clock.when(item.created_at),
            fired,
            what,
            to: accepted.collect(),
            at: item.created_at,
        };
        all.push((item, new));
    }
    let mut all: Vec<History> = all.into_iter().map(|(_, one)| one).collect();
    wish.sort("when", &mut all, |one| one.at);
    wish.sort("what", &mut all, |one| one.what.clone());
    all
}

/// Which check it is about, and what it found; `None` for a change of the configuration.
fn subject(item: &OutboxItem) -> Option<String> {
    let text = match &item.content {
        // Its first line.
        Content::Email { text, .. } => text.lines().find(|line| !line.is_empty())?.to_owned(),
        Content::Event { body, .. } => {
            let of = |key: &str| body["alert"][key].as_str().unwrap_or_default();
            let (check, what) = (of("check"), of("what"));
            if check == CHANGE_CHECK {
                return None;
            }
            match item.kind.as_str() {
                "recovered" => format!("{check} has recovered: {what}."),
                _ => format!("{check}: {what}"),
            }
        }
    };
    Some(excerpt(&masked(&text), LONGEST))
}
