//! Alerts and recoveries of checks.

use super::event::event;
use super::facts::{AlertFacts, Facts};
use super::message::Composed;
use super::notifier::Notifier;
use super::outcome::{DeliveryOutcome, summary};
use crate::catalog::{BackupRecord, OutboxItem, RecipientState};
use hubvault_notify::{ChannelKind, EventKind};

/// The outcome of messages about checks.
#[derive(Debug, Default)]
pub struct AlertsOutcome {
    /// Of all of them.
    pub delivery: DeliveryOutcome,
    /// Whose messages every recipient refused for good: nobody has them, and none is queued.
    pub unreached: Vec<String>,
}

impl Notifier<'_> {
    /// Notifies of checks that changed their state ([`EventKind::Alert`] or [`EventKind::Recovered`]), by mail and every
    /// channel but the pings of runs, which have no word for a recovery. `record` is the job's newest run. All messages
    /// share one connection and its tries.
    pub fn alerts(
        &self,
        notices: &[(EventKind, AlertFacts)],
        record: Option<&BackupRecord>,
    ) -> AlertsOutcome {
        let mut all = Composed::default();
        let mut counts = Vec::new();
        for (kind, alert) in notices {
            let before = all.items.len();
            let facts = self.facts_of_alert(*kind, alert.clone(), record);
            let emails = self.emails(kind.as_str(), &facts, None);
            all.warnings.extend(emails.warnings);
            all.items.extend(emails.items);
            let channels = self.channels(*kind);
            for channel in channels.filter(|channel| channel.kind != ChannelKind::Ping) {
                let mut item = event(channel, *kind, &facts, &self.delivery().masks);
                // It is about no run: its delivery is not that of one.
                item.backup = None;
                all.items.push(item);
            }
            counts.push((&alert.check, all.items.len() - before));
        }
        let mut warnings = all.warnings;
        let items = self.dispatch_items(all.items, &mut warnings);
        let mut rest = items.as_slice();
        let mut unreached = Vec::new();
        for (check, count) in counts {
            let (own, others) = rest.split_at(count.min(rest.len()));
            rest = others;
            if !own.is_empty() && own.iter().all(is_unreached) {
                unreached.push(check.clone());
            }
        }
        AlertsOutcome {
            delivery: DeliveryOutcome {
                record: summary(&items, String::new()),
                warnings,
            },
            unreached,
        }
    }

    fn facts_of_alert(
        &self,
        kind: EventKind,
        alert: AlertFacts,
        record: Option<&BackupRecord>,
    ) -> Facts {
        // As of now, so that the newest proven backup is the last one; the run is the record's.
        let mut facts = self.facts(kind.as_str(), &self.now());
        if let Some(record) = record {
            facts.run = self.facts(kind.as_str(), record).run;
        }
        facts.of_alert(alert).masked(&self.delivery().masks)
    }
}

/// Whether nobody has it, and nobody will.
fn is_unreached(item: &OutboxItem) -> bool {
    let mut recipients = item.recipients.iter();
    let has = recipients.any(|recipient| recipient.state == RecipientState::Accepted);
    !item.is_open() && !item.superseded && !has
}
