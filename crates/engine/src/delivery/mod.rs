//! What came of a run, told to those who must know: composed from templates, recorded in the
//! outbox, sent by mail and other channels.
//!
//! Delivery never undoes a backup. What could not be told is in the record, and in the exit code.

mod alert;
mod change;
mod phrases;
mod previous_run;
mod digest;
mod known;
mod gather;
mod facts;
mod link;
pub mod sample;
mod template;
mod compose;
mod email;
mod send;
mod resend;

pub use change::{ChangeFacts, ChangedSetting};
pub use facts::{AlertFacts, Facts, LinkFacts};
pub use known::Known;
pub use template::{About, MAIL_TYPES, Rendered, TemplateProblem, Templates};

use crate::catalog::{
    BackupRecord, Catalog, CatalogError, Content, DeliveryRecord, OutboxItem, RecipientState,
    State, Untold,
};
use crate::job::{Delivery, Job, MailOptions};
use crate::overview::{mail_risk, presence};
use compose::Composer;
use hubvault_model::{BackupId, Cancel, Warning};
use hubvault_notify::{Channel, ChannelKind, Event, EventKind, Mailer};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use send::Post;
use std::collections::BTreeSet;

/// How long a message waits for somebody to take it, in hours.
const WAITS_HOURS: i64 = 24;

/// Tells people about a job's runs.
pub struct Teller<'a> {
    job: &'a Job,
    /// Without it, what cannot be sent at once is lost; that is better than not trying.
    catalog: Option<&'a Catalog>,
    zone: &'a TimeZone,
    cancel: &'a Cancel,
    pings: bool,
    next_run: Option<Timestamp>,
}

impl std::fmt::Debug for Teller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Teller")
            .field("job", &self.job.name)
            .finish_non_exhaustive()
    }
}

impl<'a> Teller<'a> {
    /// Somebody who tells about `job`; `zone` is that of the moments in what is told.
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
            pings: true,
            next_run: None,
        }
    }

    /// Knowing when the next run is due.
    #[must_use]
    pub fn with_next_run(mut self, next: Option<Timestamp>) -> Self {
        self.next_run = next;
        self
    }

    /// For a run that is not the newest: a dead-man's switch would take its end for that of the newest.
    #[must_use]
    pub fn without_pings(mut self) -> Self {
        self.pings = false;
        self
    }

    /// Tells pings that a run begins. Whoever does not hear it hears the end.
    pub fn begins(&self, record: &BackupRecord) {
        let event = Event {
            id: record.id.to_string(),
            kind: EventKind::Start,
            title: format!("backup of {} begins", self.job.name),
            text: String::new(),
            body: serde_json::Value::Null,
        };
        for channel in self.takers(EventKind::Start) {
            if let Err(error) = channel.post(&event) {
                tracing::warn!("{}", self.masked(&error.to_string()));
            }
        }
    }

    /// Tells that a run ended with an archive, or failed (`causes`, outermost first; `log`, its last
    /// lines).
    pub fn ended(&self, record: &BackupRecord, causes: &[String], log: &[String]) -> Told {
        let kind = match record.state {
            State::Failed => EventKind::Failure,
            _ => EventKind::Success,
        };
        let (facts, trouble) = self.linked_facts(kind.as_str(), record);
        let facts = facts.failed_by(causes, log);
        let facts = facts.masked(&self.delivery().masks);
        let mut told = self.tell(kind, kind.as_str(), &facts, Some(record));
        told.warnings.extend(trouble);
        self.shout_undelivered(&told, record);
        told
    }

    /// Sends a template of any kind to the administrators: a digest, or a user's own.
    pub fn send(&self, template: &str, record: Option<&BackupRecord>) -> Told {
        let empty;
        let record = if let Some(record) = record {
            record
        } else {
            empty = BackupRecord::begun(BackupId::random(), &self.job.name, Timestamp::now());
            &empty
        };
        let (facts, trouble) = self.linked_facts(template, record);
        let facts = facts.masked(&self.delivery().masks);
        let mut letters = self.letters(template, &facts, None);
        letters.warnings.extend(trouble);
        self.dispatch(letters)
    }

    /// What a template renders to for a record, and sends nothing.
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

    /// Tries everything that waits in the outbox once more, and gives up what has waited for a day; what
    /// came of each. The records of the runs that they speak of say so, too.
    pub fn retry(&self) -> Result<Vec<OutboxItem>, CatalogError> {
        let Some(catalog) = self.catalog else {
            return Ok(Vec::new());
        };
        let mut waiting = catalog.outbox()?;
        waiting.retain(OutboxItem::is_open);
        waiting.reverse();
        let mut tried = self.post().all(waiting, 1);
        let day_ago = Timestamp::now() - SignedDuration::from_hours(WAITS_HOURS);
        for item in tried.iter_mut().filter(|item| item.is_open()) {
            if item.created_at < day_ago {
                self.post().give_up(item);
            }
        }
        let mut about: BTreeSet<_> = tried.iter().filter_map(|item| item.backup).collect();
        // Whoever sent a message may have died before its run's record said so.
        about.extend(catalog.list()?.iter().filter(|r| r.waits()).map(|r| r.id));
        for id in about {
            update_record(catalog, id)?;
        }
        Ok(tried)
    }

    fn delivery(&self) -> &Delivery {
        &self.job.delivery
    }

    fn masked(&self, text: &str) -> String {
        self.delivery().masks.mask(text)
    }

    fn post(&self) -> Post<'_> {
        Post {
            delivery: self.delivery(),
            catalog: self.catalog,
            cancel: self.cancel,
        }
    }

    fn takers(&self, kind: EventKind) -> impl Iterator<Item = &Channel> {
        let channels = self.delivery().channels.iter();
        let wanted = move |channel: &&Channel| self.pings || channel.kind != ChannelKind::Ping;
        channels
            .filter(move |channel| channel.takes(kind))
            .filter(wanted)
    }

    /// What a template may say. Where the catalog cannot be read, what ran before is not known, and
    /// nothing is said about it.
    fn facts(&self, kind: &str, record: &BackupRecord) -> Facts {
        let look = |catalog: &Catalog| Ok::<_, CatalogError>((catalog.list()?, catalog.outbox()?));
        let known = self.catalog.and_then(|catalog| {
            look(catalog)
                .inspect_err(|error| tracing::warn!("what ran before is not known: {error}"))
                .ok()
        });
        let now = Timestamp::now();
        let is_known = known.is_some();
        let (history, outbox) = known.unwrap_or_default();
        let known = Known {
            source: &self.job.database.to_string(),
            history: &history,
            outbox: &outbox,
            presence,
            max_age_hours: self.job.monitor.max_age_hours,
            mails_unsealed: mail_risk(self.job).is_some(),
            now,
            zone: self.zone,
        };
        let mut facts = Facts::new(kind, record, &known);
        facts.history_known = is_known;
        facts.before(self.next_run, self.zone)
    }

    fn tell(
        &self,
        kind: EventKind,
        template: &str,
        facts: &Facts,
        record: Option<&BackupRecord>,
    ) -> Told {
        let letters = self.letters(template, facts, record);
        let events = self
            .takers(kind)
            .map(|channel| compose::event(channel, kind, facts, &self.delivery().masks));
        self.dispatch(Composed {
            items: letters.items.into_iter().chain(events).collect(),
            ..letters
        })
    }

    fn letters(&self, template: &str, facts: &Facts, record: Option<&BackupRecord>) -> Composed {
        let Some(mail) = &self.delivery().mail else {
            return Composed::default();
        };
        Composer {
            mail,
            size: server_size(mail),
            templates: Templates::new(self.delivery().templates.as_deref()),
            masks: &self.delivery().masks,
        }
        .letters(template, facts, record)
    }

    /// Records first, then tries.
    fn dispatch(&self, composed: Composed) -> Told {
        let mut warnings = composed.warnings;
        if let Some(catalog) = self.catalog {
            for item in &composed.items {
                if let Err(error) = catalog.put_outbox(item) {
                    let what = format!("what cannot be sent now will not be sent later: {error}");
                    warnings.push(Warning::new("outbox", &item.channel, what));
                }
            }
        }
        let items = self
            .post()
            .all(composed.items, self.delivery().tries.max(1));
        Told {
            record: summary(&items, composed.attachment),
            warnings,
        }
    }

    /// A backup that somebody could not be told of is an alert on every other channel.
    fn shout_undelivered(&self, told: &Told, record: &BackupRecord) {
        let untold = &told.record.untold;
        let Some(first) = untold.first() else {
            return;
        };
        let names: Vec<&str> = untold.iter().map(|untold| untold.to.as_str()).collect();
        let alert = AlertFacts {
            check: "delivery".to_owned(),
            what: format!("not told: {}; {}", names.join(", "), first.reason),
            next: "hubvault mail outbox shows what waits; hubvault mail retry tries again"
                .to_owned(),
            ..AlertFacts::default()
        };
        let facts = self.facts("alert", record).of_alert(alert);
        let masks = &self.delivery().masks;
        let facts = facts.masked(masks);
        let is_dead = |channel: &Channel| names.contains(&channel_name(channel).as_str());
        let items = self
            .takers(EventKind::Alert)
            .filter(|channel| !is_dead(channel))
            .map(|channel| compose::event(channel, EventKind::Alert, &facts, masks))
            .collect();
        let shouted = self.dispatch(Composed {
            items,
            ..Composed::default()
        });
        for warning in shouted.warnings() {
            tracing::warn!("{warning}");
        }
    }
}

/// What is known now about who was told of a run.
fn update_record(catalog: &Catalog, id: BackupId) -> Result<(), CatalogError> {
    let Some(record) = catalog.find(&id.to_string())? else {
        return Ok(());
    };
    let mut items = catalog.outbox()?;
    items.retain(|item| item.backup == Some(id) && item.kind != "alert");
    let before = record.delivery.unwrap_or_default();
    catalog.told(id, &summary(&items, before.attachment), Vec::new())
}

/// What the mail server takes, where an archive may have to be cut for it. Who cannot be asked now is
/// asked again when the mail is sent.
fn server_size(mail: &MailOptions) -> Option<u64> {
    let mailer = mail.split.then(|| Mailer::connect(&mail.smtp).ok())??;
    let size = mailer.max_size();
    mailer.quit();
    size
}

/// As the record names a channel.
fn channel_name(channel: &Channel) -> String {
    format!("{} ({})", channel.kind.as_str(), channel.host())
}

/// Messages that only need to be sent.
#[derive(Debug, Default)]
pub(crate) struct Composed {
    items: Vec<OutboxItem>,
    warnings: Vec<Warning>,
    attachment: String,
}

/// What came of telling.
#[derive(Debug, Default)]
pub struct Told {
    /// Who was told and who was not.
    pub record: DeliveryRecord,
    /// A template that failed, an outbox that cannot be written.
    pub warnings: Vec<Warning>,
}

impl Told {
    /// All that a report must say about it.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.warnings.clone();
        warnings.extend(self.record.untold.iter().map(|untold| {
            let later = if untold.waiting {
                "; it waits in the outbox, `hubvault mail retry` tries again"
            } else {
                ""
            };
            let what = format!("{} was not told: {}{later}", untold.to, untold.reason);
            Warning::new("undelivered", &untold.to, what)
        }));
        warnings
    }
}

fn summary(items: &[OutboxItem], attachment: String) -> DeliveryRecord {
    // What was to go along did not always go.
    let left_out = items.iter().find_map(|item| match &item.content {
        Content::Email { left_out, .. } => left_out.clone(),
        Content::Event { .. } => None,
    });
    let mut record = DeliveryRecord {
        attachment: left_out.map_or(attachment, |why| format!("not attached: {why}")),
        ..DeliveryRecord::default()
    };
    for item in items {
        for recipient in &item.recipients {
            let to = match item.content {
                Content::Email { .. } => recipient.address.clone(),
                Content::Event { .. } => format!("{} ({})", item.channel, recipient.address),
            };
            let reason = || {
                let said = recipient.reply.clone().or_else(|| item.error.clone());
                said.unwrap_or_else(|| "it was not tried".to_owned())
            };
            match recipient.state {
                RecipientState::Accepted if record.told.contains(&to) => {}
                RecipientState::Accepted => record.told.push(to),
                _ if record.untold.iter().any(|untold| untold.to == to) => {}
                state => record.untold.push(Untold {
                    to,
                    reason: reason(),
                    waiting: state == RecipientState::Waiting && item.is_open(),
                }),
            }
        }
    }
    // Who has one part of three does not have it.
    let untold: Vec<&str> = record.untold.iter().map(|u| u.to.as_str()).collect();
    record.told.retain(|to| !untold.contains(&to.as_str()));
    record
}

/// The warning of a job whose runs nobody hears of; `None` when somebody does, or nobody is meant to.
pub fn nobody_told(job: &Job) -> Option<Warning> {
    let delivery = &job.delivery;
    if delivery.mail.is_some() || !delivery.channels.is_empty() {
        return None;
    }
    let missing = delivery.missing.as_ref()?;
    let what = format!(
        "nobody is told what comes of this job: {missing}; set SMTP_HOST and ADMIN_EMAILS (or \
         WEBHOOK_URL, PING_URL), or email.enabled = false if that is meant"
    );
    Some(Warning::new("nobody-told", "email.to", what))
}

/// The mistakes in the templates of a directory, each rendered with a sample of everything.
pub fn check_templates(directory: &std::path::Path) -> Vec<TemplateProblem> {
    Templates::new(Some(directory)).check(&sample::facts("success"))
}
