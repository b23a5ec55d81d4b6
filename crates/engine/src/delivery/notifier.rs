//! Notifies the recipients of a job.

use super::compose::Composer;
use super::event::{event, late};
use super::facts::{AlertFacts, Facts};
use super::known::Known;
use super::message::Composed;
use super::outcome::{DeliveryOutcome, channel_name, summary, what_to_do};
use super::sample;
use super::send::Sender;
use super::template::{About, Rendered, Templates};
use crate::catalog::{
    AlertState, BackupRecord, Catalog, CatalogError, CheckState, OutboxItem, State,
};
use crate::job::{Delivery, Job, MailOptions};
use crate::overview::{looked_for, mail_risk};
use hubvault_model::{BackupId, Cancel, Warning};
use hubvault_notify::{Channel, ChannelKind, Event, EventKind, Mailer};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::cell::Cell;

/// A run whose notification comes after the start of a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlierRun {
    /// A later run is notified, too.
    Followed,
    /// No later run is notified.
    Newest,
}

/// Notifies the recipients of a job, by mail and every other channel.
pub struct Notifier<'a> {
    pub(super) job: &'a Job,
    /// Without it, what cannot be sent at once is lost; that is better than not trying.
    pub(super) catalog: Option<&'a Catalog>,
    pub(super) zone: &'a TimeZone,
    pub(super) cancel: &'a Cancel,
    earlier: Option<EarlierRun>,
    next_run: Option<Timestamp>,
    risks: Option<Vec<String>>,
    queues: bool,
}

impl std::fmt::Debug for Notifier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier")
            .field("job", &self.job.name)
            .finish_non_exhaustive()
    }
}

impl<'a> Notifier<'a> {
    /// A notifier of `job`; `zone` is that of the moments in its messages.
    pub fn new(
        job: &'a Job,
        catalog: Option<&'a Catalog>,
        zone: &'a TimeZone,
        cancel: &'a Cancel,
    ) -> Self {
        Self {
            job,
            catalog,
            zone,
            cancel,
            earlier: None,
            next_run: None,
            risks: None,
            queues: true,
        }
    }

    /// With what is at risk, for the digest.
    #[must_use]
    pub fn with_risks(mut self, risks: Vec<String>) -> Self {
        self.risks = Some(risks);
        self
    }

    /// For a test: whoever made it reads the result, and what fails is not tried again later.
    #[must_use]
    pub fn without_queue(mut self) -> Self {
        self.queues = false;
        self
    }

    /// With the moment at which the next run is due.
    #[must_use]
    pub fn with_next_run(mut self, next: Option<Timestamp>) -> Self {
        self.next_run = next;
        self
    }

    /// For a run that is not the newest. A dead-man's switch would take its end for that of the newest, and an incident
    /// shows the state of the newest run that is notified.
    #[must_use]
    pub fn of_earlier_run(mut self, earlier: EarlierRun) -> Self {
        self.earlier = Some(earlier);
        self
    }

    /// Notifies pings of the start of a run. If that fails, the end of the run is sent all the same.
    pub fn started(&self, record: &BackupRecord) {
        let event = Event {
            id: record.id.to_string(),
            kind: EventKind::Start,
            title: format!("backup of {} started", self.job.name),
            text: String::new(),
            body: serde_json::Value::Null,
        };
        for channel in self.channels(EventKind::Start) {
            if let Err(error) = channel.post(&event) {
                tracing::warn!("{}", self.delivery().masks.mask(&error.to_string()));
            }
        }
    }

    /// Notifies of the end of a run: an archive, or a failure (`causes`, outermost first; `log`, its last lines).
    pub fn ended(
        &self,
        record: &BackupRecord,
        causes: &[String],
        log: &[String],
    ) -> DeliveryOutcome {
        let kind = match record.state {
            State::Failed => EventKind::Failure,
            _ => EventKind::Success,
        };
        let (facts, trouble) = self.linked_facts(kind.as_str(), record);
        let facts = facts.failed_by(causes, log);
        let facts = facts.masked(&self.delivery().masks);
        let mut composed = self.emails(kind.as_str(), &facts, Some(record));
        composed.warnings.extend(trouble);
        composed.items.extend(self.events(kind, &facts));
        let outcome = self.dispatch(composed);
        self.alert_undelivered(&outcome, record);
        outcome
    }

    /// Mails a template of any type to the administrators: a digest, or a user's own.
    pub fn send(&self, template: &str, record: Option<&BackupRecord>) -> DeliveryOutcome {
        let now = self.now();
        let record = record.unwrap_or(&now);
        self.mail(template, record, None)
    }

    /// Mails a template about `record`, with the archive of `attached`.
    pub(super) fn mail(
        &self,
        template: &str,
        record: &BackupRecord,
        attached: Option<&BackupRecord>,
    ) -> DeliveryOutcome {
        let (facts, trouble) = self.linked_facts(template, record);
        let facts = facts.masked(&self.delivery().masks);
        let mut composed = self.emails(template, &facts, attached);
        composed.warnings.extend(trouble);
        self.dispatch(composed)
    }

    /// Renders a template for a record, and sends nothing.
    pub fn preview(&self, template: &str, record: &BackupRecord) -> Rendered {
        let (mut facts, trouble) = self.linked_facts(template, record);
        if let Some(trouble) = trouble {
            tracing::warn!("{trouble}");
        }
        if About::of(template) == About::Alert {
            facts = facts.of_alert(sample::alert());
        }
        facts.change = sample::change();
        let facts = facts.masked(&self.delivery().masks);
        Templates::new(self.job.delivery.templates.as_deref()).render(template, &facts)
    }

    pub(super) fn delivery(&self) -> &Delivery {
        &self.job.delivery
    }

    fn queue(&self) -> Option<&Catalog> {
        self.catalog.filter(|_| self.queues)
    }

    pub(super) fn sender(&self) -> Sender<'_> {
        Sender {
            delivery: self.delivery(),
            catalog: self.queue(),
            cancel: self.cancel,
        }
    }

    /// A record for messages that are about no run: as of now, everything else is earlier.
    pub(super) fn now(&self) -> BackupRecord {
        BackupRecord::begun(BackupId::random(), &self.job.name, Timestamp::now())
    }

    /// The channels that are notified of events of this kind.
    pub(super) fn channels(&self, kind: EventKind) -> impl Iterator<Item = &Channel> {
        let channels = self.delivery().channels.iter();
        let wanted =
            move |channel: &&Channel| self.earlier.is_none() || channel.kind != ChannelKind::Ping;
        channels
            .filter(move |channel| channel.takes(kind))
            .filter(wanted)
    }

    /// What a template may say. If the catalog cannot be read, it says nothing about earlier runs.
    pub(super) fn facts(&self, kind: &str, record: &BackupRecord) -> Facts {
        let read = |catalog: &Catalog| {
            let runs = catalog.runs(&record.job)?;
            Ok::<_, CatalogError>((runs, catalog.messages()?))
        };
        let is_unread = Cell::new(self.catalog.is_none());
        let warn = |error: CatalogError| {
            is_unread.set(true);
            tracing::warn!("could not read the run history: {error}");
        };
        let read = self.catalog.and_then(|it| read(it).map_err(warn).ok());
        let (history, outbox) = read.unwrap_or_default();
        let whole = |run: &BackupRecord| {
            let read = self.catalog.and_then(|it| it.whole(run).map_err(warn).ok());
            read.unwrap_or_else(|| run.clone())
        };
        let known = Known {
            source: &self.job.database.to_string(),
            history: &history,
            whole: &whole,
            outbox: &outbox,
            look: looked_for,
            max_age_hours: self.job.monitor.max_age_hours,
            mails_unsealed: mail_risk(self.job).is_some(),
            risks: self.risks.as_deref(),
            now: Timestamp::now(),
            zone: self.zone,
        };
        let mut facts = Facts::new(kind, record, &known);
        if is_unread.get() {
            let history = &[];
            facts = Facts::new(kind, record, &Known { history, ..known });
        }
        facts.history_known = !is_unread.get();
        facts.before(self.next_run, self.zone)
    }

    /// Mails of one type; with the archive of `attached`.
    pub(super) fn emails(
        &self,
        template: &str,
        facts: &Facts,
        attached: Option<&BackupRecord>,
    ) -> Composed {
        let Some(mail) = &self.delivery().mail else {
            return Composed::default();
        };
        let composer = Composer {
            mail,
            size: attached.and_then(|_| server_size(mail)),
            templates: Templates::new(self.delivery().templates.as_deref()),
            masks: &self.delivery().masks,
        };
        composer.emails(template, facts, attached)
    }

    fn events(&self, kind: EventKind, facts: &Facts) -> Vec<OutboxItem> {
        let masks = &self.delivery().masks;
        let is_followed = self.earlier == Some(EarlierRun::Followed);
        self.channels(kind)
            .filter(|channel| !(is_followed && channel.kind.is_state()))
            .map(|channel| event(channel, kind, facts, masks))
            .map(|item| match self.earlier {
                Some(_) => late(item, &facts.run.started),
                None => item,
            })
            .collect()
    }

    /// Records first, then tries.
    pub(super) fn dispatch(&self, composed: Composed) -> DeliveryOutcome {
        let mut warnings = composed.warnings;
        let items = self.dispatch_items(composed.items, &mut warnings);
        DeliveryOutcome {
            record: summary(&items, composed.attachment),
            warnings,
        }
    }

    /// The same; the messages with their outcomes, in the same order.
    pub(super) fn dispatch_items(
        &self,
        items: Vec<OutboxItem>,
        warnings: &mut Vec<Warning>,
    ) -> Vec<OutboxItem> {
        if let Some(catalog) = self.queue() {
            for item in &items {
                if let Err(error) = catalog.put_outbox(item) {
                    let what = format!(
                        "could not record a message in the outbox; it will not be sent later: {error}"
                    );
                    warnings.push(Warning::new("outbox", &item.channel, what));
                }
            }
        }
        let tries = self.delivery().tries.max(1);
        let mut items = self.sender().all(items, tries);
        let left = items.iter_mut().filter(|item| item.is_open());
        left.filter(|_| !self.queues)
            .for_each(|item| self.sender().give_up(item));
        items
    }

    /// Alerts every other channel if somebody could not be notified of a run.
    fn alert_undelivered(&self, outcome: &DeliveryOutcome, record: &BackupRecord) {
        let undelivered = &outcome.record.undelivered;
        let Some(first) = undelivered.first() else {
            return;
        };
        let names: Vec<&str> = undelivered.iter().map(|one| one.to.as_str()).collect();
        let alert = AlertFacts {
            check: "delivery".to_owned(),
            what: format!("not notified: {}; {}", names.join(", "), first.reason),
            next: what_to_do(undelivered.iter().any(|one| one.queued)).to_owned(),
            ..AlertFacts::default()
        };
        let facts = self.facts("alert", record).of_alert(alert);
        let masks = &self.delivery().masks;
        let facts = facts.masked(masks);
        let failed = |channel: &Channel| names.contains(&channel_name(channel).as_str());
        let items = self
            .channels(EventKind::Alert)
            .filter(|channel| !failed(channel))
            .map(|channel| event(channel, EventKind::Alert, &facts, masks))
            .collect();
        let alerted = self.dispatch(Composed {
            items,
            ..Composed::default()
        });
        if !alerted.record.notified.is_empty() {
            self.remember_alert("delivery", &facts.alert.what);
        }
        for warning in alerted.warnings() {
            tracing::warn!("{warning}");
        }
    }
}

impl Notifier<'_> {
    /// The next check does not alert once more of what was told with a run.
    fn remember_alert(&self, check: &str, what: &str) {
        let Some(catalog) = self.catalog else {
            return;
        };
        let now = Timestamp::now();
        let alert = AlertState {
            job: self.job.name.clone(),
            check: check.to_owned(),
            state: CheckState::Failing,
            since: now,
            told_at: Some(now),
            by_run: false,
            unreached_at: None,
            silenced_until: None,
            what: what.to_owned(),
            looked_at: now,
        };
        if let Err(error) = catalog.put_alert(&alert) {
            tracing::warn!("{error}");
        }
    }
}

/// The largest message that the mail server accepts, where an archive may have to be cut for it. A server that cannot
/// be asked now is asked again when the mail is sent.
fn server_size(mail: &MailOptions) -> Option<u64> {
    let mailer = mail.split.then(|| Mailer::connect(&mail.smtp).ok())??;
    let size = mailer.max_size();
    mailer.quit();
    size
}
