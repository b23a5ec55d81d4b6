//! Sends messages to the recipients that do not have them yet, over one connection for all mails.

use super::compose::TOO_LARGE;
use super::email::{compose, is_missing, leave_out, obey};
use super::run_command;
use crate::catalog::{Catalog, Claimed, Content, OutboxItem, OutboxState, RecipientState};
use crate::job::{Delivery, MailOptions};
use hubvault_model::{Cancel, one_line};
use hubvault_notify::{
    Channel, ChannelKind, Email, Event, EventKind, Mailer, Problem, Refused, SendError,
};
use jiff::{SignedDuration, Timestamp};
use std::time::{Duration, Instant};

/// How often a pause looks whether the run is to stop.
const INTERVAL: Duration = Duration::from_millis(100);

/// How much longer than its limits a try may take.
const MARGIN: Duration = Duration::from_mins(5);

/// Sends messages.
pub(super) struct Sender<'a> {
    pub(super) delivery: &'a Delivery,
    pub(super) catalog: Option<&'a Catalog>,
    pub(super) cancel: &'a Cancel,
}

impl Sender<'_> {
    /// Tries every message up to `tries` times, with the job's pause in between; returns them with their outcomes.
    pub(super) fn all(&self, mut items: Vec<OutboxItem>, tries: u32) -> Vec<OutboxItem> {
        // If somebody has to fix something first, a second try in the same run is pointless.
        let mut retryable = vec![true; items.len()];
        for attempt in 0..tries {
            let open = |(item, retryable): (&OutboxItem, &bool)| item.is_open() && *retryable;
            if !items.iter().zip(&retryable).any(open) || attempt > 0 && !self.pause() {
                break;
            }
            let mut connection = Connection::default();
            for (item, retryable) in items.iter_mut().zip(&mut retryable) {
                if self.cancel.is_requested() {
                    break;
                }
                if item.is_open() && *retryable {
                    *retryable = self.one(item, &mut connection);
                }
            }
            if let Some(mailer) = connection.mailer {
                mailer.quit();
            }
        }
        for item in items.iter_mut().filter(|item| item.is_open()) {
            if !item.may_wait() {
                self.give_up(item);
            }
        }
        items
    }

    /// Marks a message as failed. A late ping would be about a run that is long over.
    pub(super) fn give_up(&self, item: &mut OutboxItem) {
        let Some(claim) = self.claim(item, false) else {
            return;
        };
        refuse(item);
        item.state = OutboxState::Failed;
        self.record(item, &claim);
    }

    /// False if the run is to stop.
    fn pause(&self) -> bool {
        let end = Instant::now() + self.delivery.pause;
        while Instant::now() < end && !self.cancel.is_requested() {
            std::thread::sleep(INTERVAL.min(end.saturating_duration_since(Instant::now())));
        }
        !self.cancel.is_requested()
    }

    /// Claims a message for one try and brings it up to date; `None` if another process has it or sent it. The claim is
    /// empty if it could not be recorded.
    fn claim(&self, item: &mut OutboxItem, in_turn: bool) -> Option<String> {
        let Some(catalog) = self.catalog else {
            return Some(String::new());
        };
        let now = Timestamp::now();
        let limit = self.delivery.mail.as_ref().map(|mail| mail.smtp.time_limit);
        // Connecting, the message, and the message without its archive.
        let longest = limit.unwrap_or_default() * 3 + MARGIN;
        let until = now + SignedDuration::try_from(longest).unwrap_or(SignedDuration::MAX);
        match catalog.claim_outbox(&item.id, now, until, in_turn) {
            Ok(Claimed::Mine {
                item: stored,
                claim,
            }) => {
                *item = stored;
                Some(claim)
            }
            Ok(Claimed::Elsewhere(stored)) => {
                *item = stored;
                None
            }
            // The disk may be full: better twice than never.
            Ok(Claimed::Unrecorded) => Some(String::new()),
            Err(error) => {
                tracing::warn!("{error}");
                Some(String::new())
            }
        }
    }

    fn record(&self, item: &OutboxItem, claim: &str) {
        let Some(catalog) = self.catalog.filter(|_| !claim.is_empty()) else {
            return;
        };
        match catalog.settle_outbox(item, claim) {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                "sending message {} timed out; it may have been delivered twice",
                item.id
            ),
            Err(error) => tracing::warn!(
                "could not record the outcome of message {}: {error}",
                item.id
            ),
        }
    }

    /// Whether its channel shows the state that the last message reported.
    fn is_of_state(&self, item: &OutboxItem) -> bool {
        let mut channels = self.delivery.channels.iter();
        channels.any(|channel| channel.kind.is_state() && channel.kind.as_str() == item.channel)
    }

    fn is_superseded(&self, item: &OutboxItem) -> bool {
        let answer = self.catalog.map(|catalog| catalog.is_superseded(&item.id));
        answer.is_some_and(|answer| {
            answer.unwrap_or_else(|error| {
                // Better a wrong state, which the next message corrects, than none.
                tracing::warn!("{error}");
                false
            })
        })
    }

    /// Tries one message, recorded before and after; returns whether another try may help.
    fn one(&self, item: &mut OutboxItem, connection: &mut Connection) -> bool {
        let is_state = self.is_of_state(item);
        let Some(claim) = self.claim(item, is_state) else {
            return item.is_open();
        };
        if is_state && !claim.is_empty() && self.is_superseded(item) {
            item.supersede();
            self.record(item, &claim);
            return false;
        }
        item.tries += 1;
        item.tried_at = Some(Timestamp::now());
        let tried = match &item.content {
            Content::Email { .. } => self.email(item, connection),
            Content::Event { .. } => self.event(item),
        };
        let mut retryable = true;
        match tried {
            Ok(()) => item.error = None,
            Err(failure) => {
                retryable = failure.retryable;
                self.record_refused(item, &failure.refused);
                if failure.message_refused {
                    refuse(item);
                }
                item.error = Some(self.delivery.masks.mask(&failure.what));
            }
        }
        item.state = if item.waiting().next().is_some() {
            OutboxState::Waiting
        } else if item
            .recipients
            .iter()
            .any(|r| r.state == RecipientState::Accepted)
        {
            OutboxState::Sent
        } else {
            OutboxState::Failed
        };
        self.record(item, &claim);
        retryable
    }

    fn email(&self, item: &mut OutboxItem, connection: &mut Connection) -> Result<(), Failure> {
        let Some(mail) = &self.delivery.mail else {
            return Err(Failure::to_fix(
                "no mail is configured any more; set SMTP_HOST and ADMIN_EMAILS",
            ));
        };
        obey(item, mail);
        let to: Vec<String> = item.waiting().map(|r| r.address.clone()).collect();
        if to.is_empty() {
            return Ok(());
        }
        let mut mailer = connection.connect(mail)?;
        if is_missing(item) {
            leave_out(item, "it was missing when this mail was sent");
        }
        let mut email = compose(item, mail);
        let fits = |email: &Email, mailer: &Mailer| -> Result<bool, SendError> {
            let Some(most) = mailer.max_size() else {
                return Ok(true);
            };
            Ok(email.encoded_size()? <= most)
        };
        if !fits(&email, &mailer)? {
            leave_out(item, TOO_LARGE);
            email = compose(item, mail);
        }
        let mut sent = mailer.send(&email, &to);
        if let Err(error) = &sent
            && let Some(why) = self.why_without(error)
            && leave_out(item, &why)
        {
            if mailer.has_ended() {
                mailer = Mailer::connect(&mail.smtp)?;
            }
            sent = mailer.send(&compose(item, mail), &to);
        }
        let sent = sent?;
        connection.mailer = Some(mailer);
        self.record_refused(item, &sent.refused);
        for recipient in &mut item.recipients {
            // A recipient that was not refused has it.
            let asked = to.contains(&recipient.address);
            if asked && !sent.refused.iter().any(|r| r.address == recipient.address) {
                recipient.state = RecipientState::Accepted;
            }
        }
        Ok(())
    }

    /// Why a mail is to be sent once more without its archive; `None` if that would not help.
    fn why_without(&self, error: &SendError) -> Option<String> {
        match error.problem() {
            Problem::TooLarge => Some(TOO_LARGE.to_owned()),
            Problem::Rejected if error.is_permanent() => {
                let words = self.delivery.masks.mask(error.what());
                Some(format!(
                    "the mail with it was refused: {}",
                    one_line(&words)
                ))
            }
            _ => None,
        }
    }

    fn event(&self, item: &mut OutboxItem) -> Result<(), Failure> {
        let Content::Event { title, text, body } = &item.content else {
            return Ok(());
        };
        let channels = self.delivery.channels.iter();
        // Of commands there may be several.
        let is_it = |channel: &&Channel| {
            channel.kind.as_str() == item.channel
                && (channel.kind != ChannelKind::Command
                    || item
                        .recipients
                        .iter()
                        .any(|to| to.address == channel.host()))
        };
        let mut channels = channels.filter(is_it);
        let Some(channel) = channels.next() else {
            let channel = &item.channel;
            return Err(Failure::to_fix(&format!(
                "no {channel} is configured any more"
            )));
        };
        let kinds = [
            EventKind::Start,
            EventKind::Success,
            EventKind::Failure,
            EventKind::Alert,
            EventKind::Recovered,
        ];
        let kind = kinds.into_iter().find(|kind| kind.as_str() == item.kind);
        let event = Event {
            id: item.id.clone(),
            kind: kind.unwrap_or(EventKind::Alert),
            title: title.clone(),
            text: text.clone(),
            body: body.clone(),
        };
        match channel.kind {
            ChannelKind::Command => self.run(&channel.host(), &event)?,
            _ => channel.post(&event)?,
        }
        for recipient in &mut item.recipients {
            recipient.state = RecipientState::Accepted;
        }
        Ok(())
    }

    /// Runs a command of the user's. Another try may succeed, whatever it says.
    fn run(&self, name: &str, event: &Event) -> Result<(), Failure> {
        let mut own = self.delivery.commands.iter();
        let own = own.find(|own| own.name == name);
        let own = own.ok_or_else(|| Failure::to_fix("no such command is configured any more"))?;
        let masks = &self.delivery.masks;
        run_command::run(own, event, masks, self.cancel).map_err(|what| Failure {
            retryable: true,
            ..Failure::to_fix(&what)
        })
    }

    /// Marks recipients as refused, and records the server's replies about the others.
    fn record_refused(&self, item: &mut OutboxItem, refused: &[Refused]) {
        for recipient in &mut item.recipients {
            if recipient.state != RecipientState::Waiting {
                continue;
            }
            if let Some(refused) = refused.iter().find(|r| r.address == recipient.address) {
                recipient.reply = Some(self.delivery.masks.mask(&refused.reply));
                if refused.permanent {
                    recipient.state = RecipientState::Refused;
                }
            }
        }
    }
}

/// The connection to the mail server in one attempt. If it fails once, it is not tried again.
#[derive(Default)]
struct Connection {
    mailer: Option<Mailer>,
    down: Option<(String, bool)>,
}

impl Connection {
    fn connect(&mut self, mail: &MailOptions) -> Result<Mailer, Failure> {
        if let Some(mailer) = self.mailer.take() {
            return Ok(mailer);
        }
        let (what, retryable) = match &self.down {
            Some(down) => down.clone(),
            None => match Mailer::connect(&mail.smtp) {
                Ok(mailer) => return Ok(mailer),
                Err(error) => (error.to_string(), !error.is_permanent()),
            },
        };
        self.down = Some((what.clone(), retryable));
        // The error is not about this message.
        Err(Failure {
            retryable,
            ..Failure::to_fix(&what)
        })
    }
}

fn refuse(item: &mut OutboxItem) {
    for recipient in &mut item.recipients {
        if recipient.state == RecipientState::Waiting {
            recipient.state = RecipientState::Refused;
        }
    }
}

/// A try that failed.
struct Failure {
    what: String,
    /// Whether the same try may succeed in a minute.
    retryable: bool,
    /// Whether this message will never be accepted, whatever anybody fixes here.
    message_refused: bool,
    refused: Vec<Refused>,
}

impl Failure {
    /// Somebody has to fix something first; the message is queued until then.
    fn to_fix(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            retryable: false,
            message_refused: false,
            refused: Vec::new(),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let final_word = matches!(error.problem(), Problem::Rejected | Problem::TooLarge);
        Self {
            what: error.to_string(),
            retryable: !error.is_permanent(),
            message_refused: error.is_permanent() && final_word,
            refused: error.refused().to_vec(),
        }
    }
}
