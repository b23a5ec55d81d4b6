//! How the archive is made, and how large it may be.

use hubvault_archive::{Codec, Compression};
use hubvault_model::ByteSize;

/// How the archive is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// The compression.
    pub codec: Codec,
    /// Its level: gzip 1 to 12, zstd 1 to 19.
    pub level: i32,
    /// Whether the passwords of user mappings and subscriptions are taken out of the definitions.
    pub mask_passwords: bool,
}

impl ArchiveOptions {
    /// How its entries are compressed.
    pub(crate) fn compression(self) -> Compression {
        Compression {
            codec: self.codec,
            level: self.level,
        }
    }
}

/// What a finished archive may measure, in bytes. `None` means that nobody said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeLimits {
    /// Smaller is an error.
    pub min: Option<ByteSize>,
    /// Larger is an error.
    pub max: Option<ByteSize>,
}
