//! What a store was asked for.

use std::ops::Sub;

/// Requests and bytes, as the owners of object stores are billed for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Requests that store, list or begin something; the dearer ones.
    pub writes: u64,
    /// Requests that read or look for something.
    pub reads: u64,
    /// Requests that delete something; free in most places.
    pub deletes: u64,
    /// Bytes of content sent, those of tries that failed included.
    pub bytes_sent: u64,
    /// Bytes of content received.
    pub bytes_received: u64,
}

impl Sub for Requests {
    type Output = Self;

    /// What came since an earlier look.
    fn sub(self, earlier: Self) -> Self {
        Self {
            writes: self.writes.saturating_sub(earlier.writes),
            reads: self.reads.saturating_sub(earlier.reads),
            deletes: self.deletes.saturating_sub(earlier.deletes),
            bytes_sent: self.bytes_sent.saturating_sub(earlier.bytes_sent),
            bytes_received: self.bytes_received.saturating_sub(earlier.bytes_received),
        }
    }
}
