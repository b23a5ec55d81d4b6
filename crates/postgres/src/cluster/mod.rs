//! Throwaway servers: their directory, user and sandbox, and leftovers of crashed runs.

mod options;
mod nofollow;
mod reap;
mod user;
mod sweep;
mod lock;
mod directory;
mod sandbox;
mod nameless;
mod programs;
mod throwaway;

pub use lock::DrillLock;
pub use nofollow::directory_bytes;
pub use options::{Isolation, ThrowawayOptions};
pub use sandbox::{Confinement, sandbox_lacks};
pub use sweep::{Swept, sweep};
pub use throwaway::ThrowawayServer;
