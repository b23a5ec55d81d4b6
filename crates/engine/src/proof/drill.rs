//! The drill: restores an archive from the disk into a throwaway server and compares every row with the
//! snapshot's.

use super::checks;
use super::definitions::{self, Circumstances};
use super::drill_limit::{self, DiskLimit, ForcedEnd, Limit, LockResult};
use super::drill_result::{DrillError, Verdict};
use super::drill_server::{self, DrillServer};
use super::place;
use super::script::{self, ScriptDrill};
use super::shown::Shown;
use crate::disk::free_bytes;
use crate::job::ProofOptions;
use crate::progress::Progress;
use crate::restore::{self, Comparison, RestoreError, RestoreOptions};
use hubvault_archive::{AnyArchive, EntryKind, Identities, Manifest};
use hubvault_model::{ByteSize, Cancel};
use hubvault_postgres::{DrillLock, PgError, Session, target};
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

/// The same with a run of the archive's script, which fills a second database from files beside it.
fn needed_by_script(needed: u64, script: bool) -> u64 {
    needed.saturating_mul(if script { 3 } else { 1 })
}

/// Why the directory cannot hold a server with this archive.
fn too_full(directory: &Path, needed: u64) -> Option<String> {
    let free = free_bytes(directory).ok().filter(|free| *free < needed)?;
    let (needed, free) = (ByteSize(needed), ByteSize(free));
    let directory = directory.display();
    Some(format!(
        "the drill needs about {needed} in {directory}, which has {free} free"
    ))
}

/// Drills one archive. At most one drill runs in a directory at a time; another waits. With `script`, which only an archive
/// of this program may have, its `restore.sh` is run, too.
pub fn drill(
    path: &Path,
    identities: &Identities,
    options: &ProofOptions,
    workers: usize,
    script: bool,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Verdict, DrillError> {
    let archive =
        AnyArchive::open_file(path, identities).map_err(|source| DrillError::Archive {
            path: path.to_owned(),
            source,
        })?;
    drill_open(&archive, options, workers, script, progress, cancel)
}

/// The same of one that is open, wherever it is.
pub fn drill_open(
    archive: &AnyArchive,
    options: &ProofOptions,
    workers: usize,
    script: bool,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Verdict, DrillError> {
    let drill = |place| Drill {
        archive,
        options,
        workers,
        script,
        progress,
        place,
        begun: Instant::now(),
        cancel,
    };
    let needed = needed_by_script(estimated_bytes(archive.manifest()), script);
    // Where another drill is at work in memory, or nobody may, the disk is as good.
    let memory = place::in_memory(options, needed)
        .and_then(|at| Some((at, DrillLock::try_take(at).ok().flatten()?)));
    if let Some((memory, lock)) = memory {
        let begun = Instant::now();
        let verdict = drill(memory).run(&lock, Some(needed * place::MOST))?;
        // What took long there takes longer on the disk.
        if !place::may_be_why(&verdict) || begun.elapsed() > options.time_limit / 2 {
            return Ok(verdict);
        }
        if let Verdict::Unproven { reason, .. } = &verdict {
            let (memory, disk) = (memory.display(), options.directory.display());
            tracing::info!("in {memory}: {reason}; the drill begins again in {disk}");
        }
    }
    drill(&options.directory).once_alone()
}

/// One drill of one archive.
struct Drill<'a> {
    archive: &'a AnyArchive,
    options: &'a ProofOptions,
    workers: usize,
    script: bool,
    progress: &'a dyn Progress,
    /// The directory that its server's is made in.
    place: &'a Path,
    begun: Instant,
    cancel: &'a Cancel,
}

impl Drill<'_> {
    /// Drills once nobody else does in this place.
    fn once_alone(mut self) -> Result<Verdict, DrillError> {
        let limit = self.options.time_limit;
        let lock = match drill_limit::wait_for_lock(self.place, limit, self.cancel) {
            Ok(LockResult::Locked(lock)) => lock,
            Ok(LockResult::Cancelled) => return Err(DrillError::Cancelled),
            Ok(LockResult::Busy(reason)) => return Ok(Verdict::nothing_shown(reason)),
            Err(error) => {
                let reason = || format!("cannot drill in {}: {error}", self.place.display());
                return Ok(Verdict::nothing_shown(
                    self.too_full().unwrap_or_else(reason),
                ));
            }
        };
        // Waiting for another drill takes none of the time of this one.
        self.begun = Instant::now();
        self.run(&lock, None)
    }

    fn too_full(&self) -> Option<String> {
        let has_own_server = self.options.server.is_none();
        let needed = estimated_bytes(self.archive.manifest());
        too_full(self.place, needed).filter(|_| has_own_server)
    }

    /// Drills in a place that is its own; in memory it takes at most so many bytes.
    fn run(self, lock: &DrillLock, most: Option<u64>) -> Result<Verdict, DrillError> {
        drill_server::sweep_and_log(lock);
        if let Some(reason) = self.too_full() {
            return Ok(Verdict::nothing_shown(reason));
        }
        let directory = lock.directory();
        let disk = self.options.server.is_none().then(|| {
            let manifest = self.archive.manifest();
            let limit = DiskLimit::of(manifest, &directory, estimated_bytes(manifest));
            match most {
                Some(most) => limit.in_memory(most),
                None => limit,
            }
        });
        let limit = Limit::start(self.options.time_limit, disk, self.cancel);
        tracing::debug!("drilling in {}", self.place.display());
        let (run, stopping) = (self.cancel, limit.cancel.clone());
        let drill = Drill {
            cancel: &stopping,
            ..self
        };
        drill.once(&directory).unwrap_or_else(|| limit.ended(run))
    }

    /// Drills on a server below `directory`, or on the one that the options name; `None` when it had to stop.
    fn once(&self, directory: &Path) -> Option<Result<Verdict, DrillError>> {
        let unproven = |reason| Some(Ok(Verdict::nothing_shown(reason)));
        let manifest = self.archive.manifest();
        let server = match &self.options.server {
            Some(server) => DrillServer::scratch(manifest, server, self.cancel),
            None => DrillServer::throwaway(self.archive, self.options, directory, self.cancel),
        };
        let (mut server, notes) = match server {
            Ok(server) => server,
            Err(_) if self.cancel.is_requested() => return None,
            Err(error) => return unproven(format!("no server to drill on: {error}")),
        };
        let _forced_end = ForcedEnd::prepare(self.cancel, server.ender());
        match unfit(&server, manifest, self.cancel) {
            Some(_) if self.cancel.is_requested() => return None,
            Some(reason) => return unproven(reason),
            None => {}
        }
        let restored = self
            .restore(&server)
            .map(|shown| self.by_script(shown, &server, directory));
        if self.cancel.is_requested() {
            return None;
        }
        Some(match restored {
            Ok(mut shown) => {
                shown.notes.extend(notes);
                Ok(shown.verdict(self.begun, server.finish()))
            }
            Err(error) => failed(error, server.is_ours(), || {
                let session = Session::connect(&server.settings(), self.cancel);
                session.err().filter(|_| !self.cancel.is_requested())
            }),
        })
    }

    /// Runs the archive's own script where that is due and all else came back.
    fn by_script(&self, mut shown: Shown, server: &DrillServer, directory: &Path) -> Shown {
        if !self.script
            || !server.is_ours()
            || shown.reason().is_some()
            || !shown.intruders.is_empty()
        {
            return shown;
        }
        // The archive's files are beside two databases then.
        let needed = estimated_bytes(self.archive.manifest()) * 2;
        if let Some(reason) = too_full(self.place, needed) {
            shown
                .notes
                .push(format!("restore.sh was not run: {reason}"));
            return shown;
        }
        let script = ScriptDrill {
            archive: self.archive,
            server,
            directory,
            workers: self.workers,
            limit: self.options.time_limit,
            cancel: self.cancel,
        };
        shown.by_script(script.run(), script::shape(self.archive.manifest()));
        shown
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
            isolated: true,
            clean: false,
            keep_going: true,
            compare: Comparison::Rows,
        };
        let mut restored = restore::whole_with(
            archive,
            schema,
            &server.target(),
            (options, None),
            self.progress,
            cancel,
        )?;
        let mut passed_over = restored.passed_over.iter();
        // What the server refuses is not damaged; what cannot be read of the archive is.
        if let Some(at) = passed_over.position(|one| !one.error.is_refused_by_server()) {
            return Err(restored.passed_over.swap_remove(at).error);
        }
        let mut session = Session::connect(restored.access.checker(), cancel)?;
        let mut shown = Shown::of(restored, missing, version_of(&session));
        let mut wrong = shown.different();
        let mut provable = restore::units(archive.manifest());
        provable.retain(|unit| !shown.not_provable.contains(&unit.table.name.to_string()));
        wrong.extend(restore::unlike_the_source(
            &provable,
            &shown.restored.logins,
            cancel,
        )?);
        let (sequences, unread) = checks::sequences(&mut session, archive.manifest())?;
        wrong.extend(sequences);
        shown.not_rebuilt.extend(unread);
        let keys = checks::foreign_keys(&mut session, archive.manifest())?;
        if shown.restored.said.failures.is_empty() {
            wrong.extend(keys);
        } else {
            shown.not_rebuilt.extend(keys);
        }
        wrong.extend(checks::files(archive, cancel)?);
        if !wrong.is_empty() {
            return Err(RestoreError::Different { tables: wrong });
        }
        let circumstances = Circumstances {
            access: &shown.restored.access,
            failures: &shown.restored.said.failures,
            not_valid: &shown.restored.said.not_valid,
            given_last: &shown.restored.said.given_last,
        };
        let compared = definitions::compare(archive, server, circumstances, cancel);
        shown.definitions(compared);
        shown.intruders = shown.restored.access.other_superusers(&mut session)?;
        Ok(shown)
    }
}

/// Whether an error rejects the archive, or only the drill failed; `lost` says why the server cannot be reached any more.
fn failed(
    error: RestoreError,
    is_ours: bool,
    lost: impl FnOnce() -> Option<PgError>,
) -> Result<Verdict, DrillError> {
    let reason = match error {
        error if error.is_environment() => format!("the drill was interrupted: {error}"),
        RestoreError::Postgres(error) if !is_ours && error.is_refusal() => format!(
            "the drill's role on the server that proof.server names may not create everything: {error}; leave \
             proof.server out, so that a throwaway server is used"
        ),
        RestoreError::Postgres(error) if error.is_refusal() => format!(
            "a drill creates and loads what may run the owners' code over logins without superuser rights, \
             and these may not do everything here: {error}"
        ),
        error => match lost() {
            Some(lost) => format!("the drill's server was lost: {lost}; {error}"),
            None if error.is_refused_by_server() => {
                format!("the drill's server refused a step: {error}")
            }
            None => {
                let (why, of_file) = (error.to_string(), error.is_of_file());
                return Err(DrillError::Rejected { why, of_file });
            }
        },
    };
    Ok(Verdict::nothing_shown(reason))
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

#[cfg(test)]
mod tests;
