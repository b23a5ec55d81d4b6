//! A message as the outbox keeps it.

use crate::catalog::{Content, OutboxItem, OutboxState};
use hubvault_model::{BackupId, Warning};
use jiff::Timestamp;
use uuid::Uuid;

/// Replaces a link while secrets are masked, as one of them may be a word of the link. No secret and no template has
/// these characters (Unicode, private use).
pub(super) const LINK: &str = "\u{e000}\u{e001}\u{e002}";

/// Messages that only need to be sent.
#[derive(Debug, Default)]
pub(super) struct Composed {
    pub(super) items: Vec<OutboxItem>,
    pub(super) warnings: Vec<Warning>,
    /// Whether the archive is attached, in words.
    pub(super) attachment: String,
}

/// A message to nobody yet.
pub(super) fn item(
    kind: &str,
    channel: &str,
    backup: Option<BackupId>,
    content: Content,
) -> OutboxItem {
    OutboxItem {
        id: Uuid::new_v4().to_string(),
        backup,
        kind: kind.to_owned(),
        channel: channel.to_owned(),
        created_at: Timestamp::now(),
        state: OutboxState::Waiting,
        tries: 0,
        tried_at: None,
        error: None,
        recipients: Vec::new(),
        superseded: false,
        content,
    }
}
