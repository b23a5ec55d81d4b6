//! Bytes of an object in a store, asked for again while that may help.

use hubvault_model::Cancel;
use hubvault_store::{ErrorKind, Object, Store, StoreError};
use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a store is asked again, its own waiting included.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Since the last byte.
    pub longest: Duration,
    /// The wait after the first failure; each is twice as long as the one before, up to 15 seconds.
    pub first: Duration,
}

/// The longest wait between two tries.
const MOST: Duration = Duration::from_secs(15);
/// So many bytes are progress, for which a failure before it is forgotten.
const HEADWAY: usize = 64 << 10;
/// A store that asks for fewer requests gets so many times longer waits.
const THROTTLED: u32 = 4;

impl Default for Patience {
    fn default() -> Self {
        Self {
            longest: Duration::from_mins(2),
            first: Duration::from_millis(200),
        }
    }
}

/// Tries of one call.
struct Tries<'a> {
    patience: Patience,
    next: Duration,
    since: Instant,
    cancel: &'a Cancel,
}

impl<'a> Tries<'a> {
    fn new(patience: Patience, cancel: &'a Cancel) -> Self {
        Self {
            patience,
            next: patience.first,
            since: Instant::now(),
            cancel,
        }
    }

    fn progressed(&mut self) {
        self.cancel.set_last_failure(None);
        *self = Self::new(self.patience, self.cancel);
    }

    /// Waits before the next try; the error itself where there is none.
    fn after(&mut self, error: StoreError) -> Result<(), StoreError> {
        if !error.may_be_retried() || self.since.elapsed() >= self.patience.longest {
            return Err(error);
        }
        let factor = if error.kind == ErrorKind::Throttled {
            THROTTLED
        } else {
            1
        };
        tracing::debug!("{error}; trying again");
        self.cancel.set_last_failure(Some(error.to_string()));
        if self.cancel.wait(self.next * factor) {
            return Err(error);
        }
        self.next = (self.next * 2).min(MOST);
        Ok(())
    }
}

/// Makes a call of a store until it succeeds, or fails for good. What cannot be reached was waited for by the store itself.
pub(super) fn retried<T>(
    patience: Patience,
    cancel: &Cancel,
    mut call: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut tries = Tries::new(patience, cancel);
    loop {
        match call() {
            Ok(done) => {
                tries.progressed();
                return Ok(done);
            }
            Err(error) if error.is_unreachable() => return Err(error),
            Err(error) => tries.after(error)?,
        }
    }
}

/// Fills `bytes` with a part of an object, which has it. A connection that is cut goes on where it was.
pub(super) fn fetch(
    store: &dyn Store,
    object: &Object,
    (offset, bytes): (u64, &mut [u8]),
    patience: Patience,
    cancel: &Cancel,
) -> Result<(), StoreError> {
    let mut filled = 0;
    let mut tries = Tries::new(patience, cancel);
    let mut counted = 0;
    while filled < bytes.len() {
        let left = &mut bytes[filled..];
        let (more, done) = go_on(store, object, offset + filled as u64, left, cancel);
        filled += more;
        if let Err(error) = done {
            // A few bytes now and then are no progress: nobody would ever give up.
            if filled - counted >= HEADWAY {
                counted = filled;
                tries.progressed();
            }
            tries.after(error)?;
        }
    }
    tries.progressed();
    Ok(())
}

/// What the threads that fetch parts of an object share.
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) object: Object,
    pub(super) patience: Patience,
    pub(super) cancel: Cancel,
    /// Windows that are fetched and not read yet.
    pub(super) ahead: AtomicUsize,
    /// Memory of parts that were read.
    pub(super) kept: Mutex<Vec<Vec<u8>>>,
}

impl Shared {
    /// Reads a part. Two ask for its end: who wants the object, and who wants this part.
    pub(super) fn fetch(&self, offset: u64, length: usize, cancel: &Cancel) -> io::Result<Vec<u8>> {
        // Not for a small part, which may be kept itself.
        let fits = |kept: &mut Vec<u8>| (length..length * 2).contains(&kept.capacity());
        let kept = self.kept().pop_if(fits);
        let mut bytes = kept.unwrap_or_default();
        bytes.resize(length, 0);
        let (store, part) = (self.store.as_ref(), (offset, bytes.as_mut_slice()));
        let fetched = fetch(store, &self.object, part, self.patience, cancel);
        fetched.map_err(|error| io::Error::new(error.source.kind(), error))?;
        Ok(bytes)
    }

    /// Keeps the memory of a part that was read for the next one: the system hands out new memory slowly.
    pub(super) fn keep(&self, bytes: Vec<u8>) {
        let mut kept = self.kept();
        if kept.len() < KEPT {
            kept.push(bytes);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parts whose memory is kept.
const KEPT: usize = 4;
/// Bytes that are read before a request to stop is noticed.
const PIECE: usize = 256 << 10;

/// Reads until it is full; how much it was.
fn go_on(
    store: &dyn Store,
    object: &Object,
    offset: u64,
    bytes: &mut [u8],
    cancel: &Cancel,
) -> (usize, Result<(), StoreError>) {
    let failed = |error| StoreError::new("reading", object.key.as_str(), error);
    let mut reader = match store.read_object(object, offset, bytes.len() as u64) {
        Ok(reader) => reader,
        Err(error) => return (0, Err(error)),
    };
    let mut filled = 0;
    while filled < bytes.len() {
        if cancel.is_requested() {
            return (filled, Err(failed(io::Error::other("stopped on request"))));
        }
        let piece = bytes.len().min(filled + PIECE);
        match reader.read(&mut bytes[filled..piece]) {
            Ok(0) => {
                let why = io::Error::other("it ends before its size; it was changed meanwhile");
                return (filled, Err(failed(why).of_kind(ErrorKind::Changed)));
            }
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Err(failed(error))),
        }
    }
    (filled, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind::{ConnectionReset, NotConnected, TimedOut};

    #[test]
    fn a_store_that_waited_itself_is_not_asked_again() {
        let patience = Patience {
            first: Duration::from_millis(1),
            ..Patience::default()
        };
        for (cause, most) in [(TimedOut, 1), (NotConnected, 1), (ConnectionReset, 3)] {
            let mut calls = 0;
            let cancel = Cancel::new();
            let result = retried(patience, &cancel, || {
                calls += 1;
                let last = (calls > 1).then(|| "listing s3://b: x".to_owned());
                assert_eq!(cancel.last_failure(), last);
                if calls == 3 {
                    return Ok(());
                }
                let error = io::Error::new(cause, "x");
                Err(StoreError::new("listing", "s3://b", error).of_kind(ErrorKind::Unavailable))
            });
            assert_eq!(cancel.last_failure(), None, "{cause:?}");
            assert_eq!((calls, result.is_ok()), (most, most == 3), "{cause:?}");
        }
    }
}
