//! Old archives removed by rules: decided first, printable, then done.

mod policy;
mod prune;

pub use policy::{Decision, Kept, decide};
pub use prune::{Pruned, RetainError, apply, pin, plan};
