//! A socket that cannot be held longer than until a moment, in the clear or in TLS.
//!
//! A time-out of the socket alone bounds one system call: a server that sends a byte now and then could hold the
//! caller for ever. Here the time that is left is set before each call.

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A socket whose calls end when `until` has come, with [`ErrorKind::TimedOut`].
pub(crate) struct Timed {
    socket: TcpStream,
    until: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

/// The kernel says "would block" when the time of a blocking socket has run out (socket(7), `SO_RCVTIMEO`).
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock {
        ErrorKind::TimedOut.into()
    } else {
        error
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(buffer).map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// A connection in the clear or in TLS.
pub(crate) enum Stream {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Stream {
    /// Connects to the first of `addresses` that answers, each within `timeout`; the last one's error otherwise.
    pub(crate) fn connect(addresses: &[SocketAddr], timeout: Duration) -> io::Result<Self> {
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect_timeout(address, timeout) {
                Ok(socket) => {
                    // Commands are small and each waits for its answer.
                    socket.set_nodelay(true)?;
                    let until = after(timeout);
                    return Ok(Self::Plain(Timed { socket, until }));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Goes on in TLS: makes the handshake and checks the certificate for `name`.
    pub(crate) fn encrypt(
        self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let Self::Plain(mut socket) = self else {
            return Ok(self);
        };
        let mut session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(session, socket))))
    }

    fn timed(&mut self) -> &mut Timed {
        match self {
            Self::Plain(timed) => timed,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// From now on every call ends at `moment`.
    pub(crate) fn until(&mut self, moment: Instant) {
        self.timed().until = moment;
    }

    /// Our own address of this connection.
    pub(crate) fn local(&mut self) -> io::Result<SocketAddr> {
        self.timed().socket.local_addr()
    }

    /// The server's address.
    pub(crate) fn peer(&mut self) -> io::Result<SocketAddr> {
        self.timed().socket.peer_addr()
    }

    /// Ends it at once, without the farewells of TLS or SMTP.
    pub(crate) fn cut(&mut self) {
        // It may have ended already.
        let _ = self.timed().socket.shutdown(Shutdown::Both);
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Whether a host is this machine by its name alone.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The moment after this time, however long it is.
pub(crate) fn after(time: Duration) -> Instant {
    let now = Instant::now();
    let year = Duration::from_hours(365 * 24);
    now + time.min(year)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.evil.example", "10.0.0.1", "mail", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
