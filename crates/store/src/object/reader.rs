//! A range of an object as it comes: read ahead a little, taken up again where it was cut.

use super::backend::{Backend, Content};
use super::failure::{Answer, Failure};
use super::parts::MIB;
use super::tries::Tries;
use super::waiting::{Begun, begin};
use crate::error::ErrorKind;
use bytes::Bytes;
use futures_util::StreamExt;
use hubvault_model::counted;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a reader cannot go on.
pub(crate) const CHANGED: &str = "it was replaced or deleted meanwhile; begin again";
/// A store that sends less than so many bytes a second is as good as silent.
const SLOWEST: u64 = 4 << 10;
/// How much is read ahead.
const AHEAD: usize = 2 * MIB;

/// What is still to come of a range.
pub(crate) struct Coming<B> {
    /// Of which store.
    pub(crate) backend: Arc<B>,
    /// Of which key.
    pub(crate) key: String,
    /// Of which version: no other one's bytes are taken.
    pub(crate) version: Option<String>,
    /// The object's size.
    pub(crate) bytes: u64,
    /// From where.
    pub(crate) at: u64,
    /// Up to where.
    pub(crate) end: u64,
    /// The open answer.
    pub(crate) content: Option<Content>,
    /// Why nothing more comes, once what came is given out.
    pub(crate) failure: Option<Failure>,
}

/// What came, and what is still to come.
type Came<B> = (Coming<B>, Answer<VecDeque<Bytes>>);

/// Reads a range.
pub(crate) struct Reader<B> {
    place: String,
    next: Option<Begun<Came<B>>>,
    ready: VecDeque<Bytes>,
}

impl<B: Backend> Reader<B> {
    /// Begins to read what is to come; `place` is how people know it.
    pub(crate) fn new(place: String, coming: Coming<B>) -> Answer<Self> {
        Ok(Self {
            place,
            next: Some(begin(coming.more())?),
            ready: VecDeque::new(),
        })
    }

    fn turn(&mut self) -> Answer<()> {
        let Some(next) = self.next.take() else {
            return Ok(());
        };
        let (coming, more) = next.wait()?;
        self.ready = more?;
        if coming.at < coming.end {
            self.next = Some(begin(coming.more())?);
        }
        Ok(())
    }
}

impl<B: Backend> Read for Reader<B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.ready.is_empty() {
            if self.next.is_none() {
                return Ok(0);
            }
            self.turn().map_err(|failure| {
                let text = format!("reading {}: {}", self.place, failure.text);
                io::Error::new(failure.cause, text)
            })?;
        }
        let Some(first) = self.ready.front_mut() else {
            return Ok(0);
        };
        let some = first.split_to(buffer.len().min(first.len()));
        buffer[..some.len()].copy_from_slice(&some);
        if first.is_empty() {
            self.ready.pop_front();
        }
        Ok(some.len())
    }
}

impl<B: Backend> Coming<B> {
    async fn more(mut self) -> Came<B> {
        if let Some(failure) = self.failure.take() {
            return (self, Err(failure));
        }
        let (mut got, mut bytes) = (VecDeque::new(), 0);
        let mut tries = Tries::of(&*self.backend);
        let (begun, patience) = (Instant::now(), self.backend.patience() * 2);
        while bytes < AHEAD && self.at < self.end {
            let limit = patience + Duration::from_secs(bytes as u64 / SLOWEST);
            let failure = match self.next().await {
                Ok(_) if begun.elapsed() > limit => {
                    self.content = None;
                    return (self, Err(too_slow(bytes, begun.elapsed())));
                }
                Ok(more) => {
                    bytes += more.len();
                    tries.progressed();
                    got.push_back(more);
                    continue;
                }
                Err(failure) => failure,
            };
            self.content = None;
            if tries.pause(&failure).await {
                continue;
            }
            if got.is_empty() {
                return (self, Err(failure));
            }
            self.failure = Some(failure);
            break;
        }
        (self, Ok(got))
    }

    async fn next(&mut self) -> Answer<Bytes> {
        let content = if let Some(content) = &mut self.content {
            content
        } else {
            let content = self.open().await?;
            self.content.insert(content)
        };
        let Some(more) = content.next().await else {
            let why = "the store ended its answer early";
            return Err(Failure::new(ErrorKind::Unavailable, why));
        };
        let mut more = more?;
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        more.truncate(left);
        self.at += more.len() as u64;
        Ok(more)
    }

    async fn open(&mut self) -> Answer<Content> {
        let version = self.version.as_deref();
        let opened = self
            .backend
            .get(&self.key, self.at, self.end, version)
            .await;
        match opened {
            Ok(Some(opened)) if opened.version == self.version && opened.bytes == self.bytes => {
                Ok(opened.content)
            }
            Err(failure) if failure.status != 412 && failure.kind != ErrorKind::NotFound => {
                Err(failure)
            }
            _ => Err(Failure::new(ErrorKind::Changed, CHANGED)),
        }
    }
}

/// An answer that comes too slowly to wait for its end.
fn too_slow(bytes: usize, within: Duration) -> Failure {
    let (bytes, seconds) = (bytes as u64, within.as_secs().max(1));
    let text = format!(
        "only {} came within {}",
        counted(bytes, "byte"),
        counted(seconds, "second")
    );
    let mut failure = Failure::new(ErrorKind::Unavailable, text);
    failure.cause = io::ErrorKind::TimedOut;
    failure
}
