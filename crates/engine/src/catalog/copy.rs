//! The copies of a backup: what is recorded of each, and in which shape.

use crate::disk::size_of;
use crate::job::{Destination, Destinations, LOCAL};
use hubvault_store::{Key, Location, Requests};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
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
    /// The URL of the destination when it was stored there; `None` in records of earlier versions, and of [`LOCAL`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Of a bucket: the server that was asked then. `None` in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Of a directory, here or on a server: the filesystem on which it was stored, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<String>,
    /// What is known of it.
    pub state: CopyState,
    /// Since when it is not expected to be there: retention removed it, or its loss was accepted.
    #[serde(default)]
    pub removed_at: Option<Timestamp>,
    /// Whether it is only until the archive is copied elsewhere: it lies in a spool directory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub until_copied: bool,
    /// The archive's SHA-256 there, in hexadecimal digits, as it was compared when it was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// When it was last compared with what was stored: by the store itself, or read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Timestamp>,
    /// Until when nobody can remove it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<Timestamp>,
    /// Since when it is to be stored, or was found missing or damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How often storing it failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<Timestamp>,
    /// Why it is not there, or why it could not be read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Of one in the directory in which archives are made: the destination from which it was brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_again_from: Option<String>,
    /// Whether the object that pins it is beside it, as far as the record knows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pin_stored: bool,
    /// The mark of the latest drill beside it, as far as the record knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill_mark: Option<String>,
    /// The names of marks beside it that were read and are none of this backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable_marks: Vec<String>,
    /// How many marks beside it were not read when it was last looked for them: there are too many.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unread_marks: usize,
    /// What storing and reading it back asked of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<RequestRecord>,
    /// What a newer version recorded.
    #[serde(flatten)]
    pub other: Map<String, Value>,
    /// Where it is on this machine: in JSON, `file` of the backup.
    #[serde(skip)]
    pub(super) path: Option<PathBuf>,
    /// Whether no destination that is configured has it.
    #[serde(skip)]
    is_unconfigured: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(number: &usize) -> bool {
    *number == 0
}

/// What was asked of a store, as its owner is billed for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Requests that store or list something.
    pub writes: u64,
    /// Requests that read or look for something.
    pub reads: u64,
    /// Requests that delete something.
    pub deletes: u64,
    /// Bytes of content sent.
    pub bytes_sent: u64,
    /// Bytes of content received.
    pub bytes_received: u64,
}

impl RequestRecord {
    /// With what was asked since.
    #[must_use]
    pub fn plus(self, more: Requests) -> Self {
        Self {
            writes: self.writes + more.writes,
            reads: self.reads + more.reads,
            deletes: self.deletes + more.deletes,
            bytes_sent: self.bytes_sent + more.bytes_sent,
            bytes_received: self.bytes_received + more.bytes_received,
        }
    }
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

impl CopyState {
    /// The word in every report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Present => "present",
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Removed => "removed",
        }
    }
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
            location: None,
            server: None,
            filesystem: None,
            state: CopyState::Present,
            removed_at: None,
            until_copied: false,
            sha256: None,
            checked_at: None,
            locked_until: None,
            since: None,
            attempts: 0,
            next_try_at: None,
            error: None,
            made_again_from: None,
            pin_stored: false,
            drill_mark: None,
            unreadable_marks: Vec::new(),
            unread_marks: 0,
            requests: None,
            other: Map::new(),
            path: Some(path),
            is_unconfigured: false,
        }
    }

    /// An archive that was stored whole at a destination.
    pub(crate) fn stored(destination: &Destination, key: &Key, bytes: u64) -> Self {
        let is_local = destination.name == LOCAL;
        let mut copy = Self {
            destination: destination.name.clone(),
            key: key.to_string(),
            path: destination.path(key).filter(|_| is_local),
            ..Self::local(key.as_str(), Some(bytes))
        };
        copy.set_place(destination, None);
        copy
    }

    /// An archive that is to be stored at a destination.
    pub fn pending(destination: &str, key: &str, bytes: Option<u64>, since: Timestamp) -> Self {
        Self {
            destination: destination.to_owned(),
            key: key.to_owned(),
            state: CopyState::Pending,
            since: Some(since),
            path: None,
            ..Self::local(key, bytes)
        }
    }

    /// Where it is in the directory in which archives are made, whether it is there or not; `None` for one of another
    /// destination.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Gives the copy of [`LOCAL`] its path, which the record has once.
    pub(super) fn give_path(copies: &mut [Self], path: Option<PathBuf>) {
        let local = copies.iter_mut().find(|copy| copy.destination == LOCAL);
        if let Some(copy) = local {
            copy.path = path;
        }
    }

    /// Records that it is at the place that a destination has now, on this filesystem if that was asked.
    pub(crate) fn set_place(&mut self, destination: &Destination, filesystem: Option<String>) {
        if destination.name == LOCAL {
            return;
        }
        let before = (self.filesystem.take()).filter(|_| self.is_in_place_of(destination));
        self.filesystem = filesystem.or_else(|| destination.filesystem()).or(before);
        self.location = Some(destination.location.to_string());
        self.server = destination.address().server().map(str::to_owned);
    }

    /// Where it was stored, for people: the URL, and the server that was asked.
    pub fn place(&self) -> Option<String> {
        let url = self.location.as_ref()?;
        Some(match &self.server {
            Some(server) => format!("{url} at {server}"),
            None => url.clone(),
        })
    }

    /// Whether a destination is the one at which it was stored, and not another place under the same name.
    pub fn is_at(&self, destination: &Destination) -> bool {
        self.destination == destination.name
            && (self.state == CopyState::Pending || self.is_in_place_of(destination))
    }

    /// Whether it was stored at the place of a destination, whatever that is called; also where no place is recorded.
    pub(crate) fn is_in_place_of(&self, destination: &Destination) -> bool {
        let is_there = |url: &String| {
            *url == destination.location.to_string()
                || Location::parse(url).is_ok_and(|location| destination.is_at(&location))
        };
        let asks_it = |server: &String| destination.address().server() == Some(server);
        self.location.as_ref().is_none_or(is_there) && self.server.as_ref().is_none_or(asks_it)
    }

    /// Whether it is at no destination of its job any more: nothing looks for it, and it counts nowhere.
    pub fn is_unconfigured(&self) -> bool {
        self.is_unconfigured
    }

    pub(super) fn compare_with(&mut self, destinations: &Destinations) {
        let known = destinations.named(&self.destination);
        self.is_unconfigured = !known.is_some_and(|destination| self.is_at(destination));
    }

    /// Whether it should be there.
    pub fn is_expected(&self) -> bool {
        self.removed_at.is_none() && self.state != CopyState::Removed
    }

    /// Whether it is there, as far as the record knows.
    pub fn is_present(&self) -> bool {
        self.state == CopyState::Present && self.removed_at.is_none() && !self.is_unconfigured
    }

    /// Whether it was found damaged, and should be whole.
    pub(super) fn is_damaged(&self) -> bool {
        self.state == CopyState::Damaged && self.is_expected()
    }

    /// Whether it was found missing or damaged, and nobody accepted that.
    pub fn is_lost(&self) -> bool {
        self.is_expected()
            && !self.is_unconfigured
            && matches!(self.state, CopyState::Missing | CopyState::Damaged)
    }

    /// Whether retention was removing it when the process ended, or the destination could not be reached.
    pub(crate) fn is_half_removed(&self) -> bool {
        self.state == CopyState::Removed && self.next_try_at.is_some() && !self.is_unconfigured
    }

    /// Of one in a spool directory: whether it is to go, or went, to another destination. `all` are its backup's.
    pub fn goes_elsewhere(&self, all: &[Self]) -> bool {
        let mut others = all.iter().filter(|it| it.destination != self.destination);
        others.any(|copy| copy.is_expected() && !copy.is_unconfigured)
    }

    /// Looks for it; its size. `NotFound` where it is not there.
    pub fn find(&self) -> io::Result<u64> {
        let Some(path) = &self.path else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{} is not on this machine", self.key),
            ));
        };
        size_of(path)
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
    removed_at(copies).is_some() && copies.iter().any(lost)
}

/// The copies in records and in `--json`. `file`, `removed_at` and `gone` are what earlier versions had instead: they are
/// written beside the copies, so that an earlier version reads the record, and read where there are no copies.
pub(super) mod shape {
    use super::{BackupCopy, CopyState, is_lost, removed_at};
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
            BackupCopy::give_path(&mut copies, read.file);
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
