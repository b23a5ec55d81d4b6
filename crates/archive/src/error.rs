//! Errors of writing and reading archives.

use hubvault_model::counted;
use std::io;

/// An error of the archive format. Every message names the place.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A level that the codec does not have.
    #[error("{codec} has no level {level}; it has 1 to {most}")]
    Level {
        /// The codec's name.
        codec: &'static str,
        /// The requested level.
        level: i32,
        /// The highest.
        most: i32,
    },
    /// Compression failed.
    #[error("compressing a block: {0}")]
    Compress(#[source] io::Error),
    /// A tar header could not be made.
    #[error("making the tar header of {name}: {source}")]
    Header {
        /// The entry.
        name: String,
        /// The library's error.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("writing {what}: {source}")]
    Write {
        /// The entry, or the part of the archive.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// The content for an entry could not be read.
    #[error("reading the content of {name}: {source}")]
    Content {
        /// The entry.
        name: String,
        /// The system's error.
        source: io::Error,
    },
    /// Two entries have the same name.
    #[error("duplicate entry name {0}")]
    DuplicateName(String),
    /// The manifest could not be serialized.
    #[error("writing the manifest: {0}")]
    Json(#[source] serde_json::Error),
    /// The file could not be read.
    #[error("reading at offset {offset}: {source}")]
    Read {
        /// Bytes from the start of the file.
        offset: u64,
        /// The system's error.
        source: io::Error,
    },
    /// Not an archive, or a truncated one.
    #[error(
        "not a hubvault archive: {0}; it may be another kind of file, or cut short or damaged at \
         its end"
    )]
    Foreign(String),
    /// The manifest is damaged.
    #[error("the manifest is damaged: {0}")]
    Manifest(String),
    /// The archive was written by a newer hubvault.
    #[error(
        "the archive has format version {found}; this hubvault reads up to {known}: use a newer one"
    )]
    Newer {
        /// The archive's.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The archive is sealed and no given private key opens it.
    #[error("{}", sealed(*recipients, *tried))]
    Sealed {
        /// The number of recipients.
        recipients: usize,
        /// How many private keys were tried.
        tried: usize,
    },
    /// The seal is damaged.
    #[error("the seal of the archive is damaged: {0}")]
    DamagedSeal(String),
    /// The archive could not be sealed.
    #[error("sealing the archive: {0}")]
    Seal(String),
    /// An entry does not match the manifest.
    #[error("entry {name} (at offset {offset}): {what}")]
    Entry {
        /// The entry.
        name: String,
        /// Where it begins in the file.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
}

fn sealed(recipients: usize, tried: usize) -> String {
    let to = counted(recipients as u64, "recipient");
    match tried {
        0 => format!(
            "the archive is sealed to {to}; name the file of a recipient's private key with \
             --identity FILE"
        ),
        _ => format!(
            "the archive is sealed to {to}, and none of the identities given ({tried}) is one of \
             them; name the file of a recipient's private key with --identity FILE"
        ),
    }
}

impl ArchiveError {
    /// Whether only a private key is missing.
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed { .. })
    }
}
