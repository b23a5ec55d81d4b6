//! A recorded message as it is sent now: to whom, and with what attached.

use super::compose::{TOO_LARGE, domain, word};
use super::template::escaped;
use crate::catalog::{Content, Enclosure, OutboxItem, RecipientState};
use crate::job::{AttachWhen, MailOptions};
use hubvault_notify::{Attachment, Email};

/// Queued messages follow the current settings: who is no longer an administrator gets nothing, and no archive is
/// attached that may not be any more.
pub(super) fn obey(item: &mut OutboxItem, mail: &MailOptions) {
    for recipient in &mut item.recipients {
        if recipient.state == RecipientState::Waiting && !mail.to.contains(&recipient.address) {
            recipient.state = RecipientState::Refused;
            recipient.reply = Some("no longer among the administrators (email.to)".to_owned());
        }
    }
    let Content::Email {
        enclosure: Some(enclosure),
        ..
    } = &item.content
    else {
        return;
    };
    let forbidden = match mail.attach {
        AttachWhen::Always => false,
        AttachWhen::Sealed => !enclosure.name.contains(".age"),
        AttachWhen::Never => true,
    };
    if forbidden {
        leave_out(item, "email.attach does not allow it any more");
    }
}

/// Whether the file to attach is missing: retention may have removed it while the mail server was down.
pub(super) fn is_missing(item: &OutboxItem) -> bool {
    let Content::Email { enclosure, .. } = &item.content else {
        return false;
    };
    let path = enclosure.as_ref().map(|enclosure| &enclosure.path);
    path.is_some_and(|path| matches!(path.try_exists(), Ok(false)))
}

/// Takes the attachment off, and says why; false when there is none.
pub(super) fn leave_out(item: &mut OutboxItem, why: &str) -> bool {
    let Content::Email {
        text,
        html,
        enclosure,
        without,
        left_out,
        ..
    } = &mut item.content
    else {
        return false;
    };
    let Some((plain, rich)) = without.take() else {
        return false;
    };
    *text = plain.replace(TOO_LARGE, why);
    *html = rich.replace(TOO_LARGE, &escaped(why));
    *enclosure = None;
    *left_out = Some(why.to_owned());
    true
}

/// The mail, with the same Message-ID at every try, so that a second copy is not taken for a second
/// message (RFC 5322, 3.6.4).
pub(super) fn compose(item: &OutboxItem, mail: &MailOptions) -> Email {
    let (subject, text, html, enclosure, thread) = match &item.content {
        Content::Email {
            subject,
            text,
            html,
            enclosure,
            thread,
            ..
        } => (subject, text, html, enclosure.as_ref(), Some(thread)),
        Content::Event { title, text, .. } => (title, text, text, None, None),
    };
    let domain = domain(&mail.from);
    Email {
        from: mail.from.clone(),
        to: item.recipients.iter().map(|r| r.address.clone()).collect(),
        subject: subject.clone(),
        message_id: format!("{}@{domain}", item.id),
        in_thread: thread.cloned(),
        list_id: format!("{}.hubvault.{domain}", word(&item.kind)),
        date: item.created_at,
        text: text.clone(),
        html: html.clone(),
        attachment: enclosure.map(attachment),
    }
}

fn attachment(enclosure: &Enclosure) -> Attachment {
    let ending = |ending: &str| enclosure.name.ends_with(ending);
    let content_type = if ending(".gz") {
        "application/gzip"
    } else if ending(".zst") {
        "application/zstd"
    } else {
        "application/octet-stream"
    };
    Attachment {
        name: enclosure.name.clone(),
        content_type: content_type.to_owned(),
        path: enclosure.path.clone(),
        offset: enclosure.offset,
        length: enclosure.length,
    }
}
