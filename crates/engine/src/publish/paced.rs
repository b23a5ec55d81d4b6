//! Content on its way to a store: no faster than its destination allows, counted, and ended when it has to stop.

use hubvault_model::{ByteSize, Cancel};
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// With a limit no more is read at once, so that the pauses are short.
const PORTION: usize = 64 << 10;

/// A stream that keeps to a limit of bytes per second.
pub(super) struct Paced<'a, R> {
    inner: R,
    limit: Option<ByteSize>,
    begun: Instant,
    bytes: u64,
    cancel: &'a Cancel,
    sent: &'a dyn Fn(u64),
}

impl<'a, R: Read> Paced<'a, R> {
    /// Starts to count now. `sent` hears of every portion.
    pub(super) fn new(
        inner: R,
        limit: Option<ByteSize>,
        cancel: &'a Cancel,
        sent: &'a dyn Fn(u64),
    ) -> Self {
        Self {
            inner,
            limit,
            begun: Instant::now(),
            bytes: 0,
            cancel,
            sent,
        }
    }

    /// Waits until as much may have passed.
    fn keep_pace(&self) -> io::Result<()> {
        let due = match self.limit {
            None => Duration::ZERO,
            Some(limit) => Duration::from_secs_f64(self.bytes as f64 / limit.0.max(1) as f64),
        };
        let left = due.saturating_sub(self.begun.elapsed());
        if self.cancel.is_requested() || (!left.is_zero() && self.cancel.wait(left)) {
            return Err(io::Error::other("stopped on request"));
        }
        Ok(())
    }
}

impl<R: Read> Read for Paced<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.keep_pace()?;
        let most = match self.limit {
            None => buffer.len(),
            Some(_) => buffer.len().min(PORTION),
        };
        let read = self.inner.read(&mut buffer[..most])?;
        self.bytes += read as u64;
        (self.sent)(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_limit_holds_back_and_a_request_to_stop_ends_the_wait() {
        let (cancel, sent) = (Cancel::new(), Cell::new(0));
        let count = |bytes| sent.set(sent.get() + bytes);
        let content = vec![7; 300_000];
        let mut all = Vec::new();
        let mut paced = Paced::new(
            content.as_slice(),
            Some(ByteSize(1_000_000)),
            &cancel,
            &count,
        );
        paced.read_to_end(&mut all).unwrap();
        // Never earlier than the limit says, however slow the machine is.
        assert!(paced.begun.elapsed() >= Duration::from_millis(300));
        assert_eq!((all.len(), sent.get()), (300_000, 300_000));

        let mut slow = Paced::new(content.as_slice(), Some(ByteSize(1)), &cancel, &count);
        let later = cancel.clone();
        std::thread::spawn(move || later.request());
        let error = slow.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "stopped on request");
    }
}
