//! Alerts and recoveries of checks.

use super::event::event;
use super::facts::{AlertFacts, Facts};
use super::message::Composed;
use super::notifier::Notifier;
use super::outcome::DeliveryOutcome;
use crate::catalog::BackupRecord;
use hubvault_notify::{ChannelKind, EventKind};

impl Notifier<'_> {
    /// Notifies of checks that changed their state ([`EventKind::Alert`] or [`EventKind::Recovered`]), by mail and every
    /// channel but the pings of runs, which have no word for a recovery. `record` is the job's newest run. All messages
    /// share one connection and its tries.
    pub fn alerts(
        &self,
        notices: &[(EventKind, AlertFacts)],
        record: Option<&BackupRecord>,
    ) -> DeliveryOutcome {
        let mut all = Composed::default();
        for (kind, alert) in notices {
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
        }
        self.dispatch(all)
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
