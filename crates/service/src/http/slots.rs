//! The slots for connections. If all are taken, an idle connection is closed for a new one, so that many idle clients
//! keep nobody from an answer.

use super::limit::network;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// Connections at once.
pub(super) const MAX: usize = 256;
/// Slots that only this host may use, as a proxy and a health check do.
const RESERVED_FOR_THIS_HOST: usize = 64;
/// Connections of one other address.
const MAX_PER_ADDRESS: usize = 96;

/// The open connections. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    next: u64,
    taken: HashMap<u64, Taken>,
}

#[derive(Debug)]
struct Taken {
    peer: SocketAddr,
    network: IpAddr,
    /// Requests that are being answered.
    requests: usize,
    /// When the last request ended.
    idle_since: Instant,
    close: Arc<Notify>,
}

/// The slot of one connection; dropping it frees it.
#[derive(Debug)]
pub(super) struct Slot {
    id: u64,
    close: Arc<Notify>,
    slots: Slots,
}

/// A request of a connection that is being answered.
#[derive(Debug)]
pub(super) struct ActiveRequest {
    id: u64,
    slots: Slots,
}

/// A slot, and the peer whose connection was closed for it.
type Granted = (Slot, Option<SocketAddr>);

impl Slots {
    /// A slot for `peer`. If all are taken, the longest idle connection of the same address, or of the address with
    /// most of them, is closed for it. `None` if none is idle.
    pub(super) fn take(&self, peer: SocketAddr, now: Instant) -> Option<Granted> {
        let mut shared = lock(&self.shared);
        let network = network(peer.ip());
        let closed = if shared.is_full_for(network) {
            let id = shared.idle_longest(network)?;
            let closed = shared.taken.remove(&id)?;
            closed.close.notify_one();
            Some(closed.peer)
        } else {
            None
        };
        shared.next += 1;
        let (id, close) = (shared.next, Arc::new(Notify::new()));
        let taken = Taken {
            peer,
            network,
            requests: 0,
            idle_since: now,
            close: Arc::clone(&close),
        };
        shared.taken.insert(id, taken);
        let slots = self.clone();
        Some((Slot { id, close, slots }, closed))
    }
}

impl Shared {
    fn is_full_for(&self, network: IpAddr) -> bool {
        if network.is_loopback() {
            return self.taken.len() >= MAX;
        }
        let elsewhere = self.taken.values().filter(|t| !t.network.is_loopback());
        self.of(network) >= MAX_PER_ADDRESS
            || elsewhere.count() >= MAX - RESERVED_FOR_THIS_HOST
            || self.taken.len() >= MAX
    }

    fn of(&self, network: IpAddr) -> usize {
        self.taken.values().filter(|t| t.network == network).count()
    }

    /// Of those that may be closed for somebody of `network`.
    fn idle_longest(&self, network: IpAddr) -> Option<u64> {
        let own = !network.is_loopback() && self.of(network) >= MAX_PER_ADDRESS;
        let mut sizes: HashMap<IpAddr, usize> = HashMap::new();
        for taken in self.taken.values() {
            *sizes.entry(taken.network).or_default() += 1;
        }
        // Nobody from elsewhere takes the slot of this host.
        let may = |taken: &&Taken| {
            taken.requests == 0
                && (!own || taken.network == network)
                && (network.is_loopback() || !taken.network.is_loopback())
        };
        let idle = self.taken.iter().filter(|(_, taken)| may(taken));
        let first = idle.min_by_key(|(_, taken)| {
            let size = sizes.get(&taken.network).copied().unwrap_or_default();
            (std::cmp::Reverse(size), taken.idle_since)
        });
        first.map(|(id, _)| *id)
    }
}

impl Slot {
    /// Until the slot is given to somebody else.
    pub(super) async fn lost(&self) {
        self.close.notified().await;
    }

    /// A request begins; while it is answered nobody takes the slot.
    pub(super) fn begin_request(&self) -> ActiveRequest {
        if let Some(taken) = lock(&self.slots.shared).taken.get_mut(&self.id) {
            taken.requests += 1;
        }
        ActiveRequest {
            id: self.id,
            slots: self.slots.clone(),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.slots.shared).taken.remove(&self.id);
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        if let Some(taken) = lock(&self.slots.shared).taken.get_mut(&self.id) {
            taken.requests = taken.requests.saturating_sub(1);
            taken.idle_since = Instant::now();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn peer(host: [u8; 4], port: usize) -> SocketAddr {
        (host, port as u16).into()
    }

    const HERE: [u8; 4] = [127, 0, 0, 1];

    #[test]
    fn the_silent_give_way_and_those_at_work_do_not() {
        let (slots, now) = (Slots::default(), Instant::now());
        let mut held = Vec::new();
        for n in 0..MAX {
            let at = now + Duration::from_millis(n as u64);
            let (slot, closed) = slots.take(peer(HERE, n), at).unwrap();
            assert_eq!(closed, None);
            held.push(slot);
        }
        let busy = held[0].begin_request();
        let (_new, closed) = slots.take(peer(HERE, 999), now).unwrap();
        assert_eq!(closed, Some(peer(HERE, 1)), "the second was idle longest");
        drop(busy);
        let _all: Vec<ActiveRequest> = held.iter().map(Slot::begin_request).collect();
        let (_last, closed) = slots.take(peer(HERE, 1000), now).unwrap();
        assert_eq!(closed, Some(peer(HERE, 999)));
    }

    #[test]
    fn where_all_are_at_work_nobody_is_closed() {
        let (slots, now) = (Slots::default(), Instant::now());
        let held: Vec<Slot> = (0..MAX)
            .map(|n| slots.take(peer(HERE, n), now).unwrap().0)
            .collect();
        let all: Vec<ActiveRequest> = held.iter().map(Slot::begin_request).collect();
        assert!(slots.take(peer(HERE, 999), now).is_none());
        drop(all);
        drop(held);
        assert!(lock(&slots.shared).taken.is_empty());
    }

    #[test]
    fn no_address_takes_the_places_of_others_or_of_this_host() {
        let (slots, now) = (Slots::default(), Instant::now());
        let mut held = Vec::new();
        for n in 0..MAX_PER_ADDRESS {
            held.push(slots.take(peer([192, 0, 2, 1], n), now).unwrap().0);
        }
        let (more, closed) = slots.take(peer([192, 0, 2, 1], 999), now).unwrap();
        assert_eq!(closed.unwrap().ip(), more_ip(), "its own gives way");
        held.push(more);
        let mut n = 0u32;
        while held.len() < MAX * 2 {
            n += 1;
            let host = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).octets();
            held.push(slots.take(peer(host, 1), now).unwrap().0);
        }
        let taken = lock(&slots.shared).taken.len();
        assert_eq!(taken, MAX - RESERVED_FOR_THIS_HOST);
        for n in 0..RESERVED_FOR_THIS_HOST {
            let (slot, closed) = slots.take(peer(HERE, n), now).unwrap();
            assert_eq!(closed, None, "there is room for this host");
            held.push(slot);
        }
    }

    fn more_ip() -> IpAddr {
        [192, 0, 2, 1].into()
    }
}
