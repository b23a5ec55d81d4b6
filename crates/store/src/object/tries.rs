//! When requests are sent again, and how long one call may take in all.

use super::backend::Backend;
use super::client::Counters;
use super::failure::{Answer, Failure};
use crate::error::ErrorKind;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long is waited before a request is sent again.
const PAUSES: [u64; 6] = [100, 300, 700, 1_500, 3_000, 5_000];
/// How often a store that never answered is connected to again.
const CONNECTS: usize = 3;

/// The tries of one call. All its requests share them, so that a silent store ends it within three times the patience.
pub(crate) struct Tries {
    made: usize,
    since: Instant,
    patience: Duration,
    counters: Arc<Counters>,
}

impl Tries {
    /// None is made yet.
    pub(crate) fn of<B: Backend>(backend: &B) -> Self {
        Self {
            made: 0,
            since: Instant::now(),
            patience: backend.patience(),
            counters: Arc::clone(backend.counters()),
        }
    }

    /// Something came: what failed before counts no more.
    pub(crate) fn progressed(&mut self) {
        self.made = 0;
        self.since = Instant::now();
    }

    /// Waits before a request is sent again; `false` where that does not help or was done often enough.
    pub(crate) async fn pause(&mut self, failure: &Failure) -> bool {
        let Some(pause) = PAUSES.get(self.made) else {
            return false;
        };
        // One try more in any case: a large part may take longer.
        let is_late = self.made > 0 && self.since.elapsed() >= self.patience * 2;
        let is_absent =
            failure.is_unconnected() && self.made >= CONNECTS && !self.counters.has_answered();
        if !failure.may_be_retried() || is_late || is_absent {
            return false;
        }
        self.made += 1;
        // Not all at once, and later where the store asks for that.
        let chance = u64::from(Uuid::new_v4().as_bytes()[0]);
        let is_throttled = failure.kind == ErrorKind::Throttled;
        let factor = if is_throttled { 2 } else { 1 };
        let pause = Duration::from_millis(factor * (pause + pause * chance / 512));
        tokio::time::sleep(pause).await;
        true
    }

    /// Sends a request again for a short while, as long as that may help.
    pub(crate) async fn retried<T, F>(&mut self, mut request: impl FnMut() -> F) -> Answer<T>
    where
        F: Future<Output = Answer<T>> + Send,
    {
        loop {
            match request().await {
                Err(failure) if self.pause(&failure).await => {}
                done => return done,
            }
        }
    }
}

/// The same for a call that is one request.
pub(crate) async fn retried<T, F, B: Backend>(
    backend: &B,
    request: impl FnMut() -> F + Send,
) -> Answer<T>
where
    F: Future<Output = Answer<T>> + Send,
{
    Tries::of(backend).retried(request).await
}
