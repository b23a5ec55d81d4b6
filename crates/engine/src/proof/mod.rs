//! What an archive must withstand before it counts.

pub mod integrity;
pub mod drill;
mod limit;
mod place;
mod judge;

pub use drill::{DrillError, Verdict};
pub use integrity::{CheckedArchive, IntegrityError, ReadBack, WrittenArchive};
pub use judge::{JudgedArchive, is_due, judge};
pub(crate) use place::sweep_dead;
