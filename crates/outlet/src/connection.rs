//! One conversation with a mail server: commands, replies and their deadlines (RFC 5321).
//!
//! lettre's own connection is not used because its `message_iter` ends whatever it was given with the final dot,
//! also when reading the attachment failed, and hands nobody its socket, so that a sending could neither be broken
//! off nor bounded in time.

use crate::error::{Problem, SendError};
use crate::settings::SmtpSettings;
use crate::stream::{Stream, after};
use crate::tls;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

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

    /// Whether the server refuses the message for its size: 552 (RFC 5321), 5.3.4 and 5.2.3 (RFC 3463), but not a
    /// full mailbox, which has the same code and 5.2.2.
    pub(crate) fn is_too_large(&self) -> bool {
        let detail = self.lines.first().map_or("", String::as_str);
        detail.starts_with("5.3.4")
            || detail.starts_with("5.2.3")
            || (self.code == 552 && !detail.starts_with("5.2.2"))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.lines.join(" ");
        let blank = |c: char| if c.is_control() { ' ' } else { c };
        let text: String = text.trim().chars().map(blank).take(400).collect();
        write!(f, "{} {text}", self.code)
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

/// An open connection.
pub(crate) struct Connection {
    stream: BufReader<Stream>,
    /// What errors begin with.
    doing: String,
    timeout: Duration,
    time_limit: Duration,
    deadline: Instant,
    broken: bool,
}

impl Connection {
    /// Connects, without a word said.
    pub(crate) fn open(settings: &SmtpSettings) -> Result<Self, SendError> {
        let doing = format!("connecting to the mail server {}", settings.server());
        let deadline = after(settings.time_limit);
        let addresses = resolve(settings, &doing)?;
        let stream = Stream::connect(&addresses, settings.timeout)
            .map_err(|error| unreachable(&doing, settings, &error))?;
        Ok(Self {
            stream: BufReader::new(stream),
            doing,
            timeout: settings.timeout,
            time_limit: settings.time_limit,
            deadline,
            broken: false,
        })
    }

    /// Goes on in TLS.
    pub(crate) fn encrypt(
        mut self,
        config: Arc<ClientConfig>,
        settings: &SmtpSettings,
    ) -> Result<Self, SendError> {
        let doing = format!("beginning TLS with the mail server {}", settings.server());
        // What came before the handshake is of whoever stands in between (RFC 3207, 6).
        if !self.stream.buffer().is_empty() {
            return Err(SendError::new(
                Problem::Tls,
                doing,
                "something was sent in the clear after the answer to STARTTLS",
                "somebody may stand between; nothing was sent",
            ));
        }
        let name = ServerName::try_from(settings.host.clone()).map_err(|error| {
            SendError::new(
                Problem::Settings,
                doing.clone(),
                error.to_string(),
                "write SMTP_HOST as a host name or an address",
            )
            .lasting(true)
        })?;
        self.step();
        let stream = self.stream.into_inner().encrypt(config, name);
        let stream = stream.map_err(|error| match tls::within(&error) {
            Some(tls) => {
                let (problem, next) = tls::meaning(tls);
                SendError::new(problem, doing.as_str(), tls.to_string(), next)
            }
            None => broken(&doing, &error),
        })?;
        self.stream = BufReader::new(stream);
        Ok(self)
    }

    /// Whether anything more can be said on it.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// From now on errors begin with this, and all that follows has the time of one message.
    pub(crate) fn begin(&mut self, doing: String) {
        self.doing = doing;
        self.deadline = after(self.time_limit);
    }

    /// What errors begin with.
    pub(crate) fn doing(&self) -> &str {
        &self.doing
    }

    /// Whether the other end is this machine.
    pub(crate) fn is_loopback(&mut self) -> bool {
        self.stream
            .get_mut()
            .peer()
            .is_ok_and(|peer| peer.ip().is_loopback())
    }

    /// How to call ourselves: the host's full name, else our address (RFC 5321, 4.1.4).
    pub(crate) fn own_name(&mut self) -> String {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
        if host.trim_matches('.').contains('.') && host.chars().all(plain) {
            return host.into_owned();
        }
        match self.stream.get_mut().local() {
            Ok(SocketAddr::V4(address)) => format!("[{}]", address.ip()),
            Ok(SocketAddr::V6(address)) => format!("[IPv6:{}]", address.ip()),
            Err(_) => "[127.0.0.1]".to_owned(),
        }
    }

    /// Sends one command and waits for its reply, whichever it is.
    pub(crate) fn command(&mut self, line: &str) -> Result<Reply, SendError> {
        self.write(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.step();
        let stream = self.stream.get_mut();
        let written = stream.write_all(bytes).and_then(|()| stream.flush());
        written.map_err(|error| self.fail(&error))
    }

    /// Waits for a reply.
    pub(crate) fn reply(&mut self) -> Result<Reply, SendError> {
        self.step();
        let reply = read_reply(&mut self.stream).map_err(|error| self.fail(&error))?;
        // RFC 5321, 3.8: the server closes after it.
        if reply.code == 421 {
            self.cut();
        }
        Ok(reply)
    }

    /// What the server said before it closed, when writing to it failed: often the reason.
    pub(crate) fn last_words(&mut self) -> Option<Reply> {
        self.step();
        read_reply(&mut self.stream)
            .ok()
            .filter(|reply| !reply.is_positive())
    }

    /// Ends it at once; what was begun is not delivered.
    pub(crate) fn cut(&mut self) {
        self.broken = true;
        self.stream.get_mut().cut();
    }

    /// Says goodbye and does not insist on an answer.
    pub(crate) fn quit(&mut self) {
        if !self.broken {
            self.deadline = after(self.timeout.min(Duration::from_secs(5)));
            let _ = self.command("QUIT");
        }
    }

    /// The next call has the time of one answer, within what is left for the whole.
    fn step(&mut self) {
        let until = after(self.timeout).min(self.deadline);
        self.stream.get_mut().until(until);
    }

    fn fail(&mut self, error: &io::Error) -> SendError {
        self.broken = true;
        if error.kind() == ErrorKind::TimedOut && Instant::now() >= self.deadline {
            return SendError::new(
                Problem::Silent,
                self.doing.as_str(),
                format!("it took longer than {} s", self.time_limit.as_secs_f32()),
                "try again later, or allow more time for a message",
            );
        }
        broken(&self.doing, error)
    }
}

fn broken(doing: &str, error: &io::Error) -> SendError {
    match error.kind() {
        ErrorKind::TimedOut => SendError::new(
            Problem::Silent,
            doing,
            "the server does not answer",
            "see whether it is overloaded, and whether port and kind of TLS fit together",
        ),
        ErrorKind::InvalidData => SendError::new(
            Problem::Lost,
            doing,
            error.to_string(),
            "check that a mail server listens there, and that port and kind of TLS fit together",
        ),
        _ => SendError::new(
            Problem::Lost,
            doing,
            format!("the connection was lost ({error})"),
            "try again; if it stays so, see the server's log",
        ),
    }
}

/// Looks the host up, in a thread of its own because the system's resolver takes no time limit.
fn resolve(settings: &SmtpSettings, doing: &str) -> Result<Vec<SocketAddr>, SendError> {
    let unknown = |why: String| {
        SendError::new(
            Problem::HostUnknown,
            doing,
            format!("the host name cannot be looked up ({why})"),
            "check SMTP_HOST and this machine's name servers",
        )
    };
    let (host, port) = (settings.host.clone(), settings.port);
    let (answer, found) = mpsc::channel();
    thread::spawn(move || {
        let addresses = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        // Nobody waits any more when the time is over.
        let _ = answer.send(addresses);
    });
    match found.recv_timeout(settings.timeout) {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(unknown("no address".to_owned())),
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(unknown(error.to_string())),
        Err(_) => Err(unknown("no answer".to_owned())),
    }
}

fn unreachable(doing: &str, settings: &SmtpSettings, error: &io::Error) -> SendError {
    let (problem, what, next) = match error.kind() {
        ErrorKind::ConnectionRefused => (
            Problem::ConnectionRefused,
            format!("nothing listens there ({error})"),
            "check SMTP_PORT, and that the server runs",
        ),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => (
            Problem::ConnectTimedOut,
            format!("no answer within {} s", settings.timeout.as_secs_f32()),
            "check SMTP_HOST and SMTP_PORT; a firewall, or a provider that closes port 25, does this",
        ),
        _ => (
            Problem::Unreachable,
            error.to_string(),
            "check SMTP_HOST and this machine's network",
        ),
    };
    SendError::new(problem, doing, what, next)
}

/// Reads one reply of any number of lines (RFC 5321, 4.2.1).
fn read_reply(stream: &mut impl BufRead) -> io::Result<Reply> {
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
            ("554 5.7.1 no", false),
        ] {
            let reply = reply(&format!("{text}\r\n")).unwrap();
            assert_eq!(reply.is_too_large(), large, "{text}");
        }
    }

    #[test]
    fn the_ways_of_not_connecting_are_told_apart() {
        let settings = SmtpSettings::to("mail.hub.example", 587);
        for (kind, problem) in [
            (ErrorKind::ConnectionRefused, Problem::ConnectionRefused),
            (ErrorKind::TimedOut, Problem::ConnectTimedOut),
            (ErrorKind::NetworkUnreachable, Problem::Unreachable),
        ] {
            let error = unreachable("connecting", &settings, &io::Error::from(kind));
            assert_eq!(error.problem(), problem);
            assert!(!error.is_permanent());
        }
    }
}
