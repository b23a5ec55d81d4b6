//! The copies of a backup: what is recorded of each, and in which shape.

use crate::job::{Destination, LOCAL};
use hubvault_store::Key;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One backup at one destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupCopy {
    /// The destination's name.
    pub destination: String,
    /// The archive's key there.
    pub key: String,
    /// The archive's size there.
    pub bytes: Option<u64>,
    /// What is known of it.
    pub state: CopyState,
    /// Since when it is not expected to be there: retention removed it, or its loss was accepted.
    #[serde(default)]
    pub removed_at: Option<Timestamp>,
    /// What a newer version recorded.
    #[serde(flatten)]
    pub other: Map<String, Value>,
    /// Where it is on this machine: in JSON, `file` of the backup.
    #[serde(skip)]
    pub(super) path: Option<PathBuf>,
}

/// What is known of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyState {
    /// To be stored.
    Pending,
    /// Stored whole.
    Present,
    /// Not there, although hubvault did not remove it.
    Missing,
    /// There, but not as it was stored.
    Damaged,
    /// Removed by retention.
    Removed,
}

impl BackupCopy {
    /// A stored archive of the destination [`LOCAL`], at its path.
    pub fn local(path: impl Into<PathBuf>, bytes: Option<u64>) -> Self {
        let path = path.into();
        let name = path.file_name().unwrap_or(path.as_os_str());
        Self {
            destination: LOCAL.to_owned(),
            key: name.to_string_lossy().into_owned(),
            bytes,
            state: CopyState::Present,
            removed_at: None,
            other: Map::new(),
            path: Some(path),
        }
    }

    /// An archive that was stored whole at a destination.
    pub(crate) fn stored(destination: &Destination, key: &Key, bytes: u64) -> Self {
        Self {
            destination: destination.name.clone(),
            key: key.to_string(),
            path: destination.path(key),
            ..Self::local(key.as_str(), Some(bytes))
        }
    }

    /// Where it is on this machine, whether it is there or not; `None` for one that is elsewhere.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether it should be there.
    pub fn is_expected(&self) -> bool {
        self.removed_at.is_none() && self.state != CopyState::Removed
    }

    /// Looks for it; its size. `NotFound` where it is not there.
    pub fn find(&self) -> io::Result<u64> {
        let Some(path) = &self.path else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{} is not on this machine", self.key),
            ));
        };
        match fs::metadata(path)? {
            meta if meta.is_file() => Ok(meta.len()),
            _ => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "it is not a regular file",
            )),
        }
    }
}

pub(super) fn removed_at(copies: &[BackupCopy]) -> Option<Timestamp> {
    if copies.iter().any(BackupCopy::is_expected) {
        return None;
    }
    copies.iter().filter_map(|copy| copy.removed_at).max()
}

pub(super) fn is_lost(copies: &[BackupCopy]) -> bool {
    let lost = |copy: &BackupCopy| copy.state == CopyState::Missing && copy.removed_at.is_some();
    copies.iter().any(lost)
}

/// The copies in records and in `--json`. `file`, `removed_at` and `gone` are what earlier versions had instead: they are
/// written beside the copies, so that an earlier version reads the record, and read where there are no copies.
pub(super) mod shape {
    use super::{BackupCopy, CopyState, LOCAL, is_lost, removed_at};
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::path::{Path, PathBuf};

    #[derive(Serialize)]
    struct Written<'a> {
        file: Option<&'a Path>,
        removed_at: Option<Timestamp>,
        gone: bool,
        copies: &'a [BackupCopy],
    }

    #[derive(Deserialize)]
    struct Read {
        file: Option<PathBuf>,
        #[serde(default)]
        removed_at: Option<Timestamp>,
        #[serde(default)]
        gone: bool,
        #[serde(default)]
        copies: Vec<BackupCopy>,
    }

    pub(in super::super) fn serialize<S: Serializer>(
        copies: &[BackupCopy],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Written {
            file: copies.iter().find_map(BackupCopy::path),
            removed_at: removed_at(copies),
            gone: is_lost(copies),
            copies,
        }
        .serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<BackupCopy>, D::Error> {
        let read = Read::deserialize(deserializer)?;
        let (Some(file), true) = (&read.file, read.copies.is_empty()) else {
            let mut copies = read.copies;
            let local = copies.iter_mut().find(|copy| copy.destination == LOCAL);
            if let Some(copy) = local {
                copy.path = read.file;
            }
            return Ok(copies);
        };
        let mut copy = BackupCopy::local(file, None);
        copy.removed_at = read.removed_at;
        copy.state = match (read.removed_at, read.gone) {
            (Some(_), true) => CopyState::Missing,
            (Some(_), false) => CopyState::Removed,
            (None, _) => CopyState::Present,
        };
        Ok(vec![copy])
    }
}
