//! How entries are compressed.

use serde::{Deserialize, Serialize};

/// The compression of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// gzip members (RFC 1952).
    #[default]
    Gzip,
    /// zstd frames (RFC 8878).
    Zstd,
}
