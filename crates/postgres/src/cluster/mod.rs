//! Throwaway servers: their directory, their user, their sandbox, and what crashed runs left of them.

mod beneath;
mod user;
mod directory;
mod lock;
mod sweep;
mod sandbox;
mod reap;
mod programs;
mod throwaway;

pub use beneath::bytes_below;
pub use lock::DrillLock;
pub use sandbox::Confinement;
pub use sweep::{Swept, sweep};
pub use throwaway::{Isolation, ThrowawayOptions, ThrowawayServer};
