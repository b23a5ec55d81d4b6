//! What went wrong with archives in a store.

use crate::catalog::CatalogError;
use crate::pool::StopError;
use hubvault_archive::ArchiveError;
use hubvault_model::BackupId;
use hubvault_store::{Location, StoreError};
use std::collections::BTreeSet;

/// An archive of a store could not be found or read.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The store itself.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive.
    #[error("opening {place}: {source}")]
    Archive {
        /// Which one.
        place: String,
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// The archive is of another backup than was asked for.
    #[error(
        "opening {place}: the archive holds backup {found}, but its sidecar or the catalog says {wanted}; to use it as \
         backup {found}, name the archive itself: {place}"
    )]
    OtherBackup {
        /// Where it is.
        place: String,
        /// What was asked for.
        wanted: BackupId,
        /// What it is.
        found: BackupId,
    },
    /// No copy of a backup is there.
    #[error(
        "no copy of the archive of backup {} is there; `hubvault copies verify` looks for its copies",
        id.short()
    )]
    NoCopy {
        /// Which one.
        id: BackupId,
    },
    /// There is no archive at all.
    #[error("there are no archives in {place}{hint}")]
    Empty {
        /// Where.
        place: String,
        /// Where else they may be.
        hint: String,
    },
    /// There is none of this name.
    #[error("no backup {word:?} in {place}; `hubvault list {place}` lists them")]
    Unknown {
        /// What was asked for.
        word: String,
        /// Where.
        place: String,
    },
    /// More than one is meant.
    #[error("{word:?} could be several backups: {}; give more of the id", ids.join(", "))]
    Ambiguous {
        /// What was asked for.
        word: String,
        /// What it could be.
        ids: Vec<String>,
    },
    /// Stopped on request.
    #[error("stopped on request")]
    Cancelled,
}

impl RemoteError {
    /// Whether the only problem is that the archive is sealed and no identity opens it.
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Archive { source, .. } if source.is_sealed())
    }
}

impl StopError for RemoteError {
    fn stopped() -> Self {
        Self::Cancelled
    }

    fn is_stopped(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

/// Where archives are, if not here.
pub(super) fn hint(place: &Location, below: &BTreeSet<String>) -> String {
    let mut places = below.iter().map(|below| format!("{place}/{below}"));
    match (places.next(), below.len()) {
        (None, _) => String::new(),
        (Some(one), 1) => format!("; there are some in {one}"),
        (Some(one), many) => {
            format!("; there are some in {many} directories below it, such as {one}")
        }
    }
}
