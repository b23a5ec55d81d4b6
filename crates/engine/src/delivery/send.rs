//! The tries: each message to whoever does not have it yet, over one connection for all mails.

use super::compose::TOO_LARGE;
use super::email::{compose, is_gone, leave_out, obey};
use crate::catalog::{Catalog, Claimed, Content, OutboxItem, OutboxState, RecipientState};
use crate::job::{Delivery, MailOptions};
use hubvault_model::Cancel;
use hubvault_notify::{Email, Event, EventKind, Mailer, Problem, Refused, SendError};
use jiff::{SignedDuration, Timestamp};
use std::time::{Duration, Instant};

/// How long a wait may be before somebody looks whether the run is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// What a try may take besides what its limits say.
const MARGIN: Duration = Duration::from_mins(5);

/// What sending needs.
pub(super) struct Post<'a> {
    pub(super) delivery: &'a Delivery,
    pub(super) catalog: Option<&'a Catalog>,
    pub(super) cancel: &'a Cancel,
}

impl Post<'_> {
    /// Tries every message up to `tries` times, with the job's pause between; each as it is then.
    pub(super) fn all(&self, mut items: Vec<OutboxItem>, tries: u32) -> Vec<OutboxItem> {
        // Where only somebody's hand helps, a second try in the same run is pointless.
        let mut hopeful = vec![true; items.len()];
        for turn in 0..tries {
            let open = |(item, hope): (&OutboxItem, &bool)| item.is_open() && *hope;
            if !items.iter().zip(&hopeful).any(open) || turn > 0 && !self.pause() {
                break;
            }
            let mut line = Line::default();
            for (item, hope) in items.iter_mut().zip(&mut hopeful) {
                if self.cancel.is_requested() {
                    break;
                }
                if item.is_open() && *hope {
                    *hope = self.one(item, &mut line);
                }
            }
            if let Some(mailer) = line.mailer {
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

    /// Nobody will have it any more. A late ping would tell a dead-man's switch of a run that is long over.
    pub(super) fn give_up(&self, item: &mut OutboxItem) {
        let Some(claim) = self.claim(item) else {
            return;
        };
        refuse(item);
        item.state = OutboxState::Failed;
        self.record(item, &claim);
    }

    /// False when the run is to stop.
    fn pause(&self) -> bool {
        let end = Instant::now() + self.delivery.pause;
        while Instant::now() < end && !self.cancel.is_requested() {
            std::thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
        }
        !self.cancel.is_requested()
    }

    /// Makes a message ours for one try and brings it up to date; `None` when another process has it
    /// or sent it. An empty claim is that of a message that could not be recorded.
    fn claim(&self, item: &mut OutboxItem) -> Option<String> {
        let Some(catalog) = self.catalog else {
            return Some(String::new());
        };
        let now = Timestamp::now();
        let limit = self.delivery.mail.as_ref().map(|mail| mail.smtp.time_limit);
        // Connecting, the message, and the message without its archive.
        let longest = limit.unwrap_or_default() * 3 + MARGIN;
        let until = now + SignedDuration::try_from(longest).unwrap_or(SignedDuration::MAX);
        match catalog.claim_outbox(&item.id, now, until) {
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
            // It may be the disk that is full: better twice than never.
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
                "message {} took longer than any may: another process may have sent it, too",
                item.id
            ),
            Err(error) => tracing::warn!("it is not recorded what came of a message: {error}"),
        }
    }

    /// One try of one message, recorded before and after; whether another may help.
    fn one(&self, item: &mut OutboxItem, line: &mut Line) -> bool {
        let Some(claim) = self.claim(item) else {
            return item.is_open();
        };
        item.tries += 1;
        item.tried_at = Some(Timestamp::now());
        let tried = match &item.content {
            Content::Email { .. } => self.email(item, line),
            Content::Event { .. } => self.event(item),
        };
        let mut hope = true;
        match tried {
            Ok(()) => item.error = None,
            Err(trouble) => {
                hope = trouble.hope;
                self.settle(item, &trouble.refused);
                if trouble.message_refused {
                    refuse(item);
                }
                item.error = Some(self.delivery.masks.mask(&trouble.what));
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
        hope
    }

    fn email(&self, item: &mut OutboxItem, line: &mut Line) -> Result<(), Trouble> {
        let Some(mail) = &self.delivery.mail else {
            return Err(Trouble::by_hand(
                "no mail is configured any more; set SMTP_HOST and ADMIN_EMAILS",
            ));
        };
        obey(item, mail);
        let to: Vec<String> = item.waiting().map(|r| r.address.clone()).collect();
        if to.is_empty() {
            return Ok(());
        }
        let mut mailer = line.connect(mail)?;
        if is_gone(item) {
            leave_out(
                item,
                "it was no longer at its place when this mail was sent",
            );
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
            && error.problem() == Problem::TooLarge
            && leave_out(item, TOO_LARGE)
        {
            sent = mailer.send(&compose(item, mail), &to);
        }
        let sent = sent?;
        line.mailer = Some(mailer);
        self.settle(item, &sent.refused);
        for recipient in &mut item.recipients {
            // Whom nobody refused has it.
            let asked = to.contains(&recipient.address);
            if asked && !sent.refused.iter().any(|r| r.address == recipient.address) {
                recipient.state = RecipientState::Accepted;
            }
        }
        Ok(())
    }

    fn event(&self, item: &mut OutboxItem) -> Result<(), Trouble> {
        let Content::Event { title, text, body } = &item.content else {
            return Ok(());
        };
        let channels = self.delivery.channels.iter();
        let mut channels = channels.filter(|channel| channel.kind.as_str() == item.channel);
        let Some(channel) = channels.next() else {
            let channel = &item.channel;
            return Err(Trouble::by_hand(&format!(
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
        channel.post(&Event {
            id: item.id.clone(),
            kind: kind.unwrap_or(EventKind::Alert),
            title: title.clone(),
            text: text.clone(),
            body: body.clone(),
        })?;
        for recipient in &mut item.recipients {
            recipient.state = RecipientState::Accepted;
        }
        Ok(())
    }

    /// Who will never have it, and what was said about those who do not have it yet.
    fn settle(&self, item: &mut OutboxItem, refused: &[Refused]) {
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

/// The way to the mail server in one turn. Where it does not answer once, nobody waits for it again.
#[derive(Default)]
struct Line {
    mailer: Option<Mailer>,
    down: Option<(String, bool)>,
}

impl Line {
    fn connect(&mut self, mail: &MailOptions) -> Result<Mailer, Trouble> {
        if let Some(mailer) = self.mailer.take() {
            return Ok(mailer);
        }
        let (what, hope) = match &self.down {
            Some(down) => down.clone(),
            None => match Mailer::connect(&mail.smtp) {
                Ok(mailer) => return Ok(mailer),
                Err(error) => (error.to_string(), !error.is_permanent()),
            },
        };
        self.down = Some((what.clone(), hope));
        // Whatever it said, it was not about this message.
        Err(Trouble {
            hope,
            ..Trouble::by_hand(&what)
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
struct Trouble {
    what: String,
    /// Whether the same try may succeed in a minute.
    hope: bool,
    /// Whether this message will never be taken, whatever anybody sets right here.
    message_refused: bool,
    refused: Vec<Refused>,
}

impl Trouble {
    /// Somebody has to set something right first; the message waits for that.
    fn by_hand(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            hope: false,
            message_refused: false,
            refused: Vec::new(),
        }
    }
}

impl From<SendError> for Trouble {
    fn from(error: SendError) -> Self {
        let final_word = matches!(error.problem(), Problem::Rejected | Problem::TooLarge);
        Self {
            what: error.to_string(),
            hope: !error.is_permanent(),
            message_refused: error.is_permanent() && final_word,
            refused: error.refused().to_vec(),
        }
    }
}
