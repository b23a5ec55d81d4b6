//! Messages about what was changed over HTTP, to everybody who is notified of runs.

use super::audit::Caller;
use super::of_job::OfJob;
use anyhow::{Context, Result};
use hubvault_config::Settings;
use hubvault_engine::catalog::{Catalog, OutboxItem};
use hubvault_engine::delivery::{ChangeFacts, ChangedSetting, Notifier};
use hubvault_engine::job::Job;
use hubvault_engine::state::StateDir;
use hubvault_model::Cancel;
use jiff::tz::TimeZone;
use std::sync::Arc;

/// Messages that are queued.
pub(crate) struct Notice {
    items: Vec<OutboxItem>,
    job: Arc<Job>,
    zone: TimeZone,
    state: StateDir,
}

impl Notice {
    /// Records them.
    pub(crate) fn queue(app: &OfJob, settings: &Settings, facts: ChangeFacts) -> Result<Self> {
        let (job, zone, catalog) = (
            Arc::clone(settings.job()),
            settings.zone.clone(),
            app.catalog()?,
        );
        let cancel = Cancel::new();
        let items = Notifier::new(&job, Some(&catalog), &zone, &cancel).queue_change(facts)?;
        let state = app.state()?;
        Ok(Self {
            items,
            job,
            zone,
            state,
        })
    }

    /// Whether nobody is notified.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Sends them without anybody waiting for it; what cannot be sent now is retried with the outbox.
    pub(crate) fn send(self) {
        if self.is_empty() {
            return;
        }
        let send = move || {
            let catalog = Catalog::open(&self.state).context("opening the outbox")?;
            let cancel = Cancel::new();
            let notifier = Notifier::new(&self.job, Some(&catalog), &self.zone, &cancel);
            for warning in notifier.send_queued(self.items).warnings() {
                tracing::warn!("{warning}");
            }
            anyhow::Ok(())
        };
        let thread = std::thread::Builder::new().name("notice".to_owned());
        let started = thread.spawn(move || {
            if let Err(error) = send() {
                tracing::error!("notifying of a change of the configuration: {error:#}");
            }
        });
        if let Err(error) = started {
            tracing::error!("notifying of a change of the configuration: {error}");
        }
    }
}

/// Who changed what.
pub(crate) fn facts(settings: Vec<ChangedSetting>, caller: &Caller, refused: bool) -> ChangeFacts {
    let token = caller.token.as_ref();
    ChangeFacts {
        refused,
        who: token.map_or_else(String::new, |token| token.name.clone()),
        role: token.map_or_else(String::new, |token| token.role.as_str().to_owned()),
        address: caller.origin.to_string(),
        settings,
    }
}
