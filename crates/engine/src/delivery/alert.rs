//! What the checks found, told to those who must know.

use super::facts::{AlertFacts, Facts};
use super::{Composed, Teller, Told, compose};
use crate::catalog::BackupRecord;
use hubvault_model::BackupId;
use hubvault_notify::{ChannelKind, EventKind};
use jiff::Timestamp;

impl Teller<'_> {
    /// Tells of checks that changed their state ([`EventKind::Alert`] or [`EventKind::Recovered`]), by
    /// mail and every channel but the pings of runs, which have no word for a recovery. `record` is the
    /// job's newest run. All messages share one connection and its tries.
    pub fn alerts(
        &self,
        notices: &[(EventKind, AlertFacts)],
        record: Option<&BackupRecord>,
    ) -> Told {
        let mut all = Composed::default();
        for (kind, alert) in notices {
            let facts = self.facts_of_alert(*kind, alert.clone(), record);
            let letters = self.letters(kind.as_str(), &facts, None);
            all.warnings.extend(letters.warnings);
            all.items.extend(letters.items);
            let channels = self.takers(*kind);
            for channel in channels.filter(|channel| channel.kind != ChannelKind::Ping) {
                let mut item = compose::event(channel, *kind, &facts, &self.delivery().masks);
                // It speaks of no run: whether somebody has it says nothing about one.
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
        // As of now, so that the newest proven backup is the last one; what ran last is the record's.
        let now = BackupRecord::begun(BackupId::random(), &self.job.name, Timestamp::now());
        let mut facts = self.facts(kind.as_str(), &now);
        if let Some(record) = record {
            facts.run = self.facts(kind.as_str(), record).run;
        }
        facts.of_alert(alert).masked(&self.delivery().masks)
    }
}
