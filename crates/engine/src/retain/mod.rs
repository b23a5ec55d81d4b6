//! Old archives removed by rules: decided first, printable, then done.

mod policy;
mod prune;
mod missing;
mod rejected;

pub use missing::{Missing, accept_missing, missing};
pub use policy::{Decision, Kept, decide};
pub use prune::{Pruned, RetainError, apply, pin, plan};
pub use rejected::{DAYS, KEPT, Rejected, rejected, remove_rejected};
pub(crate) use rejected::{PREFIX, REJECTED};
