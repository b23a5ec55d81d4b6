//! What hubvault knows how to do.

pub mod job;
