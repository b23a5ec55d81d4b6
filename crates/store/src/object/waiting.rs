//! How calls that block wait for requests.

use super::failure::{Answer, Failure};
use crate::error::ErrorKind;
use crate::runtime::runtime;
use std::future::Future;
use std::sync::mpsc::{Receiver, sync_channel};
use tokio::task::AbortHandle;

/// Makes sure that there is a provider of TLS: the program's own, or the same where it installed none, as a test.
pub(crate) fn prepare() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Work that was begun; it ends when nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct Begun<T> {
    result: Receiver<T>,
    task: AbortHandle,
}

impl<T> Begun<T> {
    /// Waits for the result.
    pub(crate) fn wait(self) -> Answer<T> {
        let lost = |_| {
            Failure::new(
                ErrorKind::Failed,
                "internal error: the request's task ended",
            )
        };
        self.result.recv().map_err(lost)
    }
}

impl<T> Drop for Begun<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins something, to wait for it later.
pub(crate) fn begin<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Answer<Begun<T>> {
    let (sender, result) = sync_channel(1);
    let failed = |error: std::io::Error| {
        let text = format!("starting a thread: {error}");
        Failure::new(ErrorKind::Unavailable, text)
    };
    let task = runtime().map_err(failed)?.spawn(async move {
        // Nobody waits any more where this fails.
        let _ = sender.send(work.await);
    });
    let task = task.abort_handle();
    Ok(Begun { result, task })
}

/// Waits for something. Not `block_on`, which panics in a thread of another runtime.
pub(crate) fn wait<T: Send + 'static>(
    work: impl Future<Output = Answer<T>> + Send + 'static,
) -> Answer<T> {
    begin(work)?.wait()?
}
