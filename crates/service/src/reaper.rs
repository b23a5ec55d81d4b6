//! Processes that ended: our children, and orphans, which the first process of a container has to collect.

use rustix::process::{WaitOptions, WaitStatus, getpid, set_child_subreaper, wait};

/// At most so many at once, so that a swarm of them does not hold up the service.
const AT_ONCE: usize = 64;

/// From now on, orphans of our children become our own.
pub(super) fn adopt() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        tracing::debug!("orphans are left to the system: {error}");
    }
}

/// Collects those that ended, with their process ids.
pub(super) fn collect() -> Vec<(u32, WaitStatus)> {
    let mut ended = Vec::new();
    while ended.len() < AT_ONCE {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                ended.push((pid.as_raw_nonzero().get().unsigned_abs(), status));
            }
            _ => break,
        }
    }
    ended
}
