//! The start of the protocol over a blocking socket: login, statements without a result
//! (`PostgreSQL` manual, "Message Flow").

use crate::connect::open::{Failure, classify, password, tls_mode};
use crate::connect::settings::{ConnectSettings, SslMode};
use crate::connect::socket::{Socket, unanswered};
use crate::error::PgError;
use crate::message::as_text;
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorFields, Message};
use postgres_protocol::message::frontend;
use secrecy::{ExposeSecret, SecretString};
use std::io::{self, Read, Write};

/// An error of the server, or of the connection.
#[derive(Debug)]
pub(crate) enum WireError {
    /// The server's message.
    Server { code: String, text: String },
    /// The connection.
    Io(io::Error),
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl WireError {
    /// From the fields of an error message ("Error and Notice Message Fields").
    pub(crate) fn said(mut fields: ErrorFields<'_>) -> Self {
        let (mut code, mut message) = (String::new(), String::new());
        let (mut detail, mut hint, mut place) = (None, None, None);
        while let Ok(Some(field)) = fields.next() {
            let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => code = value,
                b'M' => message = value,
                b'D' => detail = Some(value),
                b'H' => hint = Some(value),
                b'W' => place = Some(value),
                _ => {}
            }
        }
        let more = [detail.as_deref(), hint.as_deref(), place.as_deref()];
        let text = as_text(&message, &code, &more);
        Self::Server { code, text }
    }

    /// As an error of what was being done.
    pub(crate) fn during(self, doing: &str, cancelled: bool) -> PgError {
        match self {
            Self::Server { code, text } => PgError::classify(doing, Some(&code), text, cancelled),
            Self::Io(error) => PgError::classify(doing, None, error.to_string(), cancelled),
        }
    }
}

fn broken(what: &str) -> WireError {
    WireError::Io(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()))
}

/// A connection that sends and receives protocol messages.
pub(crate) struct Wire {
    socket: Socket,
    /// Bytes that were read and not yet parsed.
    input: BytesMut,
    key: Option<(i32, i32)>,
}

impl Wire {
    /// Connects and logs in.
    pub(crate) fn open(settings: &ConnectSettings) -> Result<Self, Failure> {
        let password = password(settings);
        let log_in = |mode| {
            let socket = Socket::open(settings, mode)?;
            Self::log_in(socket, settings, password.as_ref()).map_err(|error| match error {
                WireError::Server { code, text } => classify(settings, Some(&code), text),
                WireError::Io(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    unanswered(settings, &error)
                }
                WireError::Io(error) => classify(settings, None, error.to_string()),
            })
        };
        match tls_mode(settings) {
            // Plain first, TLS when the server insists.
            SslMode::Allow => log_in(SslMode::Disable).or_else(|_| log_in(SslMode::Require)),
            mode => log_in(mode),
        }
    }

    fn log_in(
        socket: Socket,
        settings: &ConnectSettings,
        password: Option<&SecretString>,
    ) -> Result<Self, WireError> {
        let mut wire = Self {
            socket,
            input: BytesMut::with_capacity(8 << 10),
            key: None,
        };
        let parameters = [
            ("user", settings.user.as_str()),
            ("database", &settings.dbname),
            ("client_encoding", "UTF8"),
            ("application_name", &settings.application_name),
        ];
        wire.send(|out| frontend::startup_message(parameters, out))?;
        wire.authenticate(&settings.user, password)?;
        loop {
            match wire.message()? {
                Message::BackendKeyData(body) => {
                    wire.key = Some((body.process_id(), body.secret_key()));
                }
                Message::ReadyForQuery(_) => {
                    wire.socket.wait_as_long_as_it_takes()?;
                    return Ok(wire);
                }
                _ => {}
            }
        }
    }

    fn authenticate(
        &mut self,
        user: &str,
        password: Option<&SecretString>,
    ) -> Result<(), WireError> {
        let secret = || {
            password
                .map(|password| password.expose_secret().as_bytes())
                .ok_or_else(|| broken("the server asks for a password and none is set"))
        };
        loop {
            match self.message()? {
                Message::AuthenticationOk => return Ok(()),
                Message::AuthenticationCleartextPassword => {
                    let secret = secret()?;
                    self.send(|out| frontend::password_message(secret, out))?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(user.as_bytes(), secret()?, body.salt());
                    self.send(|out| frontend::password_message(hash.as_bytes(), out))?;
                }
                Message::AuthenticationSasl(body) => {
                    let known = body.mechanisms().any(|name| Ok(name == SCRAM_SHA_256))?;
                    if !known {
                        return Err(broken("the server offers no way to log in that is known"));
                    }
                    self.scram(secret()?)?;
                }
                _ => {
                    return Err(broken(
                        "the server asks for a way to log in that is not known; \
                         a password (scram-sha-256) or peer are",
                    ));
                }
            }
        }
    }

    /// RFC 5802. Without channel binding: the session that took the snapshot was bound to the
    /// server's certificate, and no snapshot can be imported anywhere else.
    fn scram(&mut self, password: &[u8]) -> Result<(), WireError> {
        let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
        self.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), out))?;
        let Message::AuthenticationSaslContinue(body) = self.message()? else {
            return Err(broken("the server ended the login"));
        };
        scram.update(body.data())?;
        self.send(|out| frontend::sasl_response(scram.message(), out))?;
        let Message::AuthenticationSaslFinal(body) = self.message()? else {
            return Err(broken("the server ended the login"));
        };
        Ok(scram.finish(body.data())?)
    }

    /// Writes what `fill` puts into a buffer.
    fn send(
        &mut self,
        fill: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), WireError> {
        let mut out = BytesMut::new();
        fill(&mut out)?;
        self.socket.write_all(&out)?;
        Ok(self.socket.flush()?)
    }

    /// Sends a statement; its answers are to be read.
    pub(crate) fn query(&mut self, sql: &str) -> Result<(), WireError> {
        self.send(|out| frontend::query(sql, out))
    }

    /// Runs statements and passes over their rows.
    pub(crate) fn simple(&mut self, sql: &str) -> Result<(), WireError> {
        self.query(sql)?;
        self.until_ready()
    }

    /// The first column of the only row, as text; `None` when it is null or there is no row.
    pub(crate) fn value(&mut self, sql: &str) -> Result<Option<String>, WireError> {
        self.query(sql)?;
        let mut value = None;
        loop {
            match self.message() {
                Ok(Message::DataRow(row)) => {
                    let first = row.ranges().next()?.flatten();
                    let bytes = first.and_then(|range| row.buffer().get(range));
                    value = bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                }
                Ok(Message::ReadyForQuery(_)) => return Ok(value),
                Ok(_) => {}
                Err(error @ WireError::Server { .. }) => {
                    let _ = self.until_ready();
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads to the end of a statement; its error, when there was one.
    pub(crate) fn until_ready(&mut self) -> Result<(), WireError> {
        let mut result = Ok(());
        loop {
            match self.message() {
                Ok(Message::ReadyForQuery(_)) => return result,
                Ok(_) => {}
                // After an error the server is ready again, unless it was its last word.
                Err(error @ WireError::Server { .. }) if result.is_ok() => result = Err(error),
                Err(error) => return result.and(Err(error)),
            }
        }
    }

    /// The next message that says something about a statement; an error message is an `Err`.
    pub(crate) fn message(&mut self) -> Result<Message, WireError> {
        loop {
            match Message::parse(&mut self.input)? {
                Some(Message::ErrorResponse(body)) => return Err(WireError::said(body.fields())),
                Some(Message::NoticeResponse(body)) => notice(body.fields()),
                Some(Message::ParameterStatus(_) | Message::NotificationResponse(_)) => {}
                Some(message) => return Ok(message),
                None => {
                    let mut piece = [0; 8 << 10];
                    let n = self.read(&mut piece)?;
                    self.input.extend_from_slice(&piece[..n]);
                }
            }
        }
    }

    /// Reads some bytes as they come; the end of the connection is an error.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => {
                    let what = "the server closed the connection";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Whether what is sent cannot be changed on its way unnoticed: it does not leave this host, or is under TLS.
    pub(crate) fn is_guarded(&self) -> bool {
        self.socket.is_guarded()
    }

    /// Bytes that were read ahead, for the next reader.
    pub(crate) fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// The process and secret with which this connection's statement can be cancelled.
    pub(crate) fn key(&self) -> Option<(i32, i32)> {
        self.key
    }

    /// Ends the session properly; the server would log a closed socket as an error.
    pub(crate) fn close(&mut self) {
        // Whether it arrives does not matter.
        let _ = self.send(|out| {
            frontend::terminate(out);
            Ok(())
        });
    }
}

/// Asks a server to stop a statement ("Canceling Requests in Progress").
pub(crate) fn cancel(settings: &ConnectSettings, (process, secret): (i32, i32)) {
    let mut out = BytesMut::new();
    frontend::cancel_request(process, secret, &mut out);
    let mode = match tls_mode(settings) {
        SslMode::Allow => SslMode::Disable,
        mode => mode,
    };
    if let Ok(mut socket) = Socket::open(settings, mode) {
        // The server closes the connection once it has heard; nothing else comes.
        let _ = socket
            .write_all(&out)
            .and_then(|()| socket.flush())
            .and_then(|()| socket.read(&mut [0; 1]));
    }
}

pub(crate) fn notice(fields: ErrorFields<'_>) {
    if let WireError::Server { text, .. } = WireError::said(fields) {
        tracing::info!("the server says: {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn a_server_that_takes_connections_and_never_answers_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        for sslmode in [SslMode::Disable, SslMode::Require] {
            let settings = ConnectSettings {
                host: "127.0.0.1".to_owned(),
                port: silent.local_addr().unwrap().port(),
                connect_timeout: Duration::from_millis(100),
                sslmode,
                ..ConnectSettings::default()
            };
            match Wire::open(&settings) {
                Err(Failure::Again(why)) => {
                    assert_eq!(why, "the server did not answer the login within 0.3 s");
                }
                Err(Failure::Final(error)) => panic!("{error}"),
                Ok(_) => panic!("nobody answers"),
            }
        }
    }
}
