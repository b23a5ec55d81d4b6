//! A file read from a server, several reads in flight.

use super::failure::Failure;
use super::session::Session;
use crate::error::ErrorKind;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::StatusCode;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Reads in flight: 4 MiB with the largest portions.
const WINDOW: usize = 16;

/// A server that sends less than so many bytes a second is as good as silent.
const SLOWEST: u64 = 4 << 10;

/// A read in flight.
struct Asked {
    offset: u64,
    length: u32,
    answer: JoinHandle<Result<Vec<u8>, SftpError>>,
}

/// A range of an open file.
pub(super) struct Download {
    pub(super) runtime: &'static Runtime,
    pub(super) session: Arc<Session>,
    /// The server's name for the open file.
    pub(super) handle: String,
    /// For messages.
    pub(super) place: String,
    /// What is to be asked for next, and where the range ends.
    next: u64,
    end: u64,
    asked: VecDeque<Asked>,
    /// What came and was not read yet.
    portion: Vec<u8>,
    taken: usize,
    /// How much came in all, and how long it was waited for.
    came: u64,
    waited: Duration,
    is_broken: bool,
}

impl Download {
    /// A range that is in the file.
    pub(super) fn new(
        runtime: &'static Runtime,
        session: Arc<Session>,
        handle: String,
        place: String,
        range: std::ops::Range<u64>,
    ) -> Self {
        Self {
            runtime,
            session,
            handle,
            place,
            next: range.start,
            end: range.end,
            asked: VecDeque::new(),
            portion: Vec::new(),
            taken: 0,
            came: 0,
            waited: Duration::ZERO,
            is_broken: false,
        }
    }

    fn ask(&self, offset: u64, length: u32) -> Asked {
        let (session, handle) = (Arc::clone(&self.session), self.handle.clone());
        let answer = self.runtime.spawn(async move {
            let answer = session.sftp.read(handle, offset, length).await;
            answer.map(|data| data.data)
        });
        Asked {
            offset,
            length,
            answer,
        }
    }

    /// Keeps the window full; returns what comes first, `None` at the end.
    fn portion(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        while self.asked.len() < WINDOW && self.next < self.end {
            let length = u64::from(self.session.portion).min(self.end - self.next);
            let asked = self.ask(self.next, length as u32);
            self.asked.push_back(asked);
            self.next += length;
        }
        let Some(first) = self.asked.pop_front() else {
            return Ok(None);
        };
        let Asked {
            offset,
            length,
            answer,
        } = first;
        let patience = self.session.patience;
        let began = Instant::now();
        let waited = self
            .runtime
            .block_on(async { timeout(patience, answer).await });
        self.waited += began.elapsed();
        let data = match waited {
            Ok(Ok(answer)) => answer.map_err(|error| self.session.failure(error)),
            Ok(Err(error)) => Err(Failure::lost(error.to_string())),
            Err(_) => Err(self.session.give_up(patience)),
        };
        let data = data.map_err(|failure| match failure.code {
            Some(StatusCode::Eof) => shorter(),
            _ => failure,
        })?;
        let came = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if came == 0 || came > length {
            return Err(shorter());
        }
        self.came += u64::from(came);
        if self.waited > patience * 2 + Duration::from_secs(self.came / SLOWEST) {
            return Err(Failure::slow(self.came, self.waited));
        }
        if came < length {
            // A server may give less than was asked for.
            let rest = self.ask(offset + u64::from(came), length - came);
            self.asked.push_front(rest);
        }
        Ok(Some(data))
    }
}

fn shorter() -> Failure {
    Failure::new(
        ErrorKind::Failed,
        "the file is shorter than it was when it was opened; something else changes it",
    )
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.is_broken {
            return Err(io::Error::other("the reading broke off before"));
        }
        if self.taken == self.portion.len() {
            match self.portion() {
                Ok(Some(portion)) => (self.portion, self.taken) = (portion, 0),
                Ok(None) => return Ok(0),
                Err(failure) => {
                    // What follows it must not be taken for what comes next.
                    self.is_broken = true;
                    return Err(failure.while_reading(&self.place));
                }
            }
        }
        let rest = &self.portion[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let (session, handle) = (Arc::clone(&self.session), std::mem::take(&mut self.handle));
        // Nobody waits for it; the server forgets it with the connection at the latest.
        self.runtime.spawn(async move {
            let _ = session.ask(session.sftp.close(handle)).await;
        });
    }
}
