//! A blocking socket to a server: Unix, TCP, or TCP with TLS.

use crate::connect::open::{Failure, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, TCP_SILENCE};
use crate::connect::settings::{ConnectSettings, SslMode};
use crate::connect::tls;
use crate::error::PgError;
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A socket to a server.
pub(super) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Socket {
    /// Connects to the server, with TLS where `mode` says so. Until [`Socket::wait_as_long_as_it_takes`], no answer may
    /// take longer than a login.
    pub(super) fn open(settings: &ConnectSettings, mode: SslMode) -> Result<Self, Failure> {
        let again = |error: io::Error| Failure::Again(error.to_string());
        if settings.is_local() {
            let path = format!("{}/.s.PGSQL.{}", settings.host, settings.port);
            let stream = UnixStream::connect(path).map_err(again)?;
            stream
                .set_read_timeout(Some(settings.login_timeout()))
                .map_err(again)?;
            return Ok(Self::Unix(stream));
        }
        let mut stream = reach_tcp(settings).map_err(again)?;
        if mode == SslMode::Disable {
            return Ok(Self::Tcp(stream));
        }
        let refused = |why: String| {
            let target = settings.to_string();
            Failure::Final(PgError::Tls { target, why })
        };
        let mut out = BytesMut::new();
        frontend::ssl_request(&mut out);
        let mut answer = [0];
        stream
            .write_all(&out)
            .and_then(|()| stream.read_exact(&mut answer))
            .map_err(|error| unanswered(settings, &error))?;
        match answer {
            [b'S'] => {}
            _ if mode == SslMode::Prefer => return Ok(Self::Tcp(stream)),
            _ => return Err(refused("the server does not offer TLS".to_owned())),
        }
        let config = Arc::new(tls::client_config(settings).map_err(refused)?);
        let name = ServerName::try_from(settings.host.clone())
            .map_err(|_| refused(format!("{} is not a server's name", settings.host)))?;
        let mut session =
            ClientConnection::new(config, name).map_err(|error| refused(error.to_string()))?;
        while session.is_handshaking() {
            session
                .complete_io(&mut stream)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::WouldBlock => unanswered(settings, &error),
                    _ => refused(error.to_string()),
                })?;
        }
        let stream = StreamOwned::new(session, stream);
        Ok(Self::Tls(Box::new(stream)))
    }

    /// After the login: a statement takes as long as it takes.
    pub(super) fn wait_as_long_as_it_takes(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(None),
            Self::Tcp(stream) => stream.set_read_timeout(None),
            Self::Tls(stream) => stream.get_ref().set_read_timeout(None),
        }
    }

    /// Whether what is sent cannot be changed on its way unnoticed: it does not leave this host, or is under TLS.
    pub(super) fn is_guarded(&self) -> bool {
        match self {
            Self::Unix(_) | Self::Tls(_) => true,
            Self::Tcp(stream) => stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.flush(),
            Self::Tcp(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// The failure of a read or write before the end of the login: a time-out says "Resource temporarily unavailable".
pub(super) fn unanswered(settings: &ConnectSettings, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Failure::no_answer(settings.login_timeout())
        }
        _ => Failure::Again(error.to_string()),
    }
}

fn reach_tcp(settings: &ConnectSettings) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let addresses: Vec<SocketAddr> = match settings.hostaddr {
        Some(address) => vec![SocketAddr::new(address, settings.port)],
        None => (settings.host.as_str(), settings.port)
            .to_socket_addrs()?
            .collect(),
    };
    for address in addresses {
        match TcpStream::connect_timeout(&address, settings.connect_timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(settings.login_timeout()))?;
                sockopt::set_socket_keepalive(&stream, true)?;
                sockopt::set_tcp_keepidle(&stream, TCP_SILENCE)?;
                sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_INTERVAL)?;
                sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_RETRIES)?;
                sockopt::set_tcp_user_timeout(&stream, TCP_SILENCE.as_millis() as u32)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
