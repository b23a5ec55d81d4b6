//! The archive's way from a `.partial` to its final name, and the marks that other tools read.

pub mod lease;
mod held_lease;
mod paced;
mod copy_error;
mod proven;
mod whole;
mod source;
mod destination_lock;
mod compare;
mod sidecars;
mod upload;
mod due;
mod same_server;
mod removed_there;
mod adopt;
mod same_place;
mod absent;
mod sweep;
mod leftovers;
mod leased_queue;
mod local_copies;
mod record_copy;
mod fill;
mod remove_copy;
mod copies;
mod found_copy;
mod check_copies;
mod other_machines;
mod rejected_drill;
mod tend;
mod probe;
#[cfg(test)]
mod copy_tests;

pub use absent::{Absent, AbsentCopy, find_absent};
pub use adopt::adopt;
pub(crate) use adopt::adopt_at_lease;
pub use check_copies::{CheckedCopy, Depth, check_copies};
pub(crate) use copies::pending;
pub use copies::{Copier, Copying, leave_spool};
pub use fill::CopyOutcome;

pub(crate) use held_lease::HeldLease;
pub use held_lease::Term;
pub(crate) use other_machines::new_unknown_archives;
pub use other_machines::{UnknownArchives, unknown_archives};
pub use probe::{Unusable, moved_destinations, probe, probe_lease, unusable_directory};
pub use rejected_drill::{Rejection, drill_rejected};
pub use remove_copy::{RemoveError, Removed, remove_copy};
pub(crate) use sweep::sweep;
pub use tend::{Tended, is_tending_due, remove_unfinished, remove_unfinished_daily, tend};

use crate::catalog::sidecar::{Seal, Sidecar};
use crate::catalog::{BackupCopy, ProofRecord};
use crate::job::Destinations;
use crate::proof::JudgedArchive;
use crate::retain::{self, PREFIX, REJECTED};
use crate::run::BackupError;
use crate::state::file::{Durability, replace};
use hubvault_archive::{Codec, Manifest, SEALED_ENDING};
use hubvault_model::BackupId;
use hubvault_store::Key;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sweep::PARTIAL;
use uuid::Uuid;

/// What a scratch file is called between its creation and its removal.
const SCRATCH: &str = "source_";

/// The file that a run writes; removed when dropped, unless it was published.
#[derive(Debug)]
pub(crate) struct Partial {
    directory: PathBuf,
    name: String,
    /// Part of the name until it is final: nobody can take it beforehand.
    random: Uuid,
    armed: bool,
}

impl Partial {
    /// Makes `.<name>.<random>.partial` in `directory`, readable by its owner only. The name carries the
    /// second of `now`, and `ending`; when an archive has that second, the next one that is free. Under a lease `ending`
    /// begins with its number: no other machine gives an archive the same name.
    pub(crate) fn create(
        directory: &Path,
        ending: &str,
        now: Timestamp,
        zone: &TimeZone,
    ) -> Result<(Self, File), BackupError> {
        let partial = Self {
            directory: directory.to_owned(),
            name: free_name(directory, ending, now, zone)?,
            random: Uuid::new_v4(),
            armed: true,
        };
        let path = partial.path();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(BackupError::io("creating the archive", &path))?;
        Ok((partial, file))
    }

    /// Where the bytes go now.
    pub(crate) fn path(&self) -> PathBuf {
        let random = self.random.simple();
        self.directory
            .join(format!(".{}.{random}{PARTIAL}", self.name))
    }

    fn final_path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }
}

/// A path for a file that loses its name at once; should the run die in between, [`sweep`] knows it.
pub(crate) fn scratch_path(directory: &Path, id: BackupId) -> PathBuf {
    directory.join(format!(".{PREFIX}{SCRATCH}{id}{PARTIAL}"))
}

/// Two runs within a second are rare, and a clock that was set back lasts longer than a minute:
/// so a few seconds are tried and no more. Waiting for them keeps the name true.
fn free_name(
    directory: &Path,
    ending: &str,
    mut now: Timestamp,
    zone: &TimeZone,
) -> Result<String, BackupError> {
    for _ in 0..5 {
        let moment = now.to_zoned(zone.clone()).strftime("%Y%m%d_%H%M%S");
        if !is_taken(directory, &moment) {
            return Ok(format!("{PREFIX}{moment}.{ending}"));
        }
        let next = now.as_second() + 1;
        std::thread::sleep(Duration::from_millis(
            (next * 1000 - Timestamp::now().as_millisecond()).clamp(0, 1000) as u64,
        ));
        now = Timestamp::from_second(next).unwrap_or(now);
    }
    Err(BackupError::io("naming an archive in", directory)(
        io::Error::new(
            io::ErrorKind::AlreadyExists,
            "archives of this second and the next ones exist; was the clock set back?",
        ),
    ))
}

/// Whether an archive of any form has this second.
fn is_taken(directory: &Path, moment: &impl std::fmt::Display) -> bool {
    let codecs = [Codec::Gzip, Codec::Zstd].map(Codec::extension);
    let forms = codecs.into_iter().flat_map(|codec| {
        ["", SEALED_ENDING]
            .into_iter()
            .flat_map(move |sealed| ["", REJECTED].map(|end| format!("{codec}{sealed}{end}")))
    });
    forms
        .into_iter()
        .any(|form| directory.join(format!("{PREFIX}{moment}.{form}")).exists())
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.armed {
            // Nothing can be done about a failure here; the next run sweeps.
            let _ = fs::remove_file(self.path());
        }
    }
}

/// A published archive: it has its final name at a destination, for good.
#[derive(Debug)]
pub struct Published {
    /// The copy there.
    pub copy: BackupCopy,
    /// Its table of contents.
    pub manifest: Manifest,
    /// What was proven about it.
    pub proof: ProofRecord,
    /// How it is sealed.
    pub seal: Option<Seal>,
}

/// Gives an archive its final name in the directory in which it was made, after its proof. Only this function knows that
/// name.
pub(crate) fn publish(
    mut partial: Partial,
    judged: JudgedArchive,
    destinations: &Destinations,
) -> Result<Published, BackupError> {
    let to = destinations.first();
    let path = partial.final_path();
    let (checked, proof) = judged.into_parts();
    let bytes = checked.archive.size();
    let sidecar = Sidecar {
        proof,
        pinned: false,
        seal: checked.seal,
        manifest: checked.archive.into_manifest(),
    };
    let store = to.open()?;
    let key = Key::parse(&partial.name)
        .map_err(|error| BackupError::io("naming the archive", &path)(io::Error::other(error)))?;
    sidecar
        .put(store.as_ref(), &key)
        .map_err(|error| BackupError::io("writing the sidecar manifest of", &path)(error.source))?;
    // After an error no archive bears the name. What may be left is a stray sidecar and a partial file for the next
    // run, or, where even that is uncertain, an archive that the next run finds.
    store.adopt(&key, &partial.path()).inspect_err(|error| {
        if error.is_uncertain {
            tracing::error!("{} may be left although this run fails", path.display());
        }
    })?;
    partial.armed = false;
    let mut copy = BackupCopy::stored(to, &key, bytes);
    copy.until_copied = !destinations.keeps_local();
    // What was written is what was proven: what every copy is compared with.
    copy.sha256 = checked.sha256;
    Ok(Published {
        copy,
        manifest: sidecar.manifest,
        proof: sidecar.proof,
        seal: sidecar.seal,
    })
}

/// Keeps an archive that failed its proof for study, under a name that never counts.
pub(crate) fn reject(mut partial: Partial) -> Result<PathBuf, BackupError> {
    let mut name = partial.final_path().into_os_string();
    name.push(REJECTED);
    let path = PathBuf::from(name);
    fs::rename(partial.path(), &path)
        .map_err(BackupError::io("setting aside the archive", &path))?;
    partial.armed = false;
    sync_directory(&partial.directory)?;
    remove_rejected(&partial.directory, Timestamp::now());
    Ok(path)
}

/// Old archives that failed their proof take room that the run may need.
pub(crate) fn remove_rejected(directory: &Path, now: Timestamp) {
    match retain::remove_rejected(directory, now) {
        Ok((removed, problems)) => {
            for path in removed {
                tracing::info!(
                    "removed {}, an old archive that failed its proof",
                    path.display()
                );
            }
            for problem in problems {
                tracing::warn!("{problem}");
            }
        }
        Err(error) => {
            let directory = directory.display();
            tracing::warn!("could not look for old rejected archives in {directory}: {error}");
        }
    }
}

/// The marks of the shell scripts: the second of the last success, and its size in MiB.
pub(crate) fn write_marks(directory: &Path, at: Timestamp, bytes: u64) -> Result<(), BackupError> {
    let mib = bytes.div_ceil(1 << 20);
    for (name, text) in [
        (".last_backup_success", at.as_second().to_string()),
        (".last_backup_size_mb", mib.to_string()),
    ] {
        let path = directory.join(name);
        // Other tools read them, and only read.
        replace(&path, (text + "\n").as_bytes(), 0o644, Durability::Durable)
            .map_err(BackupError::io("writing", &path))?;
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> Result<(), BackupError> {
    File::open(directory)
        .and_then(|d| d.sync_all())
        .map_err(BackupError::io("making the new name durable in", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_that_is_taken_gives_way_to_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let make = |ending: &str| {
            let (partial, _) =
                Partial::create(directory.path(), ending, now, &TimeZone::UTC).unwrap();
            fs::write(partial.final_path(), "").unwrap();
            partial.name.clone()
        };
        assert_eq!(make("tar.gz"), "critical_backup_20010909_014640.tar.gz");
        assert_eq!(
            make("tar.zst.age"),
            "critical_backup_20010909_014641.tar.zst.age"
        );
        assert_eq!(make("tar.gz"), "critical_backup_20010909_014642.tar.gz");
    }
}
