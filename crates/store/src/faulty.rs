//! A store that fails on purpose, for tests of those who use one.

use crate::error::{ErrorKind, StoreError};
use crate::key::Key;
use crate::store::{Filesystem, Object, Store, Stored, Unfinished};
use crate::usage::Requests;
use jiff::Timestamp;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The calls of a [`Store`]; `adopt`, `put_if_absent` and `replace_if` count as `Put`; `check` counts as `List`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `put`, `put_if_absent`, `replace_if` and `adopt`.
    Put,
    /// `read_range` and `read_object`.
    Read,
    /// `head`.
    Head,
    /// `list` and `check`.
    List,
    /// `delete` and `remove_unfinished`.
    Delete,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, and nothing is done.
    Refused(ErrorKind),
    /// The connection ends after so many bytes of what is stored or read.
    CutAfter(u64),
    /// It is done, and the answer is lost.
    AnswerLost,
}

/// A store around another one, of which calls fail.
#[derive(Debug)]
pub struct Faulty {
    inner: Box<dyn Store>,
    faults: Mutex<Vec<(Call, Fault)>>,
    reads: AtomicU64,
    bytes: AtomicU64,
}

impl Faulty {
    /// A store of which no call fails yet.
    pub fn new(inner: Box<dyn Store>) -> Self {
        Self {
            inner,
            faults: Mutex::default(),
            reads: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Makes the next call of this kind fail that has no fault yet.
    pub fn fail_next(&self, call: Call, fault: Fault) {
        self.faults().push((call, fault));
    }

    fn faults(&self) -> MutexGuard<'_, Vec<(Call, Fault)>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, call: Call) -> Option<Fault> {
        let mut faults = self.faults();
        let at = faults.iter().position(|(of, _)| *of == call)?;
        Some(faults.remove(at).1)
    }

    fn call<T>(
        &self,
        call: Call,
        place: &str,
        make: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.take(call) {
            None => make(),
            Some(fault) => fault.happens(place, make),
        }
    }

    fn read(
        &self,
        key: &Key,
        length: u64,
        read: impl FnOnce() -> Result<Box<dyn Read + Send>, StoreError>,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(length, Ordering::Relaxed);
        match self.take(Call::Read) {
            None => read(),
            Some(Fault::CutAfter(bytes)) => Ok(Box::new(Cut {
                content: read()?,
                bytes,
            })),
            Some(Fault::Refused(kind)) => Err(failed(key.as_str()).of_kind(kind)),
            Some(Fault::AnswerLost) => Err(failed(key.as_str())),
        }
    }

    fn store<T>(
        &self,
        key: &Key,
        content: &mut dyn Read,
        put: impl FnOnce(&mut dyn Read) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.take(Call::Put) {
            None => put(content),
            Some(Fault::CutAfter(bytes)) => put(&mut Cut { content, bytes })
                // It is the connection that ended, not the content.
                .map_err(|error| error.of_kind(ErrorKind::Unavailable)),
            Some(fault) => fault.happens(key.as_str(), || put(content)),
        }
    }
}

impl Fault {
    fn happens<T>(
        self,
        place: &str,
        make: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        Err(match self {
            Self::Refused(kind) => failed(place).of_kind(kind),
            Self::CutAfter(_) => failed(place),
            Self::AnswerLost => {
                make()?;
                failed(place).uncertain()
            }
        })
    }
}

impl Store for Faulty {
    fn put(&self, key: &Key, content: &mut dyn Read) -> Result<Stored, StoreError> {
        self.store(key, content, |content| self.inner.put(key, content))
    }

    fn put_if_absent(
        &self,
        key: &Key,
        content: &mut dyn Read,
    ) -> Result<Option<Object>, StoreError> {
        self.store(key, content, |content| {
            self.inner.put_if_absent(key, content)
        })
    }

    fn replace_if(
        &self,
        key: &Key,
        version: &str,
        content: &mut dyn Read,
    ) -> Result<Option<Object>, StoreError> {
        self.store(key, content, |content| {
            self.inner.replace_if(key, version, content)
        })
    }

    fn read_range(
        &self,
        key: &Key,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        self.read(key, length, || self.inner.read_range(key, offset, length))
    }

    fn read_object(
        &self,
        object: &Object,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        let read = || self.inner.read_object(object, offset, length);
        self.read(&object.key, length, read)
    }

    fn head(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.call(Call::Head, key.as_str(), || self.inner.head(key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        self.call(Call::List, prefix, || self.inner.list(prefix))
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.call(Call::Delete, key.as_str(), || self.inner.delete(key))
    }

    fn remove_unfinished(&self, before: Timestamp) -> Result<Vec<Unfinished>, StoreError> {
        self.call(Call::Delete, "unfinished uploads", || {
            self.inner.remove_unfinished(before)
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        self.call(Call::List, "the store", || self.inner.check())
    }

    fn filesystem(&self) -> Result<Option<Filesystem>, StoreError> {
        self.inner.filesystem()
    }

    /// What was to be read, by calls and by bytes, whether it failed or not.
    fn requests(&self) -> Requests {
        Requests {
            reads: self.reads.load(Ordering::Relaxed),
            bytes_received: self.bytes.load(Ordering::Relaxed),
            ..Requests::default()
        }
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection was cut")
}

fn failed(place: &str) -> StoreError {
    StoreError::new("asking the store for", place, cut())
}

/// A stream that breaks off.
struct Cut<R> {
    content: R,
    bytes: u64,
}

impl<R: Read> Read for Cut<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes == 0 {
            return Err(cut());
        }
        let most = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let most = buffer.len().min(most);
        let read = self.content.read(&mut buffer[..most])?;
        self.bytes -= read as u64;
        Ok(read)
    }
}
