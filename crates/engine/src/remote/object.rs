//! An archive in a store as a source: what is said to be read is fetched ahead, everything else in small blocks.

use super::fetch::{Patience, Shared};
use super::stream::Stream;
use hubvault_archive::Source;
use hubvault_model::Cancel;
use hubvault_store::{Object, Store};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is fetched where nobody said how much will be read, in bytes, and how many of them are kept.
const BLOCK: u64 = 64 << 10;
const BLOCKS: usize = 16;
/// Streams that are kept for readers that go on, and parts that will be read.
const STREAMS: usize = 16;
const PLANNED: usize = 64;

/// An object that is read where it is. Threads may share it; they have a stream each.
pub struct StoredObject {
    shared: Arc<Shared>,
    reading: Mutex<Reading>,
}

#[derive(Default)]
struct Reading {
    /// Of which nobody reads now, the most recently read last.
    idle: VecDeque<Stream>,
    /// Parts that will be read, each with its end.
    planned: VecDeque<(u64, u64)>,
    /// By their offsets, the most recently fetched last.
    blocks: VecDeque<(u64, Arc<Vec<u8>>)>,
}

impl StoredObject {
    /// An object as the store listed it. It must stay so while it is read.
    pub fn new(store: Arc<dyn Store>, object: Object, patience: Patience, cancel: &Cancel) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                object,
                patience,
                cancel: cancel.clone(),
                ahead: AtomicUsize::new(0),
                kept: Mutex::default(),
            }),
            reading: Mutex::default(),
        }
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn block(&self, offset: u64) -> io::Result<Arc<Vec<u8>>> {
        let begin = offset / BLOCK * BLOCK;
        let length = BLOCK.min(self.shared.object.bytes - begin);
        let bytes = (self.shared).fetch(begin, length as usize, &self.shared.cancel)?;
        let block = Arc::new(bytes);
        let mut reading = self.reading();
        if reading.blocks.len() == BLOCKS {
            reading.blocks.pop_front();
        }
        reading.blocks.push_back((begin, Arc::clone(&block)));
        Ok(block)
    }
}

impl Reading {
    /// The stream that goes on here, or a new one where a part was said to be read.
    fn stream_at(&mut self, offset: u64) -> Option<Stream> {
        if let Some(at) = self.idle.iter().rposition(|stream| stream.at == offset) {
            return self.idle.remove(at);
        }
        if self.known_block(offset).is_some() {
            return None;
        }
        let is_in = |(begin, end): &(u64, u64)| (*begin..*end).contains(&offset);
        let at = self.planned.iter().rposition(is_in)?;
        let (_, end) = self.planned.remove(at)?;
        Some(Stream::new(offset, end))
    }

    fn known_block(&self, offset: u64) -> Option<Arc<Vec<u8>>> {
        let begin = offset / BLOCK * BLOCK;
        let mut known = self.blocks.iter();
        let found = known.find(|(at, _)| *at == begin)?;
        Some(Arc::clone(&found.1))
    }

    fn keep(&mut self, mut stream: Stream) {
        if stream.is_done() {
            return;
        }
        stream.shrink();
        if self.idle.len() == STREAMS {
            self.idle.pop_front();
        }
        self.idle.push_back(stream);
    }
}

impl Source for StoredObject {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.shared.object.bytes.saturating_sub(offset);
        let want = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let found = self.reading().stream_at(offset);
        if let Some(mut stream) = found {
            let n = stream.read(&self.shared, &mut buffer[..want])?;
            self.reading().keep(stream);
            return Ok(n);
        }
        let known = self.reading().known_block(offset);
        let block = known.map_or_else(|| self.block(offset), Ok)?;
        let rest = &block[(offset % BLOCK) as usize..];
        let n = rest.len().min(want);
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.shared.object.bytes)
    }

    fn will_read(&self, offset: u64, length: u64) {
        let end = offset.saturating_add(length).min(self.shared.object.bytes);
        if offset >= end {
            return;
        }
        let mut reading = self.reading();
        if reading.planned.len() == PLANNED {
            reading.planned.pop_front();
        }
        reading.planned.push_back((offset, end));
    }
}

impl std::fmt::Debug for StoredObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredObject")
            .field("object", &self.shared.object)
            .finish_non_exhaustive()
    }
}
