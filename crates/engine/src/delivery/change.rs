//! Messages about a change of the configuration over HTTP, made or refused.

use super::event::event;
use super::facts::{AlertFacts, ChangeFacts};
use super::notifier::Notifier;
use super::outcome::{DeliveryOutcome, summary};
use crate::catalog::{CHANGE_CHECK, CatalogError, OutboxItem};
use hubvault_notify::{ChannelKind, EventKind};

/// The template.
const CHANGED: &str = "changed";

impl Notifier<'_> {
    /// Queues the messages about a change for everybody who is notified of runs, mail and channels but pings. They
    /// are sent by [`Notifier::send_queued`], or by the next retry.
    pub fn queue_change(&self, change: ChangeFacts) -> Result<Vec<OutboxItem>, CatalogError> {
        let masks = &self.delivery().masks;
        let change = change.masked(masks);
        let alert = AlertFacts {
            check: CHANGE_CHECK.to_owned(),
            what: change.in_words(),
            next: format!(
                "if none of you made this change, revoke the token: hubvault token revoke {}; hubvault config show \
                 lists the settings in effect",
                change.who
            ),
            ..AlertFacts::default()
        };
        let mut facts = self
            .facts(CHANGED, &self.now())
            .of_alert(alert)
            .masked(masks);
        facts.change = change;
        let emails = self.emails(CHANGED, &facts, None);
        let channels = self.channels(EventKind::Alert);
        let events = channels
            .filter(|channel| channel.kind != ChannelKind::Ping)
            .map(|channel| OutboxItem {
                // It is about no run.
                backup: None,
                ..event(channel, EventKind::Alert, &facts, masks)
            });
        let items: Vec<OutboxItem> = emails.items.into_iter().chain(events).collect();
        if let Some(catalog) = self.catalog {
            for item in &items {
                catalog.put_outbox(item)?;
            }
        }
        Ok(items)
    }

    /// Sends what was queued just now.
    pub fn send_queued(&self, items: Vec<OutboxItem>) -> DeliveryOutcome {
        let items = self.sender().all(items, self.delivery().tries.max(1));
        DeliveryOutcome {
            record: summary(&items, String::new()),
            ..DeliveryOutcome::default()
        }
    }
}
