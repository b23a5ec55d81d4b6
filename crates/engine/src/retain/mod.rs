//! Old archives removed by rules: decided first, printable, then done.

mod policy;
mod prune;
mod missing;

pub use missing::{Missing, accept_missing, missing};
pub use policy::{Decision, Kept, decide};
pub use prune::{Pruned, RetainError, apply, pin, plan};
