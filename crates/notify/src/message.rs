//! A message and its encoding.

use crate::attachment::{Attachment, encoded_attachment_size};
use crate::error::{Problem, SendError};
use lettre::address::Envelope;
use lettre::message::header::{
    ContentDisposition, ContentTransferEncoding, ContentType, HeaderName, HeaderValue,
};
use lettre::message::{Body, Mailbox, Message, MultiPart, SinglePart};
use std::time::SystemTime;

/// Placeholder of the attachment while the message is composed; a whole line of its own.
const PLACE: &[u8] = b"=== here the attachment goes ===";

/// A mail, independent of its recipients.
#[derive(Clone, Debug)]
pub struct Email {
    /// Who sends it, as `backup@hub.example` or `hubvault <backup@hub.example>`; also the envelope's sender.
    pub from: String,
    /// The recipients in the header; those of the envelope are given when it is sent.
    pub to: Vec<String>,
    /// The subject, in any language.
    pub subject: String,
    /// The id without angle brackets (`<id>@<host>`), the same at every try.
    pub message_id: String,
    /// The id, without angle brackets, of the message that this one belongs under.
    pub in_thread: Option<String>,
    /// The list id, without angle brackets, as in RFC 2919: `hub.hubvault.hub.example`.
    pub list_id: String,
    /// When it was written.
    pub date: jiff::Timestamp,
    /// The plain text.
    pub text: String,
    /// The same in HTML.
    pub html: String,
    /// The attachment.
    pub attachment: Option<Attachment>,
}

/// A message in two halves, before and after its attachment.
pub(crate) struct Composed {
    /// What comes before the attachment; all of it where there is none. Ends with CRLF.
    pub(crate) head: Vec<u8>,
    /// What comes after it.
    pub(crate) tail: Vec<u8>,
    /// Bytes of the whole.
    pub(crate) size: u64,
}

impl Email {
    /// How many bytes the message has, as RFC 1870 counts them: with headers, base64 and line ends, without the
    /// dots that SMTP doubles. The attachment is not read for it.
    pub fn encoded_size(&self) -> Result<u64, SendError> {
        Ok(self.compose(true)?.size)
    }

    /// The message in two halves. Without `utf8` (RFC 6531), addresses beyond ASCII are left out of the header.
    pub(crate) fn compose(&self, utf8: bool) -> Result<Composed, SendError> {
        let failed = |why: &dyn std::fmt::Display| {
            SendError::new(
                Problem::Email,
                format!(
                    "putting the message \"{}\" together",
                    one_line(&self.subject)
                ),
                why.to_string(),
                "this message cannot be sent as it is",
            )
            .lasting(true)
        };
        let message = self.message(utf8)?;
        let message = match &self.attachment {
            None => message.multipart(self.alternatives()),
            Some(attachment) => {
                let kind = ContentType::parse(&attachment.content_type).map_err(|e| failed(&e))?;
                let encoding = ContentTransferEncoding::Base64;
                let part = SinglePart::builder()
                    .header(kind)
                    .header(ContentDisposition::attachment(&one_line(&attachment.name)))
                    .body(Body::dangerous_pre_encoded(PLACE.to_vec(), encoding));
                let parts = MultiPart::mixed().multipart(self.alternatives());
                message.multipart(parts.singlepart(part))
            }
        };
        let mut head = message.map_err(|e| failed(&e))?.formatted();
        let mut tail = Vec::new();
        let mut size = 0;
        if let Some(attachment) = &self.attachment {
            // The attachment is the last part, so the last such line is the place.
            let place = head
                .windows(PLACE.len())
                .rposition(|window| window == PLACE)
                .ok_or_else(|| failed(&"the position of the attachment was not found"))?;
            // The attachment's last line brings its own end.
            tail = head.split_off(place + PLACE.len() + 2);
            head.truncate(place);
            size = encoded_attachment_size(attachment.length);
        }
        size += (head.len() + tail.len()) as u64;
        Ok(Composed { head, tail, size })
    }

    fn message(&self, utf8: bool) -> Result<lettre::message::MessageBuilder, SendError> {
        let from = mailbox(&self.from)?;
        // hubvault sets the recipients itself; lettre only requires one.
        let envelope = Envelope::new(None, vec![from.email.clone()])
            .map_err(|error| unusable(&self.from, &error))?;
        let fixed = |name: &'static str, value: String| {
            HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
        };
        let id = |id: &str| format!("<{}>", one_line(id));
        let mut message = Message::builder()
            .envelope(envelope)
            .from(from)
            .subject(one_line(&self.subject))
            .message_id(Some(id(&self.message_id)))
            .date(SystemTime::from(self.date))
            // RFC 3834, 5: prevents automatic replies.
            .raw_header(fixed("Auto-Submitted", "auto-generated".to_owned()))
            .raw_header(fixed("List-Id", id(&self.list_id)));
        for to in &self.to {
            let to = mailbox(to)?;
            if utf8 || is_ascii(&to) {
                message = message.to(to);
            }
        }
        if let Some(parent) = &self.in_thread {
            message = message.in_reply_to(id(parent)).references(id(parent));
        }
        Ok(message)
    }

    fn alternatives(&self) -> MultiPart {
        MultiPart::alternative()
            .singlepart(SinglePart::plain(clean_lines(&self.text)))
            .singlepart(SinglePart::html(clean_lines(&self.html)))
    }
}

/// An address of a setting, with or without a name.
pub(crate) fn mailbox(address: &str) -> Result<Mailbox, SendError> {
    address
        .trim()
        .parse()
        .map_err(|error: lettre::address::AddressError| unusable(address, &error))
}

fn unusable(address: &str, error: &dyn std::fmt::Display) -> SendError {
    SendError::new(
        Problem::Email,
        format!("reading the mail address {address:?}"),
        error.to_string(),
        "write it as name@host.example",
    )
    .lasting(true)
}

/// Whether an address can go to a server without SMTPUTF8; names can always be encoded.
pub(crate) fn is_ascii(mailbox: &Mailbox) -> bool {
    let address: &str = mailbox.email.as_ref();
    address.is_ascii()
}

/// A header's value: one line, so that nothing in it becomes a header of its own.
pub(crate) fn one_line(text: &str) -> String {
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    text.chars()
        .map(blank)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Text with plain line ends and without NUL: a lone CR is refused by careful servers.
fn clean_lines(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email() -> Email {
        Email {
            from: "hubvault <backup@hub.example>".to_owned(),
            to: vec!["admin@hub.example".to_owned()],
            subject: "all is well".to_owned(),
            message_id: "1@hub.example".to_owned(),
            in_thread: None,
            list_id: "hub.hubvault".to_owned(),
            date: jiff::Timestamp::UNIX_EPOCH,
            text: "text".to_owned(),
            html: "<p>html</p>".to_owned(),
            attachment: None,
        }
    }

    fn head(email: &Email, utf8: bool) -> String {
        String::from_utf8(email.compose(utf8).unwrap().head).unwrap()
    }

    #[test]
    fn nothing_in_a_value_becomes_a_header_of_its_own() {
        let email = Email {
            subject: "well\r\nBcc: thief@evil.example\r\n\r\nbody".to_owned(),
            message_id: "1\r\nX-One: 1".to_owned(),
            list_id: "a\nX-Two: 2".to_owned(),
            in_thread: Some("b\r\nX-Three: 3".to_owned()),
            ..email()
        };
        let text = head(&email, true);
        let headers = text.split("\r\n\r\n").next().unwrap();
        for line in headers.lines() {
            for name in ["Bcc", "X-One", "X-Two", "X-Three", "body"] {
                assert!(!line.starts_with(name), "{line}");
            }
        }
    }

    #[test]
    fn text_that_looks_like_the_place_of_the_attachment_stays_text() {
        let place = String::from_utf8(PLACE.to_vec()).unwrap();
        let email = Email {
            text: format!("a\n{place}\nb"),
            html: place.clone(),
            attachment: Some(Attachment {
                name: "a.gz".to_owned(),
                content_type: "application/gzip".to_owned(),
                path: std::path::PathBuf::from("/nowhere"),
                offset: 0,
                length: 100,
            }),
            ..email()
        };
        let composed = email.compose(true).unwrap();
        let text = String::from_utf8(composed.head).unwrap();
        assert_eq!(text.matches(&place).count(), 2);
        assert!(text.ends_with("\r\n\r\n"));
        assert!(composed.tail.starts_with(b"--"));
        assert!(composed.tail.ends_with(b"--\r\n"));
    }

    #[test]
    fn lone_carriage_returns_become_line_ends() {
        let email = Email {
            text: "10 %\r20 %\r\ndone\0".to_owned(),
            ..email()
        };
        let text = head(&email, true);
        assert!(text.contains("10 %\r\n20 %\r\ndone"));
        assert!(!text.replace("\r\n", "").contains('\r'));
    }

    #[test]
    fn an_address_beyond_ascii_is_left_out_of_the_header_where_the_server_cannot_take_it() {
        let email = Email {
            to: vec![
                "admin@hub.example".to_owned(),
                "jörg@hub.example".to_owned(),
            ],
            ..email()
        };
        assert!(head(&email, true).contains("jörg@hub.example"));
        assert!(head(&email, false).is_ascii());
    }

    #[test]
    fn a_malformed_address_is_named() {
        let email = Email {
            from: "nobody".to_owned(),
            ..email()
        };
        let error = email.encoded_size().unwrap_err();
        assert!(error.is_permanent());
        assert!(error.to_string().contains("\"nobody\""), "{error}");
    }
}
