//! A run's stop request, shared by everything that works for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

type Action = Arc<dyn Fn() + Send + Sync>;

/// A flag that threads check, with actions that wake those which wait for a server or a child process.
#[derive(Clone, Default)]
pub struct Cancel {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    requested: AtomicBool,
    next: AtomicU64,
    actions: Mutex<BTreeMap<u64, Action>>,
    last_failure: Mutex<Option<String>>,
}

impl Cancel {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// True once [`Cancel::request`] was called.
    pub fn is_requested(&self) -> bool {
        self.inner.requested.load(Ordering::Acquire)
    }

    /// Sets the flag and runs every registered action, each in a thread of its own, so that one
    /// that waits for an unreachable server does not delay the others. May be called more than once.
    pub fn request(&self) {
        self.inner.requested.store(true, Ordering::Release);
        let actions: Vec<Action> = {
            let map = self
                .inner
                .actions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            map.values().cloned().collect()
        };
        for action in actions {
            std::thread::spawn(move || action());
        }
    }

    /// Notes why the work has to try something again, for whoever ends it meanwhile; `None` once it goes on.
    pub fn set_last_failure(&self, why: Option<String>) {
        let last = &self.inner.last_failure;
        *last.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// What the work is trying again, if it does.
    pub fn last_failure(&self) -> Option<String> {
        let last = &self.inner.last_failure;
        last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits this long, or until the request; whether it was requested.
    pub fn wait(&self, longest: Duration) -> bool {
        let (requested, wakes) = channel();
        let _guard = self.on_request(move || {
            // Nobody waits any more once the time is up.
            let _ = requested.send(());
        });
        wakes.recv_timeout(longest).is_ok()
    }

    /// Registers an action that wakes waiting work; it is removed when the guard is dropped.
    /// An action that is registered after the request runs at once.
    pub fn on_request(&self, action: impl Fn() + Send + Sync + 'static) -> CancelGuard {
        let key = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let action: Action = Arc::new(action);
        self.inner
            .actions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, Arc::clone(&action));
        if self.is_requested() {
            action();
        }
        CancelGuard {
            cancel: self.clone(),
            key,
        }
    }
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cancel")
            .field("requested", &self.is_requested())
            .finish_non_exhaustive()
    }
}

/// Keeps one action of [`Cancel::on_request`] alive.
#[derive(Debug)]
#[must_use = "the action is forgotten when this is dropped"]
pub struct CancelGuard {
    cancel: Cancel,
    key: u64,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.cancel
            .inner
            .actions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_request_wakes_who_waits_and_forgets_who_left() {
        let cancel = Cancel::new();
        let (sender, receiver) = mpsc::channel();
        let left = sender.clone();
        drop(cancel.on_request(move || left.send("left").unwrap()));
        let _guard = cancel.on_request(move || sender.send("waits").unwrap());
        cancel.request();
        assert_eq!(receiver.recv().unwrap(), "waits");
        assert!(cancel.is_requested());
        assert!(receiver.try_recv().is_err());
    }
}
