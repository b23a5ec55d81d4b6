//! Collects processes that ended: child processes, and orphans, as the first process of a container must.

use rustix::process::{WaitOptions, WaitStatus, getpid, set_child_subreaper, wait};

/// At most so many at once, so that many of them do not hold up the service.
const MAX_AT_ONCE: usize = 64;

/// From now on, orphans of child processes become children of this process.
pub(super) fn adopt() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        tracing::debug!("cannot adopt orphans: {error}");
    }
}

/// Collects those that ended, with their process ids.
pub(super) fn collect() -> Vec<(u32, WaitStatus)> {
    let mut ended = Vec::new();
    while ended.len() < MAX_AT_ONCE {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                ended.push((pid.as_raw_nonzero().get().unsigned_abs(), status));
            }
            _ => break,
        }
    }
    ended
}
