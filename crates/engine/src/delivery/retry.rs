//! Queued messages, tried again.

use super::notifier::Notifier;
use super::outcome::summary;
use crate::catalog::{Catalog, CatalogError, OutboxItem};
use hubvault_model::BackupId;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// How long a message stays queued, in hours.
const QUEUED_HOURS: i64 = 24;

impl Notifier<'_> {
    /// Tries every queued message once more, gives up those that have been queued for a day, and returns all of them.
    /// The records of the runs that they are about are updated.
    pub fn retry(&self) -> Result<Vec<OutboxItem>, CatalogError> {
        let Some(catalog) = self.catalog else {
            return Ok(Vec::new());
        };
        let mut tried = self.sender().all(catalog.open_messages()?, 1);
        let day_ago = Timestamp::now() - SignedDuration::from_hours(QUEUED_HOURS);
        for item in tried.iter_mut().filter(|item| item.is_open()) {
            if item.created_at < day_ago {
                self.sender().give_up(item);
            }
        }
        let mut about: BTreeSet<_> = tried.iter().filter_map(|item| item.backup).collect();
        // A process that sent a message may have crashed before it updated the record of its run.
        catalog.each_summary(None, |summary| {
            about.extend(summary.run.has_queued().then_some(summary.run.id));
            Ok(ControlFlow::Continue(()))
        })?;
        for id in about {
            update_record(catalog, id)?;
        }
        Ok(tried)
    }
}

/// Records who has been notified of a run by now.
fn update_record(catalog: &Catalog, id: BackupId) -> Result<(), CatalogError> {
    let Some(record) = catalog.find(&id.to_string())? else {
        return Ok(());
    };
    let mut items = catalog.messages()?;
    items.retain(|item| item.backup == Some(id) && item.kind != "alert");
    let before = record.delivery.unwrap_or_default();
    let delivery = summary(&items, before.attachment);
    catalog.record_delivery(id, &delivery, Vec::new())
}
