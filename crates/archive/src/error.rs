//! Why an archive cannot be written or is not what it should be.

use std::io;

/// Every message says where.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A level that the codec does not have.
    #[error("{codec} has no level {level}; it has 1 to {most}")]
    Level {
        /// The codec's name.
        codec: &'static str,
        /// What was asked for.
        level: i32,
        /// The highest.
        most: i32,
    },
    /// The compression library.
    #[error("compressing a block: {0}")]
    Compress(#[source] io::Error),
    /// A tar header could not be made.
    #[error("making the tar header of {name}: {source}")]
    Header {
        /// The entry.
        name: String,
        /// What the library said.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("writing {what}: {source}")]
    Write {
        /// The entry, or the part of the archive.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// What an entry is to hold could not be read.
    #[error("reading the content of {name}: {source}")]
    Content {
        /// The entry.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Two entries of one name.
    #[error("two entries are called {0}")]
    Twice(String),
    /// The manifest could not be made into JSON.
    #[error("writing the manifest: {0}")]
    Json(#[source] serde_json::Error),
    /// The file could not be read.
    #[error("reading at offset {offset}: {source}")]
    Read {
        /// Bytes from the start of the file.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Another kind of file, or one without its end.
    #[error(
        "not a hubvault archive: {0}; it may be another kind of file, or cut short or damaged at \
         its end"
    )]
    Foreign(String),
    /// The manifest is not what it should be.
    #[error("the manifest is damaged: {0}")]
    Manifest(String),
    /// Made by a newer hubvault.
    #[error(
        "the archive has format version {found}; this hubvault reads up to {known}: use a newer one"
    )]
    Newer {
        /// The archive's.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Sealed, and no private key at hand opens it.
    #[error("{}", sealed(*recipients, *tried))]
    Sealed {
        /// To how many.
        recipients: usize,
        /// How many private keys were tried.
        tried: usize,
    },
    /// The seal is not what it should be.
    #[error("the seal of the archive is damaged: {0}")]
    DamagedSeal(String),
    /// The archive could not be sealed.
    #[error("sealing the archive: {0}")]
    Seal(String),
    /// An entry is not what the manifest says.
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
    let to = match recipients {
        1 => "1 recipient".to_owned(),
        more => format!("{more} recipients"),
    };
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
    /// Whether nothing is wrong but that a private key is missing.
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed { .. })
    }
}
