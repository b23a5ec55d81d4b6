//! A message as the catalog keeps it.

use hubvault_model::BackupId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One message on one channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutboxItem {
    /// Its id, the same at every try.
    pub id: String,
    /// The backup that it speaks of.
    pub backup: Option<BackupId>,
    /// The template or event: `success`, `failure`, `alert`.
    pub kind: String,
    /// `mail`, `webhook`, `slack`, `ntfy`, `ping`.
    pub channel: String,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// How far it got.
    pub state: OutboxState,
    /// How often it was tried.
    pub tries: u32,
    /// When it was last tried.
    pub tried_at: Option<Timestamp>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// Who is to have it; for a channel, its host.
    pub recipients: Vec<Recipient>,
    /// Whether a newer message about the same subject took its place before it was sent; it counts as failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superseded: bool,
    /// What is sent.
    pub content: Content,
}

/// How far a message got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutboxState {
    /// To be tried, or tried again.
    Waiting,
    /// A try is at work.
    Sending,
    /// Everybody has it who can have it.
    Sent,
    /// Refused for good.
    Failed,
}

impl OutboxState {
    /// The word in every report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }

    /// Whether it may still be sent.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Sending)
    }
}

/// One of those who are to have a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// An address, or the host of a channel.
    pub address: String,
    /// Whether it took it.
    pub state: RecipientState,
    /// What the server said about it.
    pub reply: Option<String>,
}

/// Whether somebody has a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecipientState {
    /// Not yet.
    Waiting,
    /// It was taken.
    Accepted,
    /// It was refused for good.
    Refused,
}

/// What is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Content {
    /// A mail; `letter` in records.
    #[serde(rename = "letter")]
    Email {
        /// The subject.
        subject: String,
        /// The plain part.
        text: String,
        /// The HTML part.
        html: String,
        /// The archive or a part of it.
        enclosure: Option<Enclosure>,
        /// The same without it, where the server takes no message of that size: text and HTML.
        without: Option<(String, String)>,
        /// Why it went without it.
        #[serde(default)]
        left_out: Option<String>,
        /// The Message-ID of the thread's first.
        thread: String,
    },
    /// A call of another channel.
    Event {
        /// One line.
        title: String,
        /// A few lines.
        text: String,
        /// The documented JSON.
        body: serde_json::Value,
    },
}

/// What is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosure {
    /// Its name in the mail.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// From where in it, in bytes.
    pub offset: u64,
    /// How much of it, in bytes.
    pub length: u64,
}

impl OutboxItem {
    /// Whether it may still be sent.
    pub fn is_open(&self) -> bool {
        self.state.is_open()
    }

    /// Whether somebody does not have it, and no newer one took its place.
    pub fn is_missed(&self) -> bool {
        let has = |recipient: &Recipient| recipient.state == RecipientState::Accepted;
        !self.superseded && !self.recipients.iter().all(has)
    }

    /// Marks it as superseded: it is never sent.
    pub(crate) fn supersede(&mut self) {
        self.superseded = true;
        self.state = OutboxState::Failed;
        self.error = Some("superseded by a newer message about the same subject".to_owned());
        for recipient in &mut self.recipients {
            if recipient.state == RecipientState::Waiting {
                recipient.state = RecipientState::Refused;
            }
        }
    }

    /// Why somebody does not have it, as far as that is known.
    pub fn why_not(&self) -> Option<&str> {
        let mut replies = self.recipients.iter();
        self.error
            .as_deref()
            .or_else(|| replies.find_map(|r| r.reply.as_deref()))
    }

    /// Whether it may be sent after its run is over: a ping may not, or it would speak of the newest.
    pub fn may_wait(&self) -> bool {
        self.channel != "ping"
    }

    /// Those who do not have it and may still get it.
    pub fn waiting(&self) -> impl Iterator<Item = &Recipient> {
        self.recipients
            .iter()
            .filter(|recipient| recipient.state == RecipientState::Waiting)
    }
}
