//! What a mail server says, and what it says it can do.

use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read};

/// A reply may have this many bytes; RFC 5321 (4.5.3.1.5) knows 512 a line.
const REPLY_BYTES: u64 = 64 << 10;

/// What the server said.
#[derive(Debug)]
pub(crate) struct Reply {
    /// 200 to 559.
    pub(crate) code: u16,
    /// The text of each line, without code and line end.
    pub(crate) lines: Vec<String>,
}

impl Reply {
    pub(crate) fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    pub(crate) fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// Whether the server refuses the message for its size: 5.3.4 and 5.2.3 (RFC 3463), or 552 (RFC 5321) without such a
    /// code. Servers also answer 552 for a full mailbox (5.2.2) and for a forbidden attachment (5.7.0).
    pub(crate) fn is_too_large(&self) -> bool {
        let detail = self.lines.first().map_or("", String::as_str);
        detail.starts_with("5.3.4")
            || detail.starts_with("5.2.3")
            || (self.code == 552 && !detail.starts_with("5."))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.lines.join(" ");
        let blank = |c: char| if c.is_control() { ' ' } else { c };
        let text: String = text.trim().chars().map(blank).collect();
        write!(f, "{} {}", self.code, whole_words(&text))
    }
}

/// Whether a reply, code first, is about the domain of the sender: SPF, DKIM, DMARC, its reverse address or MX
/// (RFC 7372 and RFC 7505: X.7.20 to X.7.27).
pub(crate) fn is_about_the_domain(reply: &str) -> bool {
    let code = reply.split(' ').nth(1).unwrap_or_default();
    let detail = code.get(1..).and_then(|code| code.strip_prefix(".7."));
    let detail = detail.and_then(|detail| detail.parse::<u32>().ok());
    let named = ["SPF", "DKIM", "DMARC"];
    detail.is_some_and(|detail| (20..=27).contains(&detail))
        || reply
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| named.iter().any(|name| word.eq_ignore_ascii_case(name)))
}

/// The first words of a text, at most 400 messages. Half a word could be half a password, which nobody would know for one.
fn whole_words(text: &str) -> &str {
    match text.char_indices().nth(400) {
        None => text,
        Some((end, _)) => text[..end]
            .rsplit_once(' ')
            .map_or("...", |(first, _)| first),
    }
}

/// What the server says it can do (RFC 5321, 4.1.1.1).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Offers {
    /// Whether SIZE is known at all, so that MAIL FROM may say it (RFC 1870).
    pub(crate) size: bool,
    /// The largest message, in bytes.
    pub(crate) max_size: Option<u64>,
    pub(crate) starttls: bool,
    pub(crate) utf8: bool,
    /// Ways to log in, in capitals.
    pub(crate) auth: Vec<String>,
}

impl Offers {
    pub(crate) fn read(reply: &Reply) -> Self {
        let mut offers = Self::default();
        // The first line greets.
        for line in reply.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            // Old servers say AUTH=LOGIN.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            match words.next() {
                Some("SIZE") => {
                    offers.size = true;
                    let size = words.next().and_then(|size| size.parse().ok());
                    // RFC 1870, 4: zero means no fixed limit.
                    offers.max_size = size.filter(|size| *size > 0);
                }
                Some("STARTTLS") => offers.starttls = true,
                Some("SMTPUTF8") => offers.utf8 = true,
                Some("AUTH") => offers.auth.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        offers
    }
}

/// Reads one reply of any number of lines (RFC 5321, 4.2.1).
pub(crate) fn read_reply(stream: &mut impl BufRead) -> io::Result<Reply> {
    let foreign = || io::Error::new(ErrorKind::InvalidData, "the answer is not one of SMTP");
    let mut lines = Vec::new();
    let mut limited = stream.take(REPLY_BYTES);
    let mut first = None;
    loop {
        let mut line = Vec::new();
        limited.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            let full = limited.limit() == 0;
            return Err(if full {
                foreign()
            } else {
                ErrorKind::UnexpectedEof.into()
            });
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches(['\r', '\n']);
        let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
        let code = code.filter(|code| (200..600).contains(code));
        let code = code.ok_or_else(foreign)?;
        if *first.get_or_insert(code) != code {
            return Err(foreign());
        }
        let rest = line.get(3..).unwrap_or_default();
        lines.push(rest.get(1..).unwrap_or_default().to_owned());
        if !rest.starts_with('-') {
            return Ok(Reply { code, lines });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> io::Result<Reply> {
        read_reply(&mut text.as_bytes())
    }

    #[test]
    fn a_reply_of_several_lines_is_one_reply() {
        let reply = reply("250-hub\r\n250-SIZE 35882577\r\n250 AUTH PLAIN\r\n220 next").unwrap();
        assert_eq!(reply.code, 250);
        assert_eq!(reply.lines, ["hub", "SIZE 35882577", "AUTH PLAIN"]);
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for text in [
            "HTTP/1.1 400 Bad\r\n",
            "25\r\n",
            "2x0 ok\r\n",
            "250-a\r\n251 b\r\n",
            "999 x\r\n",
        ] {
            assert_eq!(
                reply(text).unwrap_err().kind(),
                ErrorKind::InvalidData,
                "{text}"
            );
        }
        for text in ["", "250 no end", "250-more\r\n"] {
            assert_eq!(
                reply(text).unwrap_err().kind(),
                ErrorKind::UnexpectedEof,
                "{text}"
            );
        }
        let endless = format!("250{}", "-".repeat(100 << 10));
        assert_eq!(reply(&endless).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn sizes_are_read_as_rfc_1870_means_them() {
        for (line, known, limit) in [
            ("SIZE 35882577", true, Some(35_882_577)),
            ("size 10", true, Some(10)),
            ("SIZE 0", true, None),
            ("SIZE", true, None),
            ("PIPELINING", false, None),
        ] {
            let reply = reply(&format!("250-SIZE 5\r\n250 {line}\r\n")).unwrap();
            let offers = Offers::read(&reply);
            assert_eq!((offers.size, offers.max_size), (known, limit), "{line}");
        }
    }

    #[test]
    fn a_full_mailbox_is_not_a_large_message() {
        for (text, large) in [
            ("552 message size exceeds fixed maximum", true),
            ("552 5.3.4 too big", true),
            ("554 5.3.4 too big", true),
            ("552 5.2.2 mailbox full", false),
            (
                "552 5.7.0 blocked because its content presents a potential security issue",
                false,
            ),
            ("554 5.7.1 no", false),
        ] {
            let reply = reply(&format!("{text}\r\n")).unwrap();
            assert_eq!(reply.is_too_large(), large, "{text}");
        }
    }

    #[test]
    fn replies_about_the_senders_domain_are_told_from_others() {
        for text in [
            "550 5.7.26 unauthenticated sender",
            "550 5.7.23 rejected",
            "421 4.7.26 rate limited",
            "550 5.7.1 message failed DMARC checks",
            "550 SPF: not permitted",
        ] {
            assert!(is_about_the_domain(text), "{text}");
        }
        for text in [
            "554 5.7.1 attachment type",
            "550 5.7.9 x",
            "550 5.7.2",
            "552",
        ] {
            assert!(!is_about_the_domain(text), "{text}");
        }
    }
}
