//! The audit log: who did what, and from where. Lines about refused requests are limited, so that nobody can flood the
//! log.

use super::limit::{Limit, network};
use crate::token::Token;
use axum::http::HeaderMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Lines about one address: ten at once, then one in ten seconds.
const OF_ONE: (f64, f64) = (10.0, 0.1);
/// Lines about all addresses.
const OF_ALL: (f64, f64) = (100.0, 1.0);

/// The origin of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    address: IpAddr,
    /// The proxy on this host that named the address, if there is one.
    said_by: Option<IpAddr>,
}

impl Origin {
    /// Behind a proxy on this host, the address that the proxy names; other hosts are not trusted with that.
    pub(crate) fn of(peer: IpAddr, headers: &HeaderMap) -> Self {
        let peer = peer.to_canonical();
        // A proxy that appends adds a further header or a further entry: the last one is its own.
        let said = headers.get_all("x-forwarded-for").iter().next_back();
        let said = said.and_then(|value| {
            let last = value.to_str().ok()?.rsplit(',').next()?;
            last.trim().parse::<IpAddr>().ok()
        });
        match said.filter(|_| peer.is_loopback()) {
            Some(address) => Self {
                address: address.to_canonical(),
                said_by: Some(peer),
            },
            None => Self {
                address: peer,
                said_by: None,
            },
        }
    }

    /// What limits count as one client.
    pub(crate) fn network(&self) -> IpAddr {
        network(self.address)
    }

    /// Whether it is a process of this host, not behind a proxy.
    pub(crate) fn is_this_host(&self) -> bool {
        self.said_by.is_none() && self.address.is_loopback()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.said_by {
            Some(proxy) => write!(f, "{} (according to {proxy})", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

/// Who sent a request, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// `None` if no token is needed and none was sent.
    pub(crate) token: Option<Token>,
    /// The origin.
    pub(crate) origin: Origin,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.token {
            Some(token) => write!(f, "{} ({})", token.name, token.role.as_str()),
            None => f.write_str("nobody"),
        }
    }
}

/// Logs refused requests, at a limited rate; the others are counted.
#[derive(Debug)]
pub(crate) struct Refusals {
    of_one: Limit,
    of_all: Limit<()>,
    left_out: AtomicU64,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            of_one: Limit::new(OF_ONE.0, OF_ONE.1),
            of_all: Limit::new(OF_ALL.0, OF_ALL.1),
            left_out: AtomicU64::new(0),
        }
    }
}

impl Refusals {
    /// Logs that `what` was refused, and `why`.
    pub(crate) fn line(&self, what: &str, origin: &Origin, why: &str) {
        if let Some(left_out) = self.take(origin, Instant::now()) {
            let more = match left_out {
                0 => String::new(),
                more => {
                    format!(" ({more} further refusals since the last such line are not shown)")
                }
            };
            tracing::warn!("audit: refused {what} from {origin}: {why}{more}");
        }
    }

    /// How many lines were left out since the last one; `None` if this one is left out, too.
    fn take(&self, origin: &Origin, now: Instant) -> Option<u64> {
        let of_one = self.of_one.take(origin.network(), now);
        if of_one.and_then(|()| self.of_all.take((), now)).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::time::Duration;

    fn named(text: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static(text));
        headers
    }

    #[test]
    fn only_a_proxy_on_this_host_is_believed_and_it_is_named() {
        let headers = named("1.1.1.1, 2.2.2.2");
        let (local, remote) = ("127.0.0.1".parse().unwrap(), "9.9.9.9".parse().unwrap());
        let through = Origin::of(local, &headers);
        assert_eq!(through.to_string(), "2.2.2.2 (according to 127.0.0.1)");
        assert!(!through.is_this_host() && Origin::of(local, &HeaderMap::new()).is_this_host());
        assert_eq!(Origin::of(remote, &headers).to_string(), "9.9.9.9");
        // Whoever says that it is this host is no process of this host.
        assert!(!Origin::of(local, &named("127.0.0.1")).is_this_host());
    }

    #[test]
    fn the_last_of_several_headers_is_the_proxys() {
        let mut headers = named("1.1.1.1");
        headers.append("x-forwarded-for", HeaderValue::from_static("3.3.3.3"));
        let local = "::1".parse().unwrap();
        assert_eq!(Origin::of(local, &headers).address.to_string(), "3.3.3.3");
    }

    #[test]
    fn a_thousand_refusals_are_a_few_lines_and_none_is_forgotten() {
        let refusals = Refusals::default();
        let origin = Origin::of("192.0.2.1".parse().unwrap(), &HeaderMap::new());
        let now = Instant::now();
        let lines = (0..1000)
            .filter_map(|_| refusals.take(&origin, now))
            .count();
        assert_eq!(lines, 10);
        let later = now + Duration::from_secs(11);
        assert_eq!(refusals.take(&origin, later), Some(990));
        let crowd = (0..10_000u32).filter(|n| {
            let address = std::net::Ipv4Addr::from_bits(*n).into();
            refusals
                .take(&Origin::of(address, &HeaderMap::new()), later)
                .is_some()
        });
        assert!(crowd.count() < 120);
    }
}
