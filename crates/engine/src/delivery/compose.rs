//! From what is known to messages that only need to be sent: templates rendered, the archive
//! attached where it fits, secrets masked.

use super::Composed;
use super::facts::{ArchiveFacts, Facts};
use super::template::{Rendered, Templates, escaped};
use crate::catalog::{
    BackupRecord, Content, Enclosure, OutboxItem, OutboxState, Recipient, RecipientState,
};
use crate::job::{AttachWhen, MailOptions};
use hubvault_model::{BackupId, ByteSize, Masks, Warning, one_line, printable};
use hubvault_notify::{Channel, ChannelKind, EventKind, encoded_attachment_size};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

/// More parts than this help nobody.
const MOST_PARTS: u64 = 50;
/// What headers and the frame around the parts of a message take at most, in bytes.
const FRAME: u64 = 4 << 10;

/// Why a mail that was to carry an archive goes without it, as it is composed; `post` knows better where
/// the archive is gone.
pub(super) const TOO_LARGE: &str = "the mail server takes no message this large";

/// Stands for a link while secrets are masked, as one of them may be a word of the link. No secret and no
/// template has these letters of nobody (Unicode, private use).
const LINK: &str = "\u{e000}\u{e001}\u{e002}";

/// Makes mails.
pub(super) struct Composer<'a> {
    pub(super) mail: &'a MailOptions,
    /// What the server takes, where it was asked.
    pub(super) size: Option<u64>,
    pub(super) templates: Templates,
    pub(super) masks: &'a Masks,
}

/// What of an archive goes along.
enum Attached {
    Nothing(String),
    Whole,
    Parts(Vec<Enclosure>),
}

impl Composer<'_> {
    /// The mails of one type about a record; with its archive when it has one.
    pub(super) fn letters(
        &self,
        template: &str,
        facts: &Facts,
        record: Option<&BackupRecord>,
    ) -> Composed {
        let mut composed = Composed::default();
        let id = record.map(|record| record.id);
        let (Some(archive), Some(record)) = (&facts.archive, record) else {
            let content = self.content(template, facts, None, None, &mut composed.warnings);
            composed.items.push(self.item(template, id, content));
            return composed;
        };
        let fetch = how_to_fetch(archive);
        let attached = self.attached(template, facts, record, archive);
        let with = |part: usize, parts: usize, attached: bool, words: &str| {
            let mut facts = facts.clone();
            if let Some(archive) = &mut facts.archive {
                archive.attached = attached;
                words.clone_into(&mut archive.attachment);
                (archive.part, archive.parts) = (part, parts);
                if parts > 0 {
                    let name = &archive.name;
                    archive.join = format!("cat {name}.part* > {name}");
                }
            }
            facts
        };
        let too_large =
            format!("Not attached: the mail server takes no message this large. {fetch}");
        let without = with(0, 0, false, &too_large);
        match attached {
            Attached::Nothing(why) => {
                composed.attachment = format!("not attached: {why}");
                let words = format!("Not attached: {why}. {fetch}");
                let facts = with(0, 0, false, &words);
                let content = self.content(template, &facts, None, None, &mut composed.warnings);
                composed.items.push(self.item(template, id, content));
            }
            Attached::Whole => {
                "attached".clone_into(&mut composed.attachment);
                let facts = with(0, 0, true, "It is attached to this mail.");
                let whole = Enclosure {
                    name: archive.name.clone(),
                    path: record.file.clone().unwrap_or_default(),
                    offset: 0,
                    length: archive.bytes,
                };
                let warnings = &mut composed.warnings;
                let content = self.content(template, &facts, Some(whole), Some(&without), warnings);
                composed.items.push(self.item(template, id, content));
            }
            Attached::Parts(parts) => {
                let count = parts.len();
                composed.attachment = format!("attached in {count} parts");
                for (at, part) in parts.into_iter().enumerate() {
                    let words = format!("Part {} of {count} is attached to this mail.", at + 1);
                    let facts = with(at + 1, count, true, &words);
                    let warnings = &mut composed.warnings;
                    let content =
                        self.content(template, &facts, Some(part), Some(&without), warnings);
                    composed.items.push(self.item(template, id, content));
                }
            }
        }
        composed
    }

    /// Whether the archive goes along, whole or in parts. What the server takes is known only when
    /// it is asked; where that is less, the mail goes without.
    fn attached(
        &self,
        template: &str,
        facts: &Facts,
        record: &BackupRecord,
        archive: &ArchiveFacts,
    ) -> Attached {
        match self.mail.attach {
            AttachWhen::Never => return Attached::Nothing("email.attach is never".to_owned()),
            AttachWhen::Sealed if !archive.sealed => {
                let why = "it is not sealed, and email.attach is sealed; name BACKUP_RECIPIENTS";
                return Attached::Nothing(why.to_owned());
            }
            AttachWhen::Always | AttachWhen::Sealed => {}
        }
        let rendered = self.rendered(template, facts);
        let texts = (rendered.text.len() + rendered.html.len()) as u64;
        // Quoted-printable writes a byte that is not ASCII as three.
        let most = self.mail.max_message.0.min(self.size.unwrap_or(u64::MAX));
        let limit = most.saturating_sub(texts * 3 + FRAME);
        if encoded_attachment_size(archive.bytes) <= limit {
            return Attached::Whole;
        }
        // 57 bytes become a line of 78 (RFC 2045, 6.8).
        let each = limit / 78 * 57;
        let count = archive.bytes.checked_div(each).map_or(u64::MAX, |n| n + 1);
        if !self.mail.split || count > MOST_PARTS {
            let encoded = ByteSize(encoded_attachment_size(archive.bytes));
            return Attached::Nothing(format!(
                "encoded it has {encoded}, and a message may have {} (EMAIL_MAX_MESSAGE_MB, or the \
                 server's limit)",
                ByteSize(most)
            ));
        }
        let parts = (0..archive.bytes).step_by(each as usize).enumerate();
        Attached::Parts(
            parts
                .map(|(at, offset)| Enclosure {
                    name: format!("{}.part{:03}", archive.name, at + 1),
                    path: record.file.clone().unwrap_or_default(),
                    offset,
                    length: each.min(archive.bytes - offset),
                })
                .collect(),
        )
    }

    fn content(
        &self,
        template: &str,
        facts: &Facts,
        enclosure: Option<Enclosure>,
        without: Option<&Facts>,
        warnings: &mut Vec<Warning>,
    ) -> Content {
        let rendered = self.rendered(template, facts);
        for problem in &rendered.problems {
            let what = format!("a template could not be used, the built-in one was: {problem}");
            let warning = Warning::new("template", template, what);
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        let without = without.map(|facts| {
            let rendered = self.rendered(template, facts);
            (rendered.text, rendered.html)
        });
        Content::Email {
            subject: rendered.subject,
            text: rendered.text,
            html: rendered.html,
            enclosure,
            without,
            left_out: None,
            thread: format!("{template}.{}@{}", word(&facts.job), self.domain()),
        }
    }

    /// Rendered and without secrets.
    fn rendered(&self, template: &str, facts: &Facts) -> Rendered {
        let mut facts = facts.clone();
        let archive = facts.archive.as_mut();
        let link = archive.and_then(|archive| archive.link.as_mut());
        let url = link.map(|link| std::mem::replace(&mut link.url, LINK.to_owned()));
        let rendered = self.templates.render(template, &facts);
        let plain = url.unwrap_or_default();
        let rich = escaped(&plain);
        let masked = |text: &str, url: &str| self.masks.mask(text).replace(LINK, url);
        Rendered {
            subject: one_line(&masked(&rendered.subject, &plain)).into_owned(),
            text: printable(&masked(&rendered.text, &plain)).into_owned(),
            html: printable(&masked(&rendered.html, &rich)).into_owned(),
            problems: rendered.problems,
        }
    }

    fn item(&self, template: &str, backup: Option<BackupId>, content: Content) -> OutboxItem {
        let recipient = |address: &String| Recipient {
            address: address.clone(),
            state: RecipientState::Waiting,
            reply: None,
        };
        OutboxItem {
            recipients: self.mail.to.iter().map(recipient).collect(),
            ..item(template, "mail", backup, content)
        }
    }

    fn domain(&self) -> &str {
        domain(&self.mail.from)
    }
}

/// The domain of an address, for ids.
pub(super) fn domain(address: &str) -> &str {
    let after = address.rsplit('@').next().unwrap_or_default();
    after.trim_end_matches('>').trim()
}

/// Letters, digits, dots and dashes, as ids may have them.
pub(super) fn word(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    text.chars().map(plain).collect()
}

fn how_to_fetch(archive: &ArchiveFacts) -> String {
    format!(
        "Its place on the host: {path}; to fetch it: scp HOST:{path} .",
        path = archive.path
    )
}

fn item(kind: &str, channel: &str, backup: Option<BackupId>, content: Content) -> OutboxItem {
    OutboxItem {
        id: Uuid::new_v4().to_string(),
        backup,
        kind: kind.to_owned(),
        channel: channel.to_owned(),
        created_at: Timestamp::now(),
        state: OutboxState::Waiting,
        tries: 0,
        tried_at: None,
        error: None,
        recipients: Vec::new(),
        content,
    }
}

/// What another channel is told.
pub(super) fn event(
    channel: &Channel,
    kind: EventKind,
    facts: &Facts,
    masks: &Masks,
) -> OutboxItem {
    let rendered = Templates::new(None).render(kind.as_str(), facts);
    let title = rendered
        .subject
        .strip_prefix("[hubvault] ")
        .unwrap_or(&rendered.subject);
    // A ping goes to a stranger who only counts them.
    let archive = facts.archive.as_ref();
    let link = archive.and_then(|archive| archive.link.as_ref());
    let link = link.filter(|_| channel.kind != ChannelKind::Ping);
    let mut lines = Vec::new();
    match kind {
        EventKind::Failure => {
            lines.extend(
                facts
                    .failure
                    .iter()
                    .flat_map(|failure| failure.causes.clone()),
            );
        }
        EventKind::Alert | EventKind::Recovered => {
            lines.extend([facts.alert.what.clone(), facts.alert.next.clone()]);
        }
        EventKind::Start | EventKind::Success => {
            lines.push(format!("{}: {}", facts.run.state, facts.proof.text));
            // Before what may be so long that it is cut.
            lines.extend(
                link.map(|link| format!("to download the archive, until {}: {LINK}", link.ends)),
            );
            lines.extend(facts.warnings.iter().map(|warning| format!("! {warning}")));
        }
    }
    if let (EventKind::Failure, Some(failure)) = (kind, &facts.failure) {
        lines.extend(failure.log.iter().cloned());
    }
    lines.retain(|line| !line.is_empty());
    let body = json!({
        "job": facts.job,
        "state": facts.run.state,
        "backup": facts.run.id,
        "started": facts.run.started,
        "took": facts.run.took,
        "tables": facts.run.tables,
        "rows": facts.run.rows,
        "archive": archive.map(|archive| json!({
            "name": archive.name, "bytes": archive.bytes, "sealed": archive.sealed,
            "link": link.map(|link| json!({ "url": link.url, "expires_at": link.expires_at })),
        })),
        "proven": facts.proof.proven,
        "proof": masks.mask(&facts.proof.text),
        "warnings": facts.warnings.iter().map(|w| masks.mask(w)).collect::<Vec<_>>(),
        "causes": facts.failure.iter().flat_map(|failure| &failure.causes)
            .map(|cause| masks.mask(cause)).collect::<Vec<_>>(),
        "last_proven": facts.last_proven,
        "alert": (!facts.alert.check.is_empty()).then(|| json!({
            "check": facts.alert.check, "what": masks.mask(&facts.alert.what), "next": facts.alert.next,
        })),
    });
    let backup = facts.run.id.parse().ok();
    let content = Content::Event {
        title: one_line(&masks.mask(title)).into_owned(),
        text: printable(&masks.mask(&lines.join("\n")))
            .replace(LINK, link.map_or("", |link| link.url.as_str())),
        body,
    };
    OutboxItem {
        recipients: vec![Recipient {
            address: channel.host(),
            state: RecipientState::Waiting,
            reply: None,
        }],
        ..item(kind.as_str(), channel.kind.as_str(), backup, content)
    }
}
