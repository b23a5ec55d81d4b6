//! The places for connections. Who asks nothing gives up its place to whoever comes: so a crowd that is silent or
//! slow keeps nobody from an answer.

use super::limit::network;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// Connections at once.
pub(super) const MOST: usize = 256;
/// Those of them that only this host may have, which a proxy and a health check are on.
const FOR_THIS_HOST: usize = 64;
/// Connections of one address of elsewhere.
const MOST_OF_ONE: usize = 96;

/// Who is connected. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
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
    at_work: usize,
    /// Since when nothing is asked.
    idle_since: Instant,
    close: Arc<Notify>,
}

/// The place of one connection; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    close: Arc<Notify>,
    places: Places,
}

/// A request of a connection that is being answered.
#[derive(Debug)]
pub(super) struct AtWork {
    id: u64,
    places: Places,
}

/// A place, and who gave it up.
type Granted = (Place, Option<SocketAddr>);

impl Places {
    /// A place for `peer`. Where all are taken, the connection of the same address, or of the address with most of
    /// them, on which nothing was asked for longest is closed for it. `None` when every one is at work.
    pub(super) fn take(&self, peer: SocketAddr, now: Instant) -> Option<Granted> {
        let mut shared = lock(&self.shared);
        let network = network(peer.ip());
        let gone = if shared.is_full_for(network) {
            let id = shared.idle_longest(network)?;
            let gone = shared.taken.remove(&id)?;
            gone.close.notify_one();
            Some(gone.peer)
        } else {
            None
        };
        shared.next += 1;
        let (id, close) = (shared.next, Arc::new(Notify::new()));
        let taken = Taken {
            peer,
            network,
            at_work: 0,
            idle_since: now,
            close: Arc::clone(&close),
        };
        shared.taken.insert(id, taken);
        let places = self.clone();
        Some((Place { id, close, places }, gone))
    }
}

impl Shared {
    fn is_full_for(&self, network: IpAddr) -> bool {
        if network.is_loopback() {
            return self.taken.len() >= MOST;
        }
        let elsewhere = self.taken.values().filter(|t| !t.network.is_loopback());
        self.of(network) >= MOST_OF_ONE
            || elsewhere.count() >= MOST - FOR_THIS_HOST
            || self.taken.len() >= MOST
    }

    fn of(&self, network: IpAddr) -> usize {
        self.taken.values().filter(|t| t.network == network).count()
    }

    /// Of those that may be closed for somebody of `network`.
    fn idle_longest(&self, network: IpAddr) -> Option<u64> {
        let own = !network.is_loopback() && self.of(network) >= MOST_OF_ONE;
        let mut sizes: HashMap<IpAddr, usize> = HashMap::new();
        for taken in self.taken.values() {
            *sizes.entry(taken.network).or_default() += 1;
        }
        // Nobody from elsewhere takes the place of this host.
        let may = |taken: &&Taken| {
            taken.at_work == 0
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

impl Place {
    /// Until the place is given to somebody else.
    pub(super) async fn lost(&self) {
        self.close.notified().await;
    }

    /// A request begins; while it is answered nobody takes the place.
    pub(super) fn at_work(&self) -> AtWork {
        if let Some(taken) = lock(&self.places.shared).taken.get_mut(&self.id) {
            taken.at_work += 1;
        }
        AtWork {
            id: self.id,
            places: self.places.clone(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places.shared).taken.remove(&self.id);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(taken) = lock(&self.places.shared).taken.get_mut(&self.id) {
            taken.at_work = taken.at_work.saturating_sub(1);
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
        let (places, now) = (Places::default(), Instant::now());
        let mut held = Vec::new();
        for n in 0..MOST {
            let at = now + Duration::from_millis(n as u64);
            let (place, gone) = places.take(peer(HERE, n), at).unwrap();
            assert_eq!(gone, None);
            held.push(place);
        }
        let busy = held[0].at_work();
        let (_new, gone) = places.take(peer(HERE, 999), now).unwrap();
        assert_eq!(gone, Some(peer(HERE, 1)), "the second was idle longest");
        drop(busy);
        let _all: Vec<AtWork> = held.iter().map(Place::at_work).collect();
        let (_last, gone) = places.take(peer(HERE, 1000), now).unwrap();
        assert_eq!(gone, Some(peer(HERE, 999)));
    }

    #[test]
    fn where_all_are_at_work_nobody_is_closed() {
        let (places, now) = (Places::default(), Instant::now());
        let held: Vec<Place> = (0..MOST)
            .map(|n| places.take(peer(HERE, n), now).unwrap().0)
            .collect();
        let all: Vec<AtWork> = held.iter().map(Place::at_work).collect();
        assert!(places.take(peer(HERE, 999), now).is_none());
        drop(all);
        drop(held);
        assert!(lock(&places.shared).taken.is_empty());
    }

    #[test]
    fn no_address_takes_the_places_of_others_or_of_this_host() {
        let (places, now) = (Places::default(), Instant::now());
        let mut held = Vec::new();
        for n in 0..MOST_OF_ONE {
            held.push(places.take(peer([192, 0, 2, 1], n), now).unwrap().0);
        }
        let (more, gone) = places.take(peer([192, 0, 2, 1], 999), now).unwrap();
        assert_eq!(gone.unwrap().ip(), more_ip(), "its own gives way");
        held.push(more);
        let mut n = 0u32;
        while held.len() < MOST * 2 {
            n += 1;
            let host = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).octets();
            held.push(places.take(peer(host, 1), now).unwrap().0);
        }
        let taken = lock(&places.shared).taken.len();
        assert_eq!(taken, MOST - FOR_THIS_HOST);
        for n in 0..FOR_THIS_HOST {
            let (place, gone) = places.take(peer(HERE, n), now).unwrap();
            assert_eq!(gone, None, "there is room for this host");
            held.push(place);
        }
    }

    fn more_ip() -> IpAddr {
        [192, 0, 2, 1].into()
    }
}
