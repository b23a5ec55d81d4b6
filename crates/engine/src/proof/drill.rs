//! The drill: an archive, as it lies on the disk, restored into a throwaway server, and every row
//! compared with what was read in the snapshot.

use super::drill_limit::{self, DiskLimit, LastResort, Limit, Waited};
use super::drill_server::{self, Place};
use crate::catalog::DrillRecord;
use crate::disk::free_bytes;
use crate::job::ProofOptions;
use crate::progress::Progress;
use crate::restore::{self, RestoreError, RestoreOptions, Restored};
use hubvault_archive::{Archive, ArchiveError, EntryKind, Identities, Manifest, TableSummary};
use hubvault_model::{ByteSize, Cancel};
use hubvault_postgres::{Confinement, PgError, Session, target};
use jiff::Timestamp;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// An archive did not withstand the drill, or the drill was stopped.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// It does not come back, or not equal.
    #[error("the archive does not withstand the drill: {why}")]
    Rejected {
        /// What did not come back.
        why: String,
    },
    /// The file itself.
    #[error("{}: {source}", path.display())]
    Archive {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: ArchiveError,
    },
    /// Stopped on request.
    #[error("stopped on request")]
    Cancelled,
}

impl DrillError {
    /// Whether nothing is wrong but that the archive is sealed and no identity opens it.
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Archive { source, .. } if source.is_sealed())
    }
}

/// What a drill showed.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Everything came back equal.
    Proven(DrillRecord),
    /// Nothing speaks against the archive, but not everything could be shown.
    Unproven {
        /// Why.
        reason: String,
        /// What could be shown; `None` when the drill did not begin.
        drill: Option<DrillRecord>,
    },
}

/// A throwaway server takes this much before it holds anything, in bytes.
const EMPTY_SERVER: u64 = 60 << 20;

/// What a drill will take on the disk, in bytes: tables and indexes are rarely twice the rows' text.
pub fn estimated_bytes(manifest: &Manifest) -> u64 {
    let rows = manifest
        .entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::TableData);
    rows.map(|entry| entry.raw_bytes).sum::<u64>() * 2 + EMPTY_SERVER
}

/// Why the directory cannot hold a server with this archive.
fn too_full(options: &ProofOptions, needed: u64) -> Option<String> {
    let directory = options.directory.display();
    let free = free_bytes(&options.directory)
        .ok()
        .filter(|free| options.server.is_none() && *free < needed)?;
    let (needed, free) = (ByteSize(needed), ByteSize(free));
    Some(format!(
        "the drill needs about {needed} in {directory}, which has {free} free"
    ))
}

/// Drills one archive. At most one drill runs in a directory at a time; another waits.
pub fn drill(
    path: &Path,
    identities: &Identities,
    options: &ProofOptions,
    workers: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Verdict, DrillError> {
    let begun = Instant::now();
    let archive = Archive::open_path(path, identities).map_err(|source| DrillError::Archive {
        path: path.to_owned(),
        source,
    })?;
    let unproven = |reason: String| {
        Ok(Verdict::Unproven {
            reason,
            drill: None,
        })
    };
    let needed = estimated_bytes(archive.manifest());
    // Waiting for another's drill takes none of the time of this one.
    let lock = match drill_limit::wait_for_lock(options, cancel) {
        Ok(Waited::Locked(lock)) => lock,
        Ok(Waited::Cancelled) => return Err(DrillError::Cancelled),
        Ok(Waited::Busy(reason)) => return unproven(reason),
        Err(error) => {
            let reason = || {
                format!(
                    "no place to drill: {}: {error}",
                    options.directory.display()
                )
            };
            return unproven(too_full(options, needed).unwrap_or_else(reason));
        }
    };
    drill_server::sweep_and_tell(&lock);
    if let Some(reason) = too_full(options, needed) {
        return unproven(reason);
    }
    let limit = Limit::start(
        options.time_limit,
        options
            .server
            .is_none()
            .then(|| DiskLimit::of(archive.manifest(), &lock.directory(), needed)),
        cancel,
    );
    let place = match &options.server {
        Some(server) => Place::scratch(server, &limit.cancel),
        None => Place::throwaway(
            archive.manifest(),
            options,
            &lock.directory(),
            &limit.cancel,
        ),
    };
    let mut place = match place {
        Ok(place) => place,
        Err(_) if limit.cancel.is_requested() => return limit.ended(cancel),
        Err(error) => return unproven(format!("no server to drill on: {error}")),
    };
    let _last_resort = LastResort::prepare(&limit.cancel, place.ender());
    match unfit(&place, archive.manifest(), &limit.cancel) {
        Some(_) if limit.cancel.is_requested() => return limit.ended(cancel),
        Some(reason) => return unproven(reason),
        None => {}
    }
    let outcome = on(&place, &archive, workers, progress, &limit.cancel);
    if limit.cancel.is_requested() {
        return limit.ended(cancel);
    }
    match outcome {
        Ok(shown) if !shown.intruders.is_empty() => unproven(format!(
            "code of the database made superusers of the drill's server ({}): what the drill shows cannot be relied \
             on; look into the functions that its tables use, and report this",
            shown.intruders.join(", ")
        )),
        Ok(shown) => Ok(verdict(&shown, begun, place.finish())),
        // Nothing was shown, and nothing speaks against the archive.
        Err(error) if error.is_environment() => unproven(format!("the drill broke off: {error}")),
        Err(RestoreError::Postgres(error)) if !place.is_ours() && error.is_refusal() => {
            unproven(format!(
                "the drill's role on the server that proof.server names may not make everything: {error}; leave \
                 proof.server out, so that a throwaway server is used"
            ))
        }
        Err(RestoreError::Postgres(error)) if error.is_refusal() => unproven(format!(
            "a drill makes and loads what may run code of the tables' owners over logins that are no superusers, and \
             those may not do everything here: {error}"
        )),
        Err(error) => match Session::connect(&place.settings(), &limit.cancel) {
            Err(lost) if !limit.cancel.is_requested() => {
                unproven(format!("the drill's server was lost: {lost}; {error}"))
            }
            _ => Err(DrillError::Rejected {
                why: error.to_string(),
            }),
        },
    }
}

fn verdict(shown: &Shown, begun: Instant, confinement: Option<Confinement>) -> Verdict {
    let equal = || {
        shown
            .restored
            .tables
            .iter()
            .filter(|table| table.is_equal())
    };
    let record = DrillRecord {
        drilled_at: Timestamp::now(),
        seconds: begun.elapsed().as_secs_f64(),
        server_version: shown.version.clone(),
        tables: equal().count(),
        rows: equal().map(|table| table.expected.rows).sum(),
        not_provable: shown.not_provable.clone(),
        confinement,
    };
    let names = shown.missing.join(", ");
    let what = match shown.missing.len() {
        0 => return Verdict::Proven(record),
        1 => format!("extension {names} is"),
        _ => format!("extensions {names} are"),
    };
    Verdict::Unproven {
        reason: format!("{what} not installed where the drill runs"),
        drill: Some(record),
    }
}

/// What a restore on a throwaway server showed.
struct Shown {
    restored: Restored,
    /// Extensions that the server does not offer.
    missing: Vec<String>,
    /// Tables that need them.
    not_provable: Vec<String>,
    version: String,
    /// Superusers that code of the database made.
    intruders: Vec<String>,
}

/// Why nothing could be shown in a place: the reason lies there and not in the archive.
fn unfit(place: &Place, manifest: &Manifest, cancel: &Cancel) -> Option<String> {
    let look = || -> Result<Option<String>, PgError> {
        let mut session = Session::connect(&place.settings(), cancel)?;
        let (here, source) = (
            session.server_version_num() / 10_000,
            manifest.snapshot.server_version_num / 10_000,
        );
        if here < source {
            return Ok(Some(format!(
                "the drill's server runs PostgreSQL {here}, older than {source}"
            )));
        }
        if place.is_ours() {
            return Ok(None);
        }
        let known = target::roles(&mut session)?;
        let missing: Vec<&str> = manifest
            .roles
            .iter()
            .filter(|role| !known.contains(role))
            .map(String::as_str)
            .collect();
        Ok((!missing.is_empty())
            .then(|| format!("the drill's server lacks the roles {}", missing.join(", "))))
    };
    look().unwrap_or_else(|error| Some(format!("the drill's server: {error}")))
}

fn on(
    place: &Place,
    archive: &Archive,
    workers: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Shown, RestoreError> {
    let to = place.settings();
    let schema = restore::schema(archive, &to)?;
    let missing = restore::missing_extensions(&schema, &to, cancel)?;
    let options = RestoreOptions {
        workers,
        create_roles: place.is_ours(),
        no_owner: !place.is_ours(),
        force: false,
        clean: false,
        keep_going: !missing.is_empty(),
    };
    let restored =
        restore::whole_with(archive, schema, &place.target(), options, progress, cancel)?;
    let mut not_provable = Vec::new();
    let mut wrong = Vec::new();
    for table in restored.tables.iter().filter(|table| !table.is_equal()) {
        if !missing.is_empty()
            && (table.found.is_err() || restored.passed_over.contains(&table.name))
        {
            not_provable.push(table.name.to_string());
        } else {
            wrong.extend(table.problem());
        }
    }
    let provable: Vec<&TableSummary> = (archive.manifest().tables.iter())
        .filter(|table| !not_provable.contains(&table.name.to_string()))
        .collect();
    wrong.extend(restore::unlike_the_source(
        &provable,
        &restored.logins,
        cancel,
    )?);
    let mut session = Session::connect(restored.access.checker(), cancel)?;
    if missing.is_empty() {
        wrong.extend(sequences(&mut session, archive.manifest())?);
        wrong.extend(foreign_keys(&mut session, archive.manifest())?);
    }
    wrong.extend(files(archive, cancel)?);
    if !wrong.is_empty() {
        return Err(RestoreError::Different { tables: wrong });
    }
    Ok(Shown {
        intruders: restored.access.other_superusers(&mut session)?,
        restored,
        missing,
        not_provable,
        version: version_of(&session),
    })
}

fn version_of(session: &Session) -> String {
    let number = session.server_version_num();
    format!("{}.{}", number / 10_000, number % 10_000)
}

/// Sequences that do not stand where they stood.
fn sequences(session: &mut Session, manifest: &Manifest) -> Result<Vec<String>, PgError> {
    let mut wrong = Vec::new();
    for sequence in &manifest.sequences {
        let Some(value) = sequence.last_value else {
            continue;
        };
        let found = target::sequence(session, &sequence.name)?;
        if found != Some((value, sequence.is_called)) {
            wrong.push(format!(
                "the sequence {} does not stand at {value}",
                sequence.name
            ));
        }
    }
    Ok(wrong)
}

/// Configuration files whose content is not what was read on the host.
fn files(archive: &Archive, cancel: &Cancel) -> Result<Vec<String>, RestoreError> {
    let mut wrong = Vec::new();
    for file in archive
        .manifest()
        .files
        .iter()
        .filter(|file| file.sha256.is_some())
    {
        let Some(entry) = archive.entry(&file.name) else {
            wrong.push(format!("the file {} is not in the archive", file.name));
            continue;
        };
        let mut content = archive.content(entry)?;
        // Reading it to its end compares it with the entry's checksum.
        match read_out(&mut content, cancel) {
            Ok(()) if file.sha256.as_ref() == Some(&entry.sha256) => {}
            Ok(()) => wrong.push(format!("the file {} has another checksum", file.name)),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    Ok(wrong)
}

/// Reads to the end, or until a wish to stop: a small entry may hold very much.
fn read_out(content: &mut impl Read, cancel: &Cancel) -> io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    while content.read(&mut buffer)? > 0 {
        if cancel.is_requested() {
            return Err(io::Error::other("stopped on request"));
        }
    }
    Ok(())
}

/// Foreign keys that should have come back `NOT VALID` and are not there. All others were
/// validated when they were made.
fn foreign_keys(session: &mut Session, manifest: &Manifest) -> Result<Vec<String>, PgError> {
    let found = target::unvalidated_keys(session)?;
    let missing = manifest
        .not_valid
        .iter()
        .filter(|key| !found.contains(&key.name));
    Ok(missing
        .map(|key| format!("the foreign key {} on {} is missing", key.name, key.table))
        .collect())
}
