//! Throwaway servers: their directory, their user, their sandbox, and what crashed runs left of them.

mod options;
mod beneath;
mod reap;
mod user;
mod sweep;
mod lock;
mod directory;
mod sandbox;
mod programs;
mod throwaway;

pub use beneath::bytes_below;
pub use lock::DrillLock;
pub use options::{Isolation, ThrowawayOptions};
pub use sandbox::Confinement;
pub use sweep::{Swept, sweep};
pub use throwaway::ThrowawayServer;
