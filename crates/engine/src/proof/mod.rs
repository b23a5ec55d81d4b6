//! Proves an archive: integrity, then a drill.

pub mod integrity;
mod drill_result;
mod place;
mod drill_limit;
mod preload;
mod drill_server;
mod rebuilt;
mod definitions;
mod checks;
mod script_outcome;
mod shown;
mod script;
pub mod drill;
mod verdict;

pub use drill_result::{DrillError, Verdict};
pub(crate) use drill_server::sweep_leftovers;
pub use integrity::{CheckedArchive, IntegrityError, ReadBack, WrittenArchive};
pub(crate) use script::shape;
pub use verdict::{Due, JudgedArchive, is_due, judge};
