//! The lease that keeps machines with the same job from running at once.

use std::time::Duration;

/// Where it is, and how long it is held without a renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseOptions {
    /// The name of the destination.
    pub destination: String,
    /// Its length.
    pub lasts: Duration,
}
