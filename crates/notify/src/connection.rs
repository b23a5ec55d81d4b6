//! A connection to a mail server: commands, replies and their deadlines (RFC 5321).
//!
//! lettre's own connection is not used because its `message_iter` ends whatever it was given with the final dot,
//! also when reading the attachment failed, and does not give out its socket, so that sending could neither be
//! cancelled nor limited in time.

use crate::error::{Problem, SendError};
use crate::reply::{Reply, read_reply};
use crate::settings::SmtpSettings;
use crate::stream::{Stream, after};
use crate::tls;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io::{self, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// An open connection.
pub(crate) struct Connection {
    stream: BufReader<Stream>,
    /// The start of error messages.
    doing: String,
    timeout: Duration,
    time_limit: Duration,
    deadline: Instant,
    broken: bool,
}

impl Connection {
    /// Connects, without a command.
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

    /// Switches to TLS.
    pub(crate) fn encrypt(
        mut self,
        config: Arc<ClientConfig>,
        settings: &SmtpSettings,
    ) -> Result<Self, SendError> {
        let doing = format!("beginning TLS with the mail server {}", settings.server());
        // Data before the handshake comes from an attacker (RFC 3207, 6).
        if !self.stream.buffer().is_empty() {
            return Err(SendError::new(
                Problem::Tls,
                doing,
                "unencrypted data followed the answer to STARTTLS",
                "the connection may be intercepted; nothing was sent",
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

    /// Whether the connection is unusable.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// From now on errors begin with this, and all that follows has the time of one message.
    pub(crate) fn begin(&mut self, doing: String) {
        self.doing = doing;
        self.deadline = after(self.time_limit);
    }

    /// The start of error messages.
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

    /// The name for EHLO: the host's full name, else our address (RFC 5321, 4.1.4).
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

    /// What the server sent before it closed, when writing failed: often the reason.
    pub(crate) fn last_words(&mut self) -> Option<Reply> {
        self.step();
        read_reply(&mut self.stream)
            .ok()
            .filter(|reply| !reply.is_positive())
    }

    /// Closes at once; an unfinished message is not delivered.
    pub(crate) fn cut(&mut self) {
        self.broken = true;
        self.stream.get_mut().cut();
    }

    /// Sends QUIT and does not wait for the reply.
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
            "check whether it is overloaded, and whether port and kind of TLS match",
        ),
        ErrorKind::InvalidData => SendError::new(
            Problem::Lost,
            doing,
            error.to_string(),
            "check that a mail server listens there, and that port and kind of TLS match",
        ),
        _ => SendError::new(
            Problem::Lost,
            doing,
            format!("the connection was lost ({error})"),
            "try again; if it happens again, check the server's log",
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
        // The receiver is dropped after the time limit.
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

#[cfg(test)]
mod tests {
    use super::*;

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
