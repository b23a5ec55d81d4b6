//! A proxy between a program and the server with the faults of a network.

use hubvault_postgres::ConnectSettings;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// What the proxy does to what the server sends.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// Cuts every connection once this many bytes went to the client, over all connections.
    CutAfter(u64),
    /// Cuts a connection instead of passing on an answer of the server that has these bytes.
    CutAnswer(&'static [u8]),
    /// Passes this many bytes on and then nothing more, without closing.
    StallAfter(u64),
}

/// Listens on loopback and passes on to a server's Unix socket.
pub struct Proxy {
    port: u16,
    stop: Arc<AtomicBool>,
    passed: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts one in front of `server`.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(server: &ConnectSettings, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("proxy: {e}"));
        let port = listener.local_addr().map_or(0, |address| address.port());
        let socket = format!("{}/.s.PGSQL.{}", server.host, server.port);
        let stop = Arc::new(AtomicBool::new(false));
        let passed = Arc::new(AtomicU64::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&passed));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(server) = UnixStream::connect(&socket) {
                    pass(client, server, fault, &count, &stopped);
                }
            }
        });
        Self { port, stop, passed }
    }

    /// The settings of `server` with this proxy in between.
    pub fn settings(&self, server: &ConnectSettings) -> ConnectSettings {
        ConnectSettings {
            host: "127.0.0.1".into(),
            port: self.port,
            ..server.clone()
        }
    }

    /// The port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes that went from the server to clients so far.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for the next client.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn pass(
    client: TcpStream,
    server: UnixStream,
    fault: Fault,
    passed: &Arc<AtomicU64>,
    stop: &Arc<AtomicBool>,
) {
    let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    thread::spawn(move || {
        // Ends when either side closes.
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (passed, stop) = (Arc::clone(passed), Arc::clone(stop));
    thread::spawn(move || {
        let (mut server, mut client) = (server, client);
        let mut buffer = vec![0; 16 << 10];
        while let Ok(n) = server.read(&mut buffer) {
            let before = passed.fetch_add(n as u64, Ordering::Relaxed);
            let after = before + n as u64;
            match fault {
                Fault::CutAfter(limit) if after > limit => {
                    let keep = (limit.saturating_sub(before) as usize).min(n);
                    let _ = client.write_all(&buffer[..keep]);
                    let _ = client.shutdown(Shutdown::Both);
                    let _ = server.shutdown(Shutdown::Both);
                    return;
                }
                Fault::CutAnswer(bytes)
                    if buffer[..n].windows(bytes.len()).any(|it| it == bytes) =>
                {
                    let _ = client.shutdown(Shutdown::Both);
                    let _ = server.shutdown(Shutdown::Both);
                    return;
                }
                Fault::StallAfter(limit) if after > limit => {
                    while !stop.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(20));
                    }
                    return;
                }
                _ => {}
            }
            if n == 0 || client.write_all(&buffer[..n]).is_err() {
                let _ = client.shutdown(Shutdown::Both);
                return;
            }
        }
    });
}
