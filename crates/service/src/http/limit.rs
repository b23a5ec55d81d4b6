//! Rate limits for an address or a token: token buckets.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many addresses are remembered; those whose bucket is full again are forgotten first.
const REMEMBERED: usize = 4096;

/// A bucket for each address or token.
#[derive(Debug)]
pub(crate) struct Limit<K = IpAddr> {
    burst: f64,
    each_second: f64,
    buckets: Mutex<HashMap<K, (f64, Instant)>>,
}

/// What is counted as one client: an IPv4 address, or an IPv6 /64, the smallest network that a host gets.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)))
        }
        one => one,
    }
}

impl<K: Eq + Hash> Limit<K> {
    /// `burst` requests at once, then `each_second`.
    pub(crate) fn new(burst: f64, each_second: f64) -> Self {
        Self {
            burst,
            each_second,
            buckets: Mutex::default(),
        }
    }

    /// Takes one request from the bucket, or returns after how many seconds there is one.
    pub(crate) fn take(&self, address: K, now: Instant) -> Result<(), u64> {
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
        let left = if held >= 1.0 { held - 1.0 } else { held };
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

impl<K: Eq + Hash> Limit<K> {
    /// Returns one that was not used.
    pub(crate) fn give_back(&self, of: &K) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((level, _)) = buckets.get_mut(of) {
            *level = (*level + 1.0).min(self.burst);
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
        assert!(limit.take(one, now).is_ok() && limit.take(one, now).is_ok());
        assert_eq!(limit.take(one, now), Err(2));
        assert_eq!(limit.take(one, now), Err(2));
        assert!(limit.take(other, now).is_ok());
        assert!(limit.take(one, now + Duration::from_secs(2)).is_ok());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_and_mapped_ones_are_ipv4() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert!(of("::1").is_loopback() && of("::ffff:127.0.0.1").is_loopback());
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
