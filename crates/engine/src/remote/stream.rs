//! Bytes that are read from front to back, fetched ahead in several requests at once.

use super::fetch::Shared;
use hubvault_model::Cancel;
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// What one request fetches, in bytes.
const WINDOW: u64 = 4 << 20;
/// What is left of a part and counts for nothing, in bytes.
const SMALL: u64 = 128 << 10;
/// Windows that one reader has fetched ahead.
const AHEAD: usize = 3;
/// Windows that all readers have ahead, together. Beside them each reader has the one that it reads.
const MOST: usize = 8;

/// A window that counts until it is read.
struct Window {
    bytes: Vec<u8>,
    read: usize,
    counted: Option<Counted>,
}

impl Window {
    fn begin(bytes: Vec<u8>, counted: Counted) -> Self {
        Self {
            bytes,
            read: 0,
            counted: Some(counted),
        }
    }

    /// Goes on with these bytes; the memory of those before is kept for other windows.
    fn let_go(&mut self, rest: Vec<u8>) {
        let bytes = mem::replace(&mut self.bytes, rest);
        self.read = 0;
        if let Some(Counted(shared)) = self.counted.take().as_ref()
            && bytes.capacity() as u64 >= WINDOW
        {
            shared.keep(bytes);
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.let_go(Vec::new());
    }
}

struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.ahead.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.ahead.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A part of an object, read from front to back.
pub(super) struct Stream {
    /// Where the reader is.
    pub(super) at: u64,
    end: u64,
    asked: u64,
    current: Option<Window>,
    coming: VecDeque<Receiver<io::Result<Window>>>,
    /// Ends what is being fetched when nobody reads on.
    cancel: Cancel,
}

impl Stream {
    pub(super) fn new(at: u64, end: u64) -> Self {
        Self {
            at,
            end,
            asked: at,
            current: None,
            coming: VecDeque::new(),
            cancel: Cancel::new(),
        }
    }

    /// Whether everything was read.
    pub(super) fn is_done(&self) -> bool {
        self.at >= self.end
    }

    /// The next bytes, which must not be beyond its end.
    pub(super) fn read(&mut self, shared: &Arc<Shared>, buffer: &mut [u8]) -> io::Result<usize> {
        self.ask(shared)?;
        if self.current.is_none() {
            let next = self.coming.pop_front();
            let next = next.ok_or_else(|| io::Error::other("nothing was asked for"))?;
            let ended = |_| io::Error::other("fetching ended without a result");
            self.current = Some(next.recv().map_err(ended)??);
        }
        let Some(window) = &mut self.current else {
            return Ok(0);
        };
        let rest = &window.bytes[window.read..];
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        window.read += n;
        if window.read == window.bytes.len() {
            self.current = None;
        }
        self.at += n as u64;
        Ok(n)
    }

    /// Lets go of what was read, where only a little is left: readers leave the last bytes of a part alone.
    pub(super) fn shrink(&mut self) {
        if self.end - self.at > SMALL {
            return;
        }
        if let Some(window) = &mut self.current {
            let rest = window.bytes[window.read..].to_vec();
            window.let_go(rest);
        }
    }

    /// Begins to fetch as many windows as may be ahead, at least one.
    fn ask(&mut self, shared: &Arc<Shared>) -> io::Result<()> {
        while self.asked < self.end && self.coming.len() < AHEAD {
            let is_needed = self.current.is_none() && self.coming.is_empty();
            if !is_needed && shared.ahead.load(Ordering::Acquire) >= MOST {
                break;
            }
            let (offset, length) = (self.asked, (self.end - self.asked).min(WINDOW));
            let counted = Counted::new(shared);
            let (sender, receiver) = sync_channel(1);
            let (shared, cancel) = (Arc::clone(shared), self.cancel.clone());
            let fetch = move || {
                let stop = shared.cancel.on_request({
                    let cancel = cancel.clone();
                    move || cancel.request()
                });
                let bytes = shared.fetch(offset, length as usize, &cancel);
                drop(stop);
                let window = |bytes| Window::begin(bytes, counted);
                // Nobody may wait for it any more.
                let _ = sender.send(bytes.map(window));
            };
            thread::Builder::new()
                .name("fetch".to_owned())
                .spawn(fetch)?;
            self.coming.push_back(receiver);
            self.asked += length;
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.cancel.request();
    }
}
