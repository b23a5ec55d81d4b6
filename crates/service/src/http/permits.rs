//! Permits for what may happen only so often at once: in all, and for one address or token.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The permits in use, by address or token. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Permits<K: Eq + Hash> {
    max: usize,
    max_per_key: usize,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

/// One of them; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit<K: Eq + Hash> {
    key: K,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Eq + Hash + Clone> Permits<K> {
    /// `max` in all, `max_per_key` for one address or token.
    pub(crate) fn new(max: usize, max_per_key: usize) -> Self {
        Self {
            max,
            max_per_key,
            held: Arc::default(),
        }
    }

    /// One more for `key`; `None` if none is left.
    pub(crate) fn take(&self, key: K) -> Option<Permit<K>> {
        let mut held = lock(&self.held);
        let own = held.get(&key).copied().unwrap_or_default();
        if own >= self.max_per_key || held.values().sum::<usize>() >= self.max {
            return None;
        }
        held.insert(key.clone(), own + 1);
        Some(Permit {
            key,
            held: Arc::clone(&self.held),
        })
    }
}

impl<K: Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some(own) = held.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.key);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_no_more_than_its_own_and_all_no_more_than_there_are() {
        let shares = Permits::new(3, 2);
        let (first, second) = (shares.take("a"), shares.take("a"));
        assert!(first.is_some() && second.is_some() && shares.take("a").is_none());
        let third = shares.take("b");
        assert!(third.is_some() && shares.take("c").is_none());
        drop(first);
        assert!(shares.take("c").is_some(), "what ended makes room");
        drop((second, third));
        assert!(lock(&shares.held).is_empty());
    }
}
