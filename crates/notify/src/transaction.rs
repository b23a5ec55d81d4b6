//! One message over an open connection: MAIL, a RCPT for each, DATA (RFC 5321, 3.3).

use crate::attachment::Lines;
use crate::error::{Problem, Refused, SendError};
use crate::message::{Composed, Email, is_ascii, mailbox};
use crate::reply::{Reply, is_about_the_domain};
use crate::smtp::Mailer;

/// A message that the server accepted.
#[derive(Debug)]
pub struct Sent {
    /// The server's reply, often with its own id.
    pub reply: String,
    /// Refused recipients; all others have it.
    pub refused: Vec<Refused>,
}

impl Mailer {
    /// Sends a message to these recipients; their addresses may have names, which are not used.
    ///
    /// One refused recipient does not stop the others. After a refusal the connection can be used for the next
    /// message; after a lost connection, a time-out or trouble with the attachment it cannot, and every further
    /// call says so.
    pub fn send(&mut self, email: &Email, to: &[String]) -> Result<Sent, SendError> {
        if self.connection.is_broken() {
            return Err(SendError::new(
                Problem::Lost,
                format!("sending mail through {}", self.server),
                "the connection has ended",
                "connect again",
            ));
        }
        self.connection
            .begin(format!("sending mail through {}", self.server));
        let composed = email.compose(self.offers.utf8)?;
        if let Some(limit) = self.max_size().filter(|limit| composed.size > *limit) {
            let what = format!(
                "the message has {} bytes, the server accepts {limit}",
                composed.size
            );
            return Err(self.too_large(what));
        }
        // Before the first command, so that a missing attachment does not reach the server.
        let lines = email.attachment.as_ref().map(Lines::open).transpose()?;
        self.sender(email, composed.size, to)?;
        let refused = self.recipients(to)?;
        let reply = self.data(&composed, lines)?;
        Ok(Sent {
            reply: reply.to_string(),
            refused,
        })
    }

    fn sender(&mut self, email: &Email, size: u64, to: &[String]) -> Result<(), SendError> {
        let from = mailbox(&email.from)?;
        let mut command = format!("MAIL FROM:<{}>", from.email);
        if self.offers.size {
            command += &format!(" SIZE={size}");
        }
        let beyond = |address: &String| mailbox(address).is_ok_and(|to| !is_ascii(&to));
        if self.offers.utf8 && (!is_ascii(&from) || to.iter().chain(&email.to).any(beyond)) {
            command += " SMTPUTF8";
        } else if !is_ascii(&from) {
            let what = format!("{NO_UTF8}, and the sender {} has them", from.email);
            let next = "send from an address in ASCII";
            return Err(self.error(Problem::Sender, what, next).lasting(true));
        }
        let reply = self.connection.command(&command)?;
        if reply.is_positive() {
            return Ok(());
        }
        if reply.is_too_large() {
            return Err(self.too_large(format!("the server answers {reply}")));
        }
        let what = format!("the server refuses the sender {}: {reply}", from.email);
        if is_about_the_domain(&reply.to_string()) {
            return Err(self.about_the_domain(what, reply.is_permanent()));
        }
        // 530: authentication required (RFC 4954, 6).
        Err(match reply.code {
            530 => self
                .error(Problem::Authentication, what, "set SMTP_USER and SMTP_PASS")
                .lasting(true),
            500.. => self
                .error(
                    Problem::Sender,
                    what,
                    "send from an address that this login may use",
                )
                .lasting(true),
            _ => self.error(Problem::Busy, what, "try again later"),
        })
    }

    /// Sends the recipients; returns the refused ones, or an error when none is left.
    fn recipients(&mut self, to: &[String]) -> Result<Vec<Refused>, SendError> {
        let mut refused = Vec::new();
        for address in to {
            if let Some((permanent, reply)) = self.recipient(address)? {
                refused.push(Refused {
                    address: address.clone(),
                    permanent,
                    reply,
                });
            }
            if self.connection.is_broken() {
                let what = refused.last().map_or("", |last| &last.reply);
                let what = format!("the server ends the connection: {what}");
                return Err(self.error(Problem::Busy, what, "try again later"));
            }
        }
        if refused.len() < to.len() {
            return Ok(refused);
        }
        self.reset();
        let told: Vec<String> = refused
            .iter()
            .map(|refused| format!("{} ({})", refused.address, refused.reply))
            .collect();
        let what = match told.as_slice() {
            [] => "there is no recipient".to_owned(),
            told => format!("the server refuses every recipient: {}", told.join(", ")),
        };
        let permanent = refused.iter().all(|refused| refused.permanent);
        let next = if refused.iter().any(|it| is_about_the_domain(&it.reply)) {
            DOMAIN
        } else if permanent {
            "check the addresses in ADMIN_EMAILS"
        } else {
            "try again later, and check the addresses in ADMIN_EMAILS"
        };
        Err(self
            .error(Problem::Recipients, what, next)
            .lasting(permanent)
            .with_refused(refused))
    }

    /// Sends one recipient; returns its refusal, if any, and whether it is permanent.
    fn recipient(&mut self, address: &str) -> Result<Option<(bool, String)>, SendError> {
        let to = match mailbox(address) {
            Ok(to) => to,
            Err(error) => return Ok(Some((true, error.to_string()))),
        };
        if !is_ascii(&to) && !self.offers.utf8 {
            return Ok(Some((true, NO_UTF8.to_owned())));
        }
        let reply = self
            .connection
            .command(&format!("RCPT TO:<{}>", to.email))?;
        if reply.is_positive() {
            return Ok(None);
        }
        Ok(Some((reply.is_permanent(), reply.to_string())))
    }

    fn data(&mut self, composed: &Composed, lines: Option<Lines>) -> Result<Reply, SendError> {
        let reply = self.connection.command("DATA")?;
        if reply.code != 354 {
            self.reset();
            return Err(self.refusal(&reply));
        }
        self.content(&stuffed(&composed.head))?;
        if let Some(mut lines) = lines {
            loop {
                match lines.next() {
                    // base64 has no dots to double.
                    Ok(Some(piece)) => self.content(piece)?,
                    Ok(None) => break,
                    // The final dot would make a whole message of what was sent so far.
                    Err(error) => {
                        self.connection.cut();
                        return Err(error);
                    }
                }
            }
        }
        self.content(&stuffed(&composed.tail))?;
        // From here on the server may have it, whatever the reply.
        let reply = self.connection.command(".").map_err(SendError::in_doubt)?;
        if reply.is_positive() {
            return Ok(reply);
        }
        Err(self.refusal(&reply))
    }

    /// Sends a piece of the message; a server that hangs up is asked why.
    fn content(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let Err(error) = self.connection.write(bytes) else {
            return Ok(());
        };
        let reply = match error.problem() {
            Problem::Lost => self.connection.last_words(),
            _ => None,
        };
        self.connection.cut();
        Err(reply.map_or(error, |reply| self.refusal(&reply)))
    }

    /// Resets the transaction, so that the next message can follow.
    fn reset(&mut self) {
        let forgotten = self.connection.is_broken()
            || self
                .connection
                .command("RSET")
                .is_ok_and(|reply| reply.is_positive());
        if !forgotten {
            self.connection.cut();
        }
    }

    fn refusal(&self, reply: &Reply) -> SendError {
        let what = format!("the server answers {reply}");
        if reply.is_too_large() {
            return self.too_large(what);
        }
        if is_about_the_domain(&reply.to_string()) {
            return self.about_the_domain(what, reply.is_permanent());
        }
        if reply.is_permanent() {
            let next = "check the mail server's log; a filter may have rejected the content";
            return self.error(Problem::Rejected, what, next).lasting(true);
        }
        self.error(Problem::Busy, what, "try again later")
    }

    fn about_the_domain(&self, what: String, permanent: bool) -> SendError {
        let problem = if permanent {
            Problem::Sender
        } else {
            Problem::Busy
        };
        self.error(problem, what, DOMAIN).lasting(permanent)
    }

    fn too_large(&self, what: String) -> SendError {
        let next =
            "send it without the attachment, in parts, or through a server that accepts more";
        self.error(Problem::TooLarge, what, next).lasting(true)
    }

    fn error(&self, problem: Problem, what: String, next: &str) -> SendError {
        SendError::new(problem, self.connection.doing(), what, next)
    }
}

const DOMAIN: &str = "check SPF, DKIM and DMARC of the sender's domain (SMTP_FROM), and send through a server that may send for it";
const NO_UTF8: &str = "the server accepts only ASCII addresses (no SMTPUTF8)";

/// A dot at the beginning of a line is doubled (RFC 5321, 4.5.2). `bytes` begin and end with whole lines.
fn stuffed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled_only_where_a_line_begins() {
        let text = b".\r\na.b\r\n..c\r\n\r\n.";
        assert_eq!(stuffed(text), b"..\r\na.b\r\n...c\r\n\r\n..");
    }
}
