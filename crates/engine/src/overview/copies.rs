//! The copies of backups: how many, where, and what is wrong with them.

use super::moments::{age, moment};
use crate::catalog::{BackupCopy, BackupRecord, CopyState, State};
use crate::job::{CopyWhen, Destination, Destinations, LOCAL, SealRule};
use hubvault_model::BackupId;
use hubvault_store::Location;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A copy that should be there and is not as it was stored.
#[derive(Clone, Debug, PartialEq)]
pub struct LostCopy {
    /// The backup.
    pub backup: BackupId,
    /// The destination.
    pub destination: String,
    /// The archive's key there.
    pub key: String,
    /// Its path, where it should be on this machine.
    pub path: Option<PathBuf>,
    /// Whether it is there, but not as it was stored.
    pub is_damaged: bool,
}

impl LostCopy {
    pub(super) fn of(record: &BackupRecord, copy: &BackupCopy) -> Self {
        Self {
            backup: record.id,
            destination: copy.destination.clone(),
            key: copy.key.clone(),
            path: copy.path().map(Path::to_owned),
            is_damaged: copy.state == CopyState::Damaged,
        }
    }
}

impl fmt::Display for LostCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => path.display().fmt(f)?,
            None => write!(f, "{} at {}", self.key, self.destination)?,
        }
        let state = if self.is_damaged {
            "damaged"
        } else {
            "missing"
        };
        write!(f, " is {state}")?;
        // The directory's own archive is not made again: the copies elsewhere are.
        if self.destination == LOCAL {
            return Ok(());
        }
        f.write_str("; hubvault copies sync makes it again, if a whole copy is left")
    }
}

/// A proven backup that has no copy but at a destination that is not configured any more.
#[derive(Clone, Debug, PartialEq)]
pub struct StrayCopy {
    /// The backup.
    pub backup: BackupId,
    /// The destination, and its URL where that was recorded.
    pub place: String,
}

impl StrayCopy {
    pub(super) fn of(record: &BackupRecord) -> Option<Self> {
        let is_stray = |copy: &&BackupCopy| {
            copy.is_unconfigured() && copy.is_expected() && copy.state == CopyState::Present
        };
        let copy = record.copies.iter().find(is_stray)?;
        (record.state == State::Proven).then(|| Self {
            backup: record.id,
            place: match copy.place() {
                Some(url) if url != copy.destination => format!("{} ({url})", copy.destination),
                _ => copy.destination.clone(),
            },
        })
    }
}

impl fmt::Display for StrayCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, place) = (self.backup.short(), &self.place);
        write!(
            f,
            "the proven backup {id} is only at {place}, which is not configured any more; make it a destination (BACKUP_DESTINATIONS \
             or [[destination]]), then run hubvault copies sync"
        )
    }
}

/// The destinations that take every backup and have, or expect, no copy of this one.
pub fn lacking<'a>(
    record: &BackupRecord,
    destinations: &'a Destinations,
) -> impl Iterator<Item = &'a Destination> {
    let sealed = !record.sealed_to.is_empty();
    destinations.others().iter().filter(move |destination| {
        let rules = &destination.rules;
        let takes =
            rules.when == CopyWhen::Always && (sealed || rules.sealed == SealRule::Optional);
        let copy = record.copy_at(&destination.name);
        takes && copy.is_none_or(|copy| copy.is_unconfigured() && copy.is_expected())
    })
}

/// One place of copies: what one fire, one theft or one lost account takes with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A disk of this machine, by its device number.
    Disk(u64),
    /// Another machine.
    Host(String),
    /// A bucket of a provider.
    Bucket(&'static str, String),
    /// A destination that is not configured any more.
    Unknown(String),
}

/// In how many places the destinations of these names are. Two directories of one file system are one place, and so are two
/// buckets of one server of one's own.
pub fn count_places<'a>(
    destinations: &Destinations,
    names: impl IntoIterator<Item = &'a str>,
) -> usize {
    let place = |name: &str| {
        let known = destinations.named(name);
        known.map_or_else(|| Place::Unknown(name.to_owned()), place)
    };
    names.into_iter().map(place).collect::<BTreeSet<_>>().len()
}

fn place(destination: &Destination) -> Place {
    let has_endpoint = destination.options.object.endpoint.is_some();
    let (provider, bucket) = match &destination.location {
        Location::Directory(path) => return Place::Disk(device(path)),
        Location::Sftp(server) => ("sftp", &server.host),
        Location::S3(bucket) => ("s3", &bucket.name),
        Location::Gcs(bucket) => ("gs", &bucket.name),
        Location::Azure(bucket) => ("az", &bucket.name),
    };
    match destination.address().host() {
        Some(host) if has_endpoint || provider == "sftp" => Place::Host(host.to_owned()),
        _ => Place::Bucket(provider, bucket.clone()),
    }
}

/// Of the directory, or of the nearest one above it that is there.
fn device(path: &Path) -> u64 {
    let found = path.ancestors().find_map(|path| fs::metadata(path).ok());
    found.map_or(0, |meta| meta.dev())
}

/// What a spool directory holds an archive for; `None` of all other copies.
pub fn spooled_text(copy: &BackupCopy, of: &BackupRecord) -> Option<&'static str> {
    copy.until_copied.then(|| {
        if copy.goes_elsewhere(&of.copies) {
            "until it is copied"
        } else {
            "no destination takes it"
        }
    })
}

/// Of a copy at a place that its destination had before: what is said of the destination, which lacks the backup.
pub fn moved_text(copy: &BackupCopy) -> String {
    let place = copy
        .place()
        .unwrap_or_else(|| "its place before".to_owned());
    format!(
        "no copy; hubvault copies sync makes it; the one at {place} is not counted and stays there"
    )
}

/// The state of a copy in words: `present, compared 2 hours ago, locked until 2026-12-26 02:00 UTC`.
pub fn copy_text(copy: &BackupCopy, of: &BackupRecord, now: Timestamp, zone: &TimeZone) -> String {
    if copy.is_unconfigured() && copy.is_expected() {
        let url = copy.place();
        let url = url.map_or_else(String::new, |url| format!(" ({url})"));
        return format!("not configured any more{url}");
    }
    let is_lost_here = copy.path().is_some() && copy.is_present() && !copy.is_there();
    let state = if is_lost_here {
        CopyState::Missing
    } else {
        copy.state
    };
    let mut parts = vec![match (state, copy.removed_at) {
        (CopyState::Removed, Some(at)) => format!("removed {} ago", age(at, now)),
        (_, Some(_)) => format!("{}, accepted", state.as_str()),
        _ => state.as_str().to_owned(),
    }];
    if state == CopyState::Present {
        let checked = copy.checked_at;
        parts.extend(checked.map(|at| format!("compared {} ago", age(at, now))));
        parts.extend(spooled_text(copy, of).map(str::to_owned));
        let from = copy.made_again_from.as_ref();
        parts.extend(from.map(|from| format!("brought back from {from}")));
    }
    if copy.is_expected() && state != CopyState::Present {
        parts.extend(copy.since.map(|at| format!("since {}", moment(at, zone))));
    }
    if copy.is_expected() && state == CopyState::Pending {
        let tries = u64::from(copy.attempts);
        parts.extend((tries > 0).then(|| hubvault_model::counted(tries, "attempt")));
        parts.extend(
            copy.next_try_at
                .map(|at| format!("next {}", moment(at, zone))),
        );
    }
    let locked = copy.locked_until.filter(|until| *until > now);
    // Why a locked copy could not be removed says nothing against it.
    let is_locked = state == CopyState::Present && locked.is_some();
    parts.extend(locked.map(|until| format!("locked until {}", moment(until, zone))));
    let text = parts.join(", ");
    match copy
        .error
        .as_ref()
        .filter(|_| copy.is_expected() && !is_locked)
    {
        Some(error) => format!("{text}: {error}"),
        None => text,
    }
}
