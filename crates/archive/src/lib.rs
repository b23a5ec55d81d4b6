//! The archive format of hubvault: a tar that can be sought.

mod codec;

pub use codec::Codec;
