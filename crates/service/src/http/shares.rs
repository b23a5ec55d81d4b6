//! How many of something may be at work at once: in all, and of one address or token.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Those at work, by whose they are. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Shares<K: Eq + Hash> {
    most: usize,
    most_of_one: usize,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

/// One of them; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Share<K: Eq + Hash> {
    of: K,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// `most` in all, `most_of_one` of one.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        Self {
            most,
            most_of_one,
            held: Arc::default(),
        }
    }

    /// One more of `of`; `None` when that would be too many.
    pub(crate) fn take(&self, of: K) -> Option<Share<K>> {
        let mut held = lock(&self.held);
        let own = held.get(&of).copied().unwrap_or_default();
        if own >= self.most_of_one || held.values().sum::<usize>() >= self.most {
            return None;
        }
        held.insert(of.clone(), own + 1);
        Some(Share {
            of,
            held: Arc::clone(&self.held),
        })
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some(own) = held.get_mut(&self.of) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.of);
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
        let shares = Shares::new(3, 2);
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
