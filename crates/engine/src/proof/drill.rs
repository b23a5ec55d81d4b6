//! The drill: restores an archive from the disk into a throwaway server and compares every row with the
//! snapshot's.

use super::drill_limit::{self, DiskLimit, ForcedEnd, Limit, LockResult};
use super::drill_result::{DrillError, Verdict};
use super::drill_server::{self, DrillServer};
use crate::catalog::DrillRecord;
use crate::disk::free_bytes;
use crate::job::ProofOptions;
use crate::progress::Progress;
use crate::restore::{self, RestoreError, RestoreOptions, Restored};
use hubvault_archive::{Archive, EntryKind, Identities, Manifest, TableSummary};
use hubvault_model::{ByteSize, Cancel};
use hubvault_postgres::{Confinement, PgError, Session, target};
use jiff::Timestamp;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

/// A throwaway server takes this much before it holds anything, in bytes.
const EMPTY_SERVER: u64 = 60 << 20;

/// What a drill will take on the disk, in bytes: tables and indexes are rarely twice the rows' text.
fn estimated_bytes(manifest: &Manifest) -> u64 {
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
    let needed = estimated_bytes(archive.manifest());
    // Waiting for another drill takes none of the time of this one.
    let lock = match drill_limit::wait_for_lock(options, cancel) {
        Ok(LockResult::Locked(lock)) => lock,
        Ok(LockResult::Cancelled) => return Err(DrillError::Cancelled),
        Ok(LockResult::Busy(reason)) => return Ok(Verdict::nothing_shown(reason)),
        Err(error) => {
            let directory = options.directory.display();
            let reason = || format!("cannot drill in {directory}: {error}");
            let reason = too_full(options, needed).unwrap_or_else(reason);
            return Ok(Verdict::nothing_shown(reason));
        }
    };
    drill_server::sweep_and_log(&lock);
    if let Some(reason) = too_full(options, needed) {
        return Ok(Verdict::nothing_shown(reason));
    }
    let directory = lock.directory();
    let has_own_server = options.server.is_none();
    let disk = has_own_server.then(|| DiskLimit::of(archive.manifest(), &directory, needed));
    let limit = Limit::start(options.time_limit, disk, cancel);
    let drill = Drill {
        archive: &archive,
        options,
        workers,
        progress,
        begun,
        cancel: &limit.cancel,
    };
    (drill.run(&directory)).unwrap_or_else(|| limit.ended(cancel))
}

/// One drill of one archive.
struct Drill<'a> {
    archive: &'a Archive,
    options: &'a ProofOptions,
    workers: usize,
    progress: &'a dyn Progress,
    begun: Instant,
    cancel: &'a Cancel,
}

impl Drill<'_> {
    /// Drills on a server below `directory`, or on the one that the options name; `None` when it had to stop.
    fn run(&self, directory: &Path) -> Option<Result<Verdict, DrillError>> {
        let unproven = |reason| Some(Ok(Verdict::nothing_shown(reason)));
        let manifest = self.archive.manifest();
        let server = match &self.options.server {
            Some(server) => DrillServer::scratch(manifest, server, self.cancel),
            None => DrillServer::throwaway(manifest, self.options, directory, self.cancel),
        };
        let (mut server, note) = match server {
            Ok(server) => server,
            Err(_) if self.cancel.is_requested() => return None,
            Err(error) => return unproven(format!("no server to drill on: {error}")),
        };
        if let Some(note) = note {
            tracing::warn!("the drill: {note}");
        }
        let _forced_end = ForcedEnd::prepare(self.cancel, server.ender());
        match unfit(&server, manifest, self.cancel) {
            Some(_) if self.cancel.is_requested() => return None,
            Some(reason) => return unproven(reason),
            None => {}
        }
        let restored = self.restore(&server);
        if self.cancel.is_requested() {
            return None;
        }
        Some(match restored {
            Ok(shown) if !shown.intruders.is_empty() => Ok(Verdict::nothing_shown(format!(
                "code of the database created superusers on the drill's server ({}): the result of the drill is not \
                 reliable; check the functions that its tables use, and report this",
                shown.intruders.join(", ")
            ))),
            Ok(shown) => Ok(verdict(&shown, self.begun, server.finish())),
            Err(error) => self.failed(error, &server),
        })
    }

    /// Whether an error rejects the archive, or only the drill failed.
    fn failed(&self, error: RestoreError, server: &DrillServer) -> Result<Verdict, DrillError> {
        let reason = match error {
            error if error.is_environment() => format!("the drill was interrupted: {error}"),
            RestoreError::Postgres(error) if !server.is_ours() && error.is_refusal() => format!(
                "the drill's role on the server that proof.server names may not create everything: {error}; leave \
                 proof.server out, so that a throwaway server is used"
            ),
            RestoreError::Postgres(error) if error.is_refusal() => format!(
                "a drill creates and loads what may run the owners' code over logins without superuser rights, \
                 and these may not do everything here: {error}"
            ),
            error => match Session::connect(&server.settings(), self.cancel) {
                Err(lost) if !self.cancel.is_requested() => {
                    format!("the drill's server was lost: {lost}; {error}")
                }
                _ => {
                    let why = error.to_string();
                    return Err(DrillError::Rejected { why });
                }
            },
        };
        Ok(Verdict::nothing_shown(reason))
    }

    fn restore(&self, server: &DrillServer) -> Result<Shown, RestoreError> {
        let (archive, cancel) = (self.archive, self.cancel);
        let to = server.settings();
        let schema = restore::schema(archive, &to)?;
        let missing = restore::missing_extensions(&schema, &to, cancel)?;
        let options = RestoreOptions {
            workers: self.workers,
            create_roles: server.is_ours(),
            no_owner: !server.is_ours(),
            force: false,
            clean: false,
            keep_going: !missing.is_empty(),
        };
        let restored = restore::whole_with(
            archive,
            schema,
            &server.target(),
            options,
            self.progress,
            cancel,
        )?;
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

/// Why a server cannot show anything about the archive.
fn unfit(server: &DrillServer, manifest: &Manifest, cancel: &Cancel) -> Option<String> {
    let look = || -> Result<Option<String>, PgError> {
        let mut session = Session::connect(&server.settings(), cancel)?;
        let (here, source) = (
            session.server_version_num() / 10_000,
            manifest.snapshot.server_version_num / 10_000,
        );
        if here < source {
            return Ok(Some(format!(
                "the drill's server runs PostgreSQL {here}, older than {source}"
            )));
        }
        if server.is_ours() {
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

fn version_of(session: &Session) -> String {
    let number = session.server_version_num();
    format!("{}.{}", number / 10_000, number % 10_000)
}

/// Sequences whose values differ.
fn sequences(session: &mut Session, manifest: &Manifest) -> Result<Vec<String>, PgError> {
    let mut wrong = Vec::new();
    for sequence in &manifest.sequences {
        let Some(value) = sequence.last_value else {
            continue;
        };
        let found = target::sequence(session, &sequence.name)?;
        if found != Some((value, sequence.is_called)) {
            wrong.push(format!(
                "the sequence {} does not have the value {value}",
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
            Ok(()) => wrong.push(format!("the checksum of the file {} differs", file.name)),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    Ok(wrong)
}

/// Reads to the end, or until a stop is requested: a small entry may decompress to very much.
fn read_out(content: &mut impl Read, cancel: &Cancel) -> io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    while content.read(&mut buffer)? > 0 {
        if cancel.is_requested() {
            return Err(io::Error::other("stopped on request"));
        }
    }
    Ok(())
}

/// Foreign keys that should have been created `NOT VALID` and are missing. All others were
/// validated when they were created.
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
