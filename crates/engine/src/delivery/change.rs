//! A change of the configuration over HTTP, made or refused, that the administrators are notified of.

use super::compose::{self, Composer};
use super::facts::AlertFacts;
use super::{Teller, Templates, Told, summary};
use crate::catalog::{BackupRecord, CatalogError, OutboxItem};
use hubvault_model::{BackupId, Masks};
use hubvault_notify::{ChannelKind, EventKind};
use jiff::Timestamp;
use serde::Serialize;

/// The template.
const CHANGED: &str = "changed";
/// What of a value is shown at most, in characters.
const SHOWN: usize = 200;

/// A change of the configuration over HTTP.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChangeFacts {
    /// Whether it was refused, as it would have weakened something.
    pub refused: bool,
    /// The token's name.
    pub who: String,
    /// The token's role.
    pub role: String,
    /// From where it came.
    pub address: String,
    /// Each setting.
    pub settings: Vec<ChangedSetting>,
}

/// A setting that was changed, or was to be.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChangedSetting {
    /// Its name.
    pub key: String,
    /// Its value before.
    pub from: String,
    /// The value that was asked for.
    pub to: String,
}

impl ChangeFacts {
    fn masked(mut self, masks: &Masks) -> Self {
        let clean = |text: &str| -> String {
            let shown = masks.mask(text);
            let plain = |c: char| if c.is_control() { ' ' } else { c };
            shown.chars().take(SHOWN).map(plain).collect()
        };
        for setting in &mut self.settings {
            setting.from = clean(&setting.from);
            setting.to = clean(&setting.to);
        }
        self
    }

    fn in_words(&self) -> String {
        let one = |it: &ChangedSetting| format!("{}: {} -> {}", it.key, it.from, it.to);
        let all: Vec<String> = self.settings.iter().map(one).collect();
        let (who, role, address) = (&self.who, &self.role, &self.address);
        let did = if self.refused {
            "tried to weaken the configuration over HTTP, which was refused"
        } else {
            "changed the configuration over HTTP"
        };
        format!("{who} ({role}) {did}, from {address}: {}", all.join("; "))
    }
}

impl Teller<'_> {
    /// Queues the messages about a change for everybody who is notified of runs, mail and channels but pings. They
    /// are sent by [`Teller::send_queued`], or by the next retry.
    pub fn queue_change(&self, change: ChangeFacts) -> Result<Vec<OutboxItem>, CatalogError> {
        let masks = &self.delivery().masks;
        let change = change.masked(masks);
        let alert = AlertFacts {
            check: "configuration".to_owned(),
            what: change.in_words(),
            next: format!(
                "where nobody of you did this: hubvault token revoke {}; hubvault config show says what holds",
                change.who
            ),
            ..AlertFacts::default()
        };
        let now = BackupRecord::begun(BackupId::random(), &self.job.name, Timestamp::now());
        let mut facts = self.facts(CHANGED, &now).of_alert(alert).masked(masks);
        facts.change = change;
        let letters = self.delivery().mail.as_ref().map(|mail| {
            let composer = Composer {
                mail,
                // Nothing is attached.
                size: None,
                templates: Templates::new(self.delivery().templates.as_deref()),
                masks,
            };
            composer.letters(CHANGED, &facts, None).items
        });
        let channels = self.takers(EventKind::Alert);
        let events = channels
            .filter(|channel| channel.kind != ChannelKind::Ping)
            .map(|channel| OutboxItem {
                // It speaks of no run.
                backup: None,
                ..compose::event(channel, EventKind::Alert, &facts, masks)
            });
        let items: Vec<OutboxItem> = letters.into_iter().flatten().chain(events).collect();
        if let Some(catalog) = self.catalog {
            for item in &items {
                catalog.put_outbox(item)?;
            }
        }
        Ok(items)
    }

    /// Sends what was queued just now.
    pub fn send_queued(&self, items: Vec<OutboxItem>) -> Told {
        let items = self.post().all(items, self.delivery().tries.max(1));
        Told {
            record: summary(&items, String::new()),
            ..Told::default()
        }
    }
}
