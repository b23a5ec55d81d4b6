//! Limits on how long work may take: whoever works holds a [`Working`] until the end, whoever watches waits on an [`End`].

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Held while the work goes on; dropping it is its end.
#[derive(Debug)]
pub(crate) struct Working {
    _end: Sender<()>,
}

/// The end of the work, for the thread that watches it.
#[derive(Debug)]
pub(crate) struct End(Receiver<()>);

/// Both sides of one piece of work.
pub(crate) fn begin() -> (Working, End) {
    let (sender, receiver) = channel();
    (Working { _end: sender }, End(receiver))
}

impl End {
    /// Waits so long for the end; whether it came.
    pub(crate) fn comes_within(&self, time: Duration) -> bool {
        self.0.recv_timeout(time) != Err(RecvTimeoutError::Timeout)
    }
}
