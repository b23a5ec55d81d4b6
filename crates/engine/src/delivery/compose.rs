//! Mails that only need to be sent: templates rendered, the archive attached if it fits, secrets masked.

use super::facts::{ArchiveFacts, Facts};
use super::message::{Composed, LINK, item};
use super::template::{Rendered, Templates, escaped};
use crate::catalog::{BackupRecord, Content, Enclosure, OutboxItem, Recipient, RecipientState};
use crate::job::{AttachWhen, MailOptions};
use hubvault_model::{BackupId, ByteSize, Masks, Warning, one_line, printable};
use hubvault_notify::encoded_attachment_size;

/// More parts than this are of no use.
const MOST_PARTS: u64 = 50;
/// What headers and the frame around the parts of a message take at most, in bytes.
const FRAME: u64 = 4 << 10;

/// Why a mail is sent without its archive, as far as is known when it is composed; it is replaced when it is sent, if
/// the archive is missing then.
pub(super) const TOO_LARGE: &str = "the mail server takes no message this large";

/// Makes mails.
pub(super) struct Composer<'a> {
    pub(super) mail: &'a MailOptions,
    /// The largest message that the server accepts, if it was asked.
    pub(super) size: Option<u64>,
    pub(super) templates: Templates,
    pub(super) masks: &'a Masks,
}

/// What of an archive is attached.
enum Attached {
    Nothing(String),
    Whole(Enclosure),
    Parts(Vec<Enclosure>),
}

impl Composer<'_> {
    /// The mails of one type; with the archive of `record` when it has one.
    pub(super) fn emails(
        &self,
        template: &str,
        facts: &Facts,
        record: Option<&BackupRecord>,
    ) -> Composed {
        let mut composed = Composed::default();
        let id = record.map(|record| record.id);
        let mut add = |facts: &Facts, enclosure: Option<Enclosure>, without: Option<&Facts>| {
            let warnings = &mut composed.warnings;
            let content = self.content(template, facts, enclosure, without, warnings);
            composed.items.push(self.item(template, id, content));
        };
        let (Some(archive), Some(record)) = (&facts.archive, record) else {
            add(facts, None, None);
            return composed;
        };
        let fetch = how_to_fetch(archive);
        let without = without(facts, &format!("Not attached: {TOO_LARGE}. {fetch}"));
        composed.attachment = match self.attached(template, facts, record, archive) {
            Attached::Nothing(why) => {
                let words = format!("Not attached: {why}. {fetch}");
                add(&self::without(facts, &words), None, None);
                format!("not attached: {why}")
            }
            Attached::Whole(whole) => {
                let facts = with(facts, 0, 0, "It is attached to this mail.");
                add(&facts, Some(whole), Some(&without));
                "attached".to_owned()
            }
            Attached::Parts(parts) => {
                let count = parts.len();
                for (part, enclosure) in (1..).zip(parts) {
                    let words = format!("Part {part} of {count} is attached to this mail.");
                    let facts = with(facts, part, count, &words);
                    add(&facts, Some(enclosure), Some(&without));
                }
                format!("attached in {count} parts")
            }
        };
        composed
    }

    /// Whether the archive is attached, whole or in parts. What the server accepts is known only when it is asked; if
    /// that is less, the mail is sent without.
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
                let why = "it is not sealed, and email.attach is sealed; set BACKUP_RECIPIENTS";
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
            return Attached::Whole(Enclosure {
                name: archive.name.clone(),
                path: record.file().map(ToOwned::to_owned).unwrap_or_default(),
                offset: 0,
                length: archive.bytes,
            });
        }
        // 57 bytes become a line of 78 (RFC 2045, 6.8).
        let each = limit / 78 * 57;
        let count = archive.bytes.checked_div(each).map_or(u64::MAX, |n| n + 1);
        if !self.mail.split || count > MOST_PARTS {
            let encoded = ByteSize(encoded_attachment_size(archive.bytes));
            return Attached::Nothing(format!(
                "it is {encoded} when encoded, and the limit of a message is {} (EMAIL_MAX_MESSAGE_MB, or the \
                 server's)",
                ByteSize(most)
            ));
        }
        let parts = (0..archive.bytes).step_by(each as usize).enumerate();
        Attached::Parts(
            parts
                .map(|(at, offset)| Enclosure {
                    name: format!("{}.part{:03}", archive.name, at + 1),
                    path: record.file().map(ToOwned::to_owned).unwrap_or_default(),
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
            let what = format!("could not use a template, used the built-in one: {problem}");
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

/// The facts of a mail with the archive, or with a part of it where it has `parts`.
fn with(facts: &Facts, part: usize, parts: usize, words: &str) -> Facts {
    let mut facts = without(facts, words);
    if let Some(archive) = &mut facts.archive {
        archive.attached = true;
        (archive.part, archive.parts) = (part, parts);
        if parts > 0 {
            let name = &archive.name;
            archive.join = format!("cat {name}.part* > {name}");
        }
    }
    facts
}

/// The facts of a mail without the archive.
fn without(facts: &Facts, words: &str) -> Facts {
    let mut facts = facts.clone();
    if let Some(archive) = &mut facts.archive {
        words.clone_into(&mut archive.attachment);
    }
    facts
}

fn how_to_fetch(archive: &ArchiveFacts) -> String {
    format!(
        "It is on the host as {path}; to fetch it: scp HOST:{path} .",
        path = archive.path
    )
}
