//! The kinds of channels, a line in the table each.

use crate::payload::{self, Event, EventKind, Payload};
use crate::{chat, pagerduty};
use jiff::Timestamp;

/// The kinds of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// hubvault's own JSON (`docs/webhooks.md`).
    Webhook,
    /// Slack's incoming webhooks, and what is compatible with them.
    Slack,
    /// A topic of an ntfy server.
    Ntfy,
    /// A chat of Telegram, through a bot.
    Telegram,
    /// A channel of Discord.
    Discord,
    /// A channel or chat of Microsoft Teams, through a workflow.
    Teams,
    /// A service of `PagerDuty`.
    PagerDuty,
    /// A command of the user's: the caller runs it.
    Command,
    /// A check of Healthchecks, or what is compatible with it.
    Ping,
}

/// The properties of a kind of channel.
pub(crate) struct Definition {
    /// Its name in settings.
    pub(crate) name: &'static str,
    /// The events that are sent to it.
    pub(crate) events: &'static [EventKind],
    /// Whether it shows the state that its last message reported, so that a late message would report a wrong one.
    pub(crate) is_state: bool,
    /// Makes the request for one of them; the channel's secret may be part of it.
    pub(crate) payload: fn(&Event, Option<&str>) -> Payload,
}

impl ChannelKind {
    /// The table of all kinds.
    pub(crate) fn definition(self) -> Definition {
        use EventKind::{Alert, Failure, Recovered, Start, Success};
        let results = &[Success, Failure, Alert, Recovered];
        let of_results = |name, payload| Definition {
            name,
            events: results,
            is_state: false,
            payload,
        };
        match self {
            Self::Webhook => of_results("webhook", |event, secret| {
                payload::webhook(event, secret, Timestamp::now())
            }),
            Self::Slack => of_results("slack", |event, _| payload::slack(event)),
            Self::Ntfy => of_results("ntfy", payload::ntfy),
            Self::Telegram => of_results("telegram", chat::telegram),
            Self::Discord => of_results("discord", |event, _| chat::discord(event)),
            Self::Teams => of_results("teams", |event, _| chat::teams(event)),
            Self::PagerDuty => Definition {
                is_state: true,
                ..of_results("pagerduty", pagerduty::event)
            },
            Self::Command => of_results("command", |event, _| {
                payload::webhook(event, None, Timestamp::now())
            }),
            Self::Ping => Definition {
                name: "ping",
                events: &[Start, Success, Failure, Alert],
                is_state: true,
                payload: |event, _| payload::ping(event),
            },
        }
    }

    /// Its name in settings.
    pub fn as_str(self) -> &'static str {
        self.definition().name
    }

    /// Whether it shows the state that its last message reported: of a subject, only the newest message is sent.
    pub fn is_state(self) -> bool {
        self.definition().is_state
    }
}

/// What a command gets on standard input: the JSON of a webhook.
pub fn command_input(event: &Event) -> Vec<u8> {
    (ChannelKind::Command.definition().payload)(event, None).body
}
