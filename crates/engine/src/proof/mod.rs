//! What an archive must withstand before it counts.

pub mod integrity;

pub use integrity::{CheckedArchive, IntegrityError, ReadBack, WrittenArchive};
