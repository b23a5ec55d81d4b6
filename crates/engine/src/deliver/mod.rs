//! What came of a run, told to those who must know: composed from templates, recorded in the
//! outbox, sent by mail and other channels.
//!
//! Delivery never undoes a backup. What could not be told is in the record, and in the exit code.

mod words;
mod earlier;
mod digest;
mod facts;
pub mod sample;
mod template;
mod compose;
mod post;

pub use facts::{AlertFacts, Facts};
pub use template::{Rendered, TemplateProblem, Templates};
pub use words::age;

use crate::catalog::{
    BackupRecord, Catalog, CatalogError, Content, DeliveryRecord, OutboxItem, RecipientState,
    State, Untold,
};
use crate::job::{Delivery, Job};
use compose::Composer;
use hubvault_model::{Cancel, Warning};
use hubvault_outlet::{Event, EventKind};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use post::Post;

/// Tells people about a job's runs.
pub struct Teller<'a> {
    job: &'a Job,
    /// Without it, what cannot be sent at once is lost; that is better than not trying.
    catalog: Option<&'a Catalog>,
    zone: &'a TimeZone,
    cancel: &'a Cancel,
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
        }
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
        let facts = self.facts(kind.as_str(), record).failed_by(causes, log);
        let told = self.tell(kind, kind.as_str(), &facts, Some(record));
        self.shout_undelivered(&told, record);
        told
    }

    /// Sends a template of any kind to the administrators: a digest, or a user's own.
    pub fn send(&self, template: &str, record: Option<&BackupRecord>) -> Told {
        let empty;
        let record = if let Some(record) = record {
            record
        } else {
            empty = BackupRecord::begun(
                hubvault_model::BackupId::random(),
                &self.job.name,
                Timestamp::now(),
            );
            &empty
        };
        let facts = self.facts(template, record);
        let letters = self.letters(template, &facts, None);
        self.dispatch(letters)
    }

    /// What a template renders to for a record, and sends nothing.
    pub fn preview(&self, template: &str, record: &BackupRecord) -> Rendered {
        let mut facts = self.facts(template, record);
        if ["alert", "recovered"].contains(&template) {
            facts = facts.of_alert(sample::alert());
        }
        Templates::new(self.job.delivery.templates.as_deref()).render(template, &facts)
    }

    /// Tries everything that waits in the outbox once more; what came of each.
    pub fn retry(&self) -> Result<Vec<OutboxItem>, CatalogError> {
        let Some(catalog) = self.catalog else {
            return Ok(Vec::new());
        };
        let waiting: Vec<OutboxItem> = catalog
            .outbox()?
            .into_iter()
            .filter(OutboxItem::is_open)
            .rev()
            .collect();
        Ok(self.post().all(waiting, 1))
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

    fn takers(&self, kind: EventKind) -> impl Iterator<Item = &hubvault_outlet::Channel> {
        let channels = self.delivery().channels.iter();
        channels.filter(move |channel| channel.takes(kind))
    }

    /// What a template may say. A catalog that cannot be read makes it say less.
    fn facts(&self, kind: &str, record: &BackupRecord) -> Facts {
        let history = self.catalog.map_or_else(Vec::new, |catalog| {
            catalog.list().unwrap_or_else(|error| {
                tracing::warn!("what is told lacks what ran before: {error}");
                Vec::new()
            })
        });
        let outbox = self.catalog.map_or_else(Vec::new, |catalog| {
            catalog.outbox().unwrap_or_else(|error| {
                tracing::warn!("what is told lacks what was told before: {error}");
                Vec::new()
            })
        });
        let source = self.job.database.to_string();
        let now = Timestamp::now();
        Facts::new(kind, &source, record, &history, &outbox, now, self.zone)
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

    /// A backup that could not be told of is an alert on every channel that works.
    fn shout_undelivered(&self, told: &Told, record: &BackupRecord) {
        let mail_failed = told.record.untold.iter().any(|u| u.to.contains('@'));
        if !mail_failed || self.takers(EventKind::Alert).next().is_none() {
            return;
        }
        let names: Vec<&str> = told.record.untold.iter().map(|u| u.to.as_str()).collect();
        let reason = told
            .record
            .untold
            .first()
            .map_or("", |untold| untold.reason.as_str());
        let alert = AlertFacts {
            check: "delivery".to_owned(),
            what: format!("{} could not be mailed: {reason}", names.join(", ")),
            next: "hubvault mail outbox shows what waits; hubvault mail retry tries again"
                .to_owned(),
            ..AlertFacts::default()
        };
        let facts = self.facts("alert", record).of_alert(alert);
        let channels = self
            .takers(EventKind::Alert)
            .map(|channel| {
                compose::event(channel, EventKind::Alert, &facts, &self.delivery().masks)
            })
            .collect();
        self.dispatch(Composed {
            items: channels,
            ..Composed::default()
        });
    }
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
    pub fn into_warnings(self) -> Vec<Warning> {
        let mut warnings = self.warnings;
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
    let mut record = DeliveryRecord {
        attachment,
        ..DeliveryRecord::default()
    };
    for item in items {
        for recipient in &item.recipients {
            let to = match item.content {
                Content::Letter { .. } => recipient.address.clone(),
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
