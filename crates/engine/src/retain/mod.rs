//! Old archives removed by rules, at each destination: decided first, printable, then done.

mod policy;
mod plan;
mod still_there;
mod error;
mod pin;
mod drills;
mod doubt;
mod asked;
mod prune;
mod missing;
mod rejected;

pub use asked::{Decided, decided};
pub(crate) use drills::{is_drill_due, learn_found, unknown};
pub use drills::{learn_drills, record_drill, store_drills};
pub use error::RetainError;
pub use missing::{Missing, MissingCopy, accept_missing, missing};
pub use pin::{ROWS_LOST, Unstored, pin, store_pins};
pub(crate) use pin::{is_pin_due, write_sidecar};
pub(crate) use plan::kept_once_there;
pub use plan::{Pruned, plan};
pub use policy::{Decision, Kept, decide};
pub use prune::{Applied, apply};
pub use rejected::{DAYS, KEPT, Rejected, rejected, remove_rejected};
pub(crate) use rejected::{PREFIX, REJECTED};
