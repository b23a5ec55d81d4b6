//! What an archive must withstand before it counts.

pub mod integrity;
pub mod drill;
mod drill_limit;
mod drill_server;
mod verdict;

pub use drill::{DrillError, Verdict};
pub(crate) use drill_server::sweep_dead;
pub use integrity::{CheckedArchive, IntegrityError, ReadBack, WrittenArchive};
pub use verdict::{JudgedArchive, is_due, judge};
