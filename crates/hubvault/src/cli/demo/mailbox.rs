//! A mail server that keeps what it is sent, for one demonstration: as much of SMTP (RFC 5321) as one
//! client on this host needs.

use anyhow::{Context, Result};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

/// The server; it ends with the process.
pub(super) struct Mailbox {
    pub(super) port: u16,
    /// Where the last message is kept.
    pub(super) message: PathBuf,
}

impl Mailbox {
    /// Listens on a free port of loopback and writes each message to `message`.
    pub(super) fn open(message: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("starting the demonstration's mail server")?;
        let port = listener.local_addr()?.port();
        let file = message.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Whoever sends notices a conversation that broke off.
                let _ = serve(client, &file);
            }
        });
        Ok(Self { port, message })
    }
}

fn serve(client: TcpStream, file: &PathBuf) -> io::Result<()> {
    let mut out = client.try_clone()?;
    let mut lines = BufReader::new(client);
    out.write_all(b"220 localhost demonstration\r\n")?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let command = String::from_utf8_lossy(&line).to_ascii_uppercase();
        let reply = match command.get(..4) {
            Some("DATA") => {
                out.write_all(b"354 go on\r\n")?;
                std::fs::write(file, message(&mut lines)?)?;
                "250 it is here"
            }
            Some("QUIT") => {
                out.write_all(b"221 good bye\r\n")?;
                return Ok(());
            }
            Some("EHLO" | "HELO") => "250 localhost",
            Some("MAIL" | "RCPT" | "RSET" | "NOOP") => "250 ok",
            _ => "502 not here",
        };
        out.write_all(format!("{reply}\r\n").as_bytes())?;
    }
}

/// Everything up to the line with a single dot, without the dots that were doubled (RFC 5321, 4.5.2).
fn message(lines: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(message);
        }
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
