//! A proxy between a program and the server that parses the messages of the protocol ("Message Formats") and lets a
//! test change, delay or drop each.

use hubvault_postgres::ConnectSettings;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// `SSLRequest` and `GSSENCRequest` ("Message Formats"): the server answers with one bare byte.
const ASKS_FOR_A_BYTE: [u32; 2] = [80_877_103, 80_877_104];
/// What a message may have at most: a length beyond it is no length.
const LONGEST: usize = 1 << 30;

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The program.
    Client,
    /// The server.
    Server,
}

/// A message on its way.
#[derive(Debug)]
pub struct Passing<'a> {
    /// Its number, from 1, counted over all connections and both directions.
    pub number: u64,
    /// Who sent it.
    pub side: Side,
    /// Its first byte; 0 for a client's first message, which has none.
    pub tag: u8,
    /// The whole message, head and all, to be changed at will.
    pub bytes: &'a mut Vec<u8>,
}

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is passed on.
    Pass,
    /// It is passed on, and its connection is cut.
    Cut,
    /// Neither it nor anything after it on its connection is passed on, and nothing is closed.
    Stall,
}

type Meddle = dyn Fn(&mut Passing<'_>) -> Next + Send + Sync;

struct Shared {
    meddle: Box<Meddle>,
    passed: AtomicU64,
    stop: AtomicBool,
}

/// Listens on loopback and passes on to a server's Unix socket, message by message.
pub struct MessageProxy {
    port: u16,
    shared: Arc<Shared>,
}

impl MessageProxy {
    /// Starts one in front of `server`; `meddle` sees every message before it is passed on.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(
        server: &ConnectSettings,
        meddle: impl Fn(&mut Passing<'_>) -> Next + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("proxy: {e}"));
        let port = listener.local_addr().map_or(0, |address| address.port());
        let socket = format!("{}/.s.PGSQL.{}", server.host, server.port);
        let shared = Arc::new(Shared {
            meddle: Box::new(meddle),
            passed: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let mine = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if mine.stop.load(Ordering::Relaxed) {
                    return;
                }
                // A server that is away: the client sees its connection closed.
                if let Ok(server) = UnixStream::connect(&socket) {
                    let _ = connect(&client, &server, &mine);
                }
            }
        });
        Self { port, shared }
    }

    /// The settings of `server` with this proxy in between.
    pub fn settings(&self, server: &ConnectSettings) -> ConnectSettings {
        ConnectSettings {
            host: "127.0.0.1".into(),
            port: self.port,
            ..server.clone()
        }
    }

    /// Messages that were seen so far, in both directions.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }
}

impl Drop for MessageProxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for the next client.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn connect(client: &TcpStream, server: &UnixStream, shared: &Arc<Shared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    // The server's answer to a question that is no message yet.
    let bare = Arc::new(AtomicBool::new(false));
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let (ours, asked) = (Arc::clone(shared), Arc::clone(&bare));
    let (ends, other) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let mut first = true;
        let result = pass(from, to, Side::Client, &ours, |input| {
            let message = if first {
                untagged(input)?
            } else {
                tagged(input)?
            };
            if first {
                let code = message.get(4..8).and_then(|b| b.try_into().ok());
                let code = code.map_or(0, u32::from_be_bytes);
                first = ASKS_FOR_A_BYTE.contains(&code);
                asked.store(first, Ordering::Release);
                return Ok((0, message));
            }
            Ok((message[0], message))
        });
        close(&ends, &other, &result, &ours);
    });
    let (from, to) = (server.try_clone()?, client.try_clone()?);
    let (ends, other) = (client.try_clone()?, server.try_clone()?);
    let ours = Arc::clone(shared);
    thread::spawn(move || {
        let result = pass(from, to, Side::Server, &ours, |input| {
            let mut tag = [0];
            input.read_exact(&mut tag)?;
            if bare.swap(false, Ordering::AcqRel) {
                return Ok((tag[0], tag.to_vec()));
            }
            let mut message = tag.to_vec();
            message.extend(untagged(input)?);
            Ok((tag[0], message))
        });
        close(&ends, &other, &result, &ours);
    });
    Ok(())
}

/// How a direction ended.
enum Ended {
    Cut,
    Stalled,
}

fn pass<R: Read, W: Write>(
    from: R,
    to: W,
    side: Side,
    shared: &Shared,
    mut next: impl FnMut(&mut BufReader<R>) -> io::Result<(u8, Vec<u8>)>,
) -> io::Result<Ended> {
    let (mut from, mut to) = (BufReader::new(from), BufWriter::new(to));
    loop {
        let (tag, mut bytes) = next(&mut from)?;
        let passing = &mut Passing {
            number: shared.passed.fetch_add(1, Ordering::Relaxed) + 1,
            side,
            tag,
            bytes: &mut bytes,
        };
        let verdict = (shared.meddle)(passing);
        if verdict == Next::Stall {
            to.flush()?;
            return Ok(Ended::Stalled);
        }
        to.write_all(&bytes)?;
        if from.buffer().is_empty() || verdict == Next::Cut {
            to.flush()?;
        }
        if verdict == Next::Cut {
            return Ok(Ended::Cut);
        }
    }
}

/// A stalled connection stays open as long as the proxy is there.
fn close(client: &TcpStream, server: &UnixStream, ended: &io::Result<Ended>, shared: &Shared) {
    if matches!(ended, Ok(Ended::Stalled)) {
        while !shared.stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn tagged(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut tag = [0];
    input.read_exact(&mut tag)?;
    let mut message = tag.to_vec();
    message.extend(untagged(input)?);
    Ok(message)
}

fn untagged(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    input.read_exact(&mut head)?;
    let length = u32::from_be_bytes(head) as usize;
    if !(4..LONGEST).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    message[..4].copy_from_slice(&head);
    input.read_exact(&mut message[4..])?;
    Ok(message)
}
