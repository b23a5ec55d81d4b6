//! The outcome of a delivery: who was notified, who was not, and why.

use crate::catalog::{Content, DeliveryRecord, OutboxItem, RecipientState, Undelivered};
use crate::job::Job;
use hubvault_model::Warning;
use hubvault_notify::Channel;

/// The outcome of a delivery.
#[derive(Debug, Default)]
pub struct DeliveryOutcome {
    /// Who was notified and who was not.
    pub record: DeliveryRecord,
    /// A template that failed, an outbox that cannot be written.
    pub warnings: Vec<Warning>,
}

impl DeliveryOutcome {
    /// All that a report must say about it.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.warnings.clone();
        warnings.extend(self.record.undelivered.iter().map(|one| {
            let later = if one.queued {
                "; the message is queued, `hubvault mail retry` tries again"
            } else {
                ""
            };
            let what = format!("{} was not notified: {}{later}", one.to, one.reason);
            Warning::new("undelivered", &one.to, what)
        }));
        warnings
    }
}

/// What the messages about a run came to.
pub(super) fn summary(items: &[OutboxItem], attachment: String) -> DeliveryRecord {
    // What was to be attached was not always.
    let left_out = items.iter().find_map(|item| match &item.content {
        Content::Email { left_out, .. } => left_out.clone(),
        Content::Event { .. } => None,
    });
    let mut record = DeliveryRecord {
        attachment: left_out.map_or(attachment, |why| format!("not attached: {why}")),
        ..DeliveryRecord::default()
    };
    // Of what a newer message took the place, nobody misses anything.
    for item in items.iter().filter(|item| !item.superseded) {
        for recipient in &item.recipients {
            let to = match item.content {
                Content::Email { .. } => recipient.address.clone(),
                Content::Event { .. } => format!("{} ({})", item.channel, recipient.address),
            };
            let reason = || {
                let said = recipient.reply.clone().or_else(|| item.error.clone());
                said.unwrap_or_else(|| "not tried yet".to_owned())
            };
            match recipient.state {
                RecipientState::Accepted if record.notified.contains(&to) => {}
                RecipientState::Accepted => record.notified.push(to),
                _ if record.undelivered.iter().any(|one| one.to == to) => {}
                state => record.undelivered.push(Undelivered {
                    to,
                    reason: reason(),
                    queued: state == RecipientState::Waiting && item.is_open(),
                }),
            }
        }
    }
    // Who has one part of three does not have the message.
    let undelivered = &record.undelivered;
    record
        .notified
        .retain(|to| !undelivered.iter().any(|one| one.to == *to));
    record
}

/// What to do about messages that were not delivered, some of them queued or none.
pub fn what_to_do(is_queued: bool) -> &'static str {
    if is_queued {
        "hubvault mail outbox lists queued messages, hubvault mail retry tries them again, hubvault mail test tests the \
         connection"
    } else {
        "hubvault mail outbox shows what each recipient answered; correct its address or key in the configuration, then \
         test it with hubvault alert test"
    }
}

/// As the record names a channel.
pub(super) fn channel_name(channel: &Channel) -> String {
    format!("{} ({})", channel.kind.as_str(), channel.host())
}

/// The warning of a job that notifies nobody; `None` if it notifies somebody, or is meant not to.
pub fn nobody_notified(job: &Job) -> Option<Warning> {
    let delivery = &job.delivery;
    if delivery.mail.is_some() || !delivery.channels.is_empty() {
        return None;
    }
    let missing = delivery.missing.as_ref()?;
    let what = format!(
        "nobody is notified of the runs of this job: {missing}; set SMTP_HOST and ADMIN_EMAILS (or WEBHOOK_URL, \
         PING_URL), or email.enabled = false if that is intended"
    );
    Some(Warning::new("nobody-told", "email.to", what))
}
