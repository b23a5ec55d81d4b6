//! How much one address may ask: a bucket that fills slowly.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// So many addresses are remembered; those whose bucket is full again go first.
const REMEMBERED: usize = 4096;

/// A bucket for each address.
#[derive(Debug)]
pub(crate) struct Limit {
    burst: f64,
    each_second: f64,
    buckets: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Limit {
    /// `burst` at once, then `each_second`.
    pub(crate) fn new(burst: f64, each_second: f64) -> Self {
        Self {
            burst,
            each_second,
            buckets: Mutex::default(),
        }
    }

    /// Takes one, or says after how many seconds there is one again.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        self.change(address, now, 1.0)
    }

    /// Whether there is one, without taking it.
    pub(crate) fn check(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        self.change(address, now, 0.0)
    }

    fn change(&self, address: IpAddr, now: Instant, taken: f64) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let level = |(level, at): (f64, Instant)| {
            let since = now.saturating_duration_since(at).as_secs_f64();
            (level + since * self.each_second).min(self.burst)
        };
        if buckets.len() >= REMEMBERED && !buckets.contains_key(&address) {
            buckets.retain(|_, bucket| level(*bucket) < self.burst);
            // Somebody with thousands of addresses: all begin anew rather than fill the memory.
            if buckets.len() >= REMEMBERED {
                buckets.clear();
            }
        }
        let held = buckets
            .get(&address)
            .map_or(self.burst, |held| level(*held));
        let left = if held >= 1.0 { held - taken } else { held };
        if left < self.burst {
            buckets.insert(address, (left, now));
        }
        if held >= 1.0 {
            Ok(())
        } else {
            Err(((1.0 - held) / self.each_second).ceil().max(1.0) as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    #[test]
    fn a_bucket_is_empty_after_its_burst_and_fills_again() {
        let limit = Limit::new(2.0, 0.5);
        let one = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let other = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let now = Instant::now();
        assert!(limit.check(one, now).is_ok() && limit.take(one, now).is_ok());
        assert!(limit.take(one, now).is_ok());
        assert_eq!(limit.take(one, now), Err(2));
        assert_eq!(limit.check(one, now), Err(2));
        assert!(limit.take(other, now).is_ok());
        assert!(limit.take(one, now + Duration::from_secs(2)).is_ok());
    }

    #[test]
    fn thousands_of_addresses_do_not_fill_the_memory() {
        let limit = Limit::new(1.0, 0.001);
        let now = Instant::now();
        for bits in 0..10_000 {
            assert!(
                limit
                    .take(IpAddr::V4(Ipv4Addr::from_bits(bits)), now)
                    .is_ok()
            );
        }
        assert!(limit.buckets.lock().unwrap().len() <= REMEMBERED);
    }
}
