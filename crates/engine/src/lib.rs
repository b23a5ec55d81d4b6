//! What hubvault knows how to do.

pub mod backup;
pub mod job;
