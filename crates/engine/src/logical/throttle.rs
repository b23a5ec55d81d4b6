//! Throttles the export: a pause between extents and a limit of bytes per second.

use crate::job::Gentleness;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest sleep before a waiting worker checks whether it must stop.
const NAP: Duration = Duration::from_millis(100);

/// Shared by all workers of one export.
pub(crate) struct Throttle {
    gentleness: Gentleness,
    begun: Instant,
    bytes: AtomicU64,
}

impl Throttle {
    /// Starts to count now.
    pub(crate) fn new(gentleness: Gentleness) -> Self {
        Self {
            gentleness,
            begun: Instant::now(),
            bytes: AtomicU64::new(0),
        }
    }

    /// After `bytes` more of COPY data: waits until as much may have passed. The server waits too,
    /// as nobody reads what it sends. `check` ends the wait with its error.
    pub(crate) fn passed<E>(&self, bytes: u64, check: impl Fn() -> Result<(), E>) -> Result<(), E> {
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let Some(limit) = self.gentleness.bytes_per_second else {
            return Ok(());
        };
        let due = Duration::from_secs_f64(total as f64 / limit.0.max(1) as f64);
        wait(due.saturating_sub(self.begun.elapsed()), check)
    }

    /// Between two extents.
    pub(crate) fn between<E>(&self, check: impl Fn() -> Result<(), E>) -> Result<(), E> {
        wait(self.gentleness.pause, check)
    }
}

fn wait<E>(mut left: Duration, check: impl Fn() -> Result<(), E>) -> Result<(), E> {
    while !left.is_zero() {
        check()?;
        let nap = left.min(NAP);
        std::thread::sleep(nap);
        left -= nap;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_model::ByteSize;

    #[test]
    fn a_limit_holds_back_and_a_request_to_stop_ends_the_wait() {
        let limited = |limit| {
            Throttle::new(Gentleness {
                pause: Duration::ZERO,
                bytes_per_second: limit,
            })
        };
        let free = limited(None).passed(u64::MAX / 2, || Err("asked"));
        assert_eq!(free, Ok(()));
        let stopped = limited(Some(ByteSize(1))).passed(1_000_000, || Err("asked"));
        assert_eq!(stopped, Err("asked"));
        let pace = limited(Some(ByteSize(1_000_000)));
        assert_eq!(pace.passed(200_000, || Ok::<_, ()>(())), Ok(()));
        // Never earlier than the limit says, however slow the machine is.
        assert!(pace.begun.elapsed() >= Duration::from_millis(200));
    }
}
