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
mod cluster_copy;
mod kept_room;
mod template;
mod empty_cluster;
mod throwaway;

pub use kept_room::remove_empty_clusters;
pub use lock::DrillLock;
pub use nofollow::directory_bytes;
pub use options::{Isolation, ThrowawayOptions};
pub use sandbox::{Confinement, sandbox_lacks};
pub use sweep::{Swept, sweep};
pub use throwaway::ThrowawayServer;
