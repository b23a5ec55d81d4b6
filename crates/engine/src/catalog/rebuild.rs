//! The catalog made anew from the archives themselves.

use super::drill_mark::split;
use super::{
    BackupCopy, BackupRecord, Catalog, CatalogError, Contents, DeliveryRecord, Marks, Pin,
    ProofRecord, RunSummary, State, contents,
};
use crate::job::{Job, LOCAL};
use crate::state::{RunLock, StateDir};
use hubvault_archive::{ArchiveError, Identities};
use hubvault_model::{BackupId, Warning};
use jiff::Timestamp;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

/// What a rebuild found, as [`Catalog::runs`] has it.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Archives that were added.
    pub added: Vec<BackupRecord>,
    /// Archives that were removed, as far as the catalog knew, and are there again.
    pub returned: Vec<BackupRecord>,
    /// Archives that the catalog knew already.
    pub known: usize,
    /// Files that look like archives and cannot be read.
    pub unreadable: Vec<(PathBuf, ArchiveError)>,
}

impl Rebuilt {
    /// Logs the files that are not listed because they cannot be read.
    pub(crate) fn warn_unreadable(&self) {
        for line in self.unreadable_in_words() {
            tracing::warn!("{line}");
        }
    }

    /// Why each of those files is not listed, and what to do.
    pub fn unreadable_in_words(&self) -> impl Iterator<Item = String> {
        self.unreadable.iter().map(|(path, error)| {
            let path = path.display();
            if error.is_sealed() {
                // No command that reads the directory takes a key.
                format!(
                    "{path} is not listed: it is sealed, and its sidecar {path}.manifest.json is missing; put that back, \
                     or read the archive with `hubvault verify {path} --identity FILE`"
                )
            } else {
                format!("{path} is not listed: {error}")
            }
        })
    }
}

/// Opens the catalog of a job and makes it current: crashed runs are closed where no run is at work, and
/// archives that no record names are added. A catalog that can only be read stays as it is.
///
/// A directory that is missing is an error: it may be a disk that is not mounted.
pub fn current(job: &Job) -> Result<Catalog, CatalogError> {
    let path = job.state_root();
    if path.try_exists().is_ok_and(|exists| !exists) {
        let path = path.to_owned();
        return Err(CatalogError::NoDirectory { path });
    }
    current_or_new(job)
}

/// The same where the directory is created if it is missing: what is notified must be recorded.
pub fn current_or_new(job: &Job) -> Result<Catalog, CatalogError> {
    let state = StateDir::open(job.state_root())?;
    let catalog = Catalog::open(&state)?.of_job(&job.name, &job.destinations);
    if catalog.is_read_only() {
        tracing::warn!(
            "{} is read-only; the list may be out of date",
            state.path().display()
        );
        return Ok(catalog);
    }
    let lock = RunLock::for_a_moment(&state);
    let found = catch_up(
        &catalog,
        job.local_directory(),
        lock.is_some(),
        Timestamp::now(),
    )?;
    found.warn_unreadable();
    Ok(catalog)
}

/// Adds every archive of `directory` that the catalog does not know, from its manifest, and takes back that
/// one was removed which is there.
///
/// The data is not read back: a backup without its sidecar is unproven until it is drilled.
pub fn rebuild(catalog: &Catalog, directory: &Path) -> Result<Rebuilt, CatalogError> {
    let mut found = Rebuilt::default();
    let mut batch = Batch::new(catalog);
    for (path, marks) in archives(directory, |_| true)? {
        match look(&path) {
            Err(error) => found.unreadable.push((path, error)),
            Ok(known) => match batch.find(known.manifest.id)? {
                None => found.added.push(batch.put(added(&path, &known, marks))?),
                Some(record) if record.is_kept() => found.known += 1,
                Some(record) => {
                    let record = record.found(&path, known.bytes);
                    found.returned.push(batch.put(record)?);
                }
            },
        }
    }
    batch.write()?;
    Ok(found)
}

/// So many records are written together: each time the disk is waited for.
const TOGETHER: usize = 200;
/// So many tables are in them at most, and those of one more.
const TABLES_TOGETHER: usize = 20_000;

/// Records that are about to be written.
struct Batch<'a> {
    catalog: &'a Catalog,
    records: Vec<BackupRecord>,
}

impl<'a> Batch<'a> {
    fn new(catalog: &'a Catalog) -> Self {
        Self {
            catalog,
            records: Vec::new(),
        }
    }

    /// The record of this id, whether it is written yet or not.
    fn find(&self, id: BackupId) -> Result<Option<BackupRecord>, CatalogError> {
        // The last one counts: of two copies of an archive both may be found.
        if let Some(record) = self.records.iter().rfind(|record| record.id == id) {
            return Ok(Some(record.clone()));
        }
        self.catalog.find(&id.to_string())
    }

    fn put(&mut self, record: BackupRecord) -> Result<BackupRecord, CatalogError> {
        let run = RunSummary::of(&record).run;
        self.records.push(record);
        let tables: usize = self.records.iter().map(|it| it.tables.len()).sum();
        if self.records.len() >= TOGETHER || tables >= TABLES_TOGETHER {
            self.write()?;
        }
        Ok(run)
    }

    fn write(&mut self) -> Result<(), CatalogError> {
        self.catalog.finish_all(&self.records)?;
        self.records.clear();
        Ok(())
    }
}

/// Makes the catalog say what is on the disk, after a process that died or a hand that moved files: archives that
/// no record names are added, as [`rebuild`] does. What the records say of archives that are named is left alone.
///
/// `alone` says that the run lock is held, so that no run is at work: then runs that died are closed, too, each
/// with its archive where it had come so far, and archives come back that were about to be removed and still are there.
pub fn catch_up(
    catalog: &Catalog,
    directory: &Path,
    alone: bool,
    now: Timestamp,
) -> Result<Rebuilt, CatalogError> {
    let named = catalog.kept_names()?;
    let mut found = Rebuilt::default();
    let mut batch = Batch::new(catalog);
    let unnamed = archives(directory, |name| {
        let is_named = name.to_str().is_some_and(|name| named.contains(name));
        found.known += usize::from(is_named);
        !is_named
    })?;
    for (path, marks) in unnamed {
        let known = match look(&path) {
            Ok(known) => known,
            Err(error) => {
                found.unreadable.push((path, error));
                continue;
            }
        };
        match batch.find(known.manifest.id)? {
            None => found.added.push(batch.put(added(&path, &known, marks))?),
            Some(record) if alone => {
                if let Some(record) = as_it_is(&record, &path, &known, marks) {
                    found.added.push(batch.put(record)?);
                }
            }
            Some(_) => {}
        }
    }
    batch.write()?;
    if alone {
        catalog.close_dead_runs(now)?;
    }
    Ok(found)
}

/// A record of which an archive was found that it does not name; `None` for a second copy.
fn as_it_is(
    record: &BackupRecord,
    path: &Path,
    known: &Contents,
    marks: Vec<String>,
) -> Option<BackupRecord> {
    if matches!(record.state, State::Running | State::Failed) {
        let mut published = published(path, known, marks);
        published.warnings.push(Warning::new(
            "died",
            path.display(),
            "its run crashed or failed after publication: the steps after that were not done",
        ));
        return Some(published);
    }
    let is_second = record.is_kept() && record.archive().is_some();
    (!is_second).then(|| record.found(path, known.bytes))
}

/// The `wanted` files of a directory that are called as archives are, in the order of their names, and the names of the
/// marks beside each.
fn archives(
    directory: &Path,
    mut wanted: impl FnMut(&OsStr) -> bool,
) -> Result<Vec<(PathBuf, Vec<String>)>, CatalogError> {
    let failed = |source| CatalogError::Directory {
        path: directory.to_owned(),
        source,
    };
    let mut marks: HashMap<OsString, Vec<String>> = HashMap::new();
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if let Some((archive, mark)) = name.to_str().and_then(split) {
            marks
                .entry(archive.into())
                .or_default()
                .push(mark.to_owned());
        } else if super::is_archive_name(Path::new(&name)) && wanted(&name) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let mut with_marks = |path: PathBuf| {
        let marks = path.file_name().and_then(|name| marks.remove(name));
        (path, marks.unwrap_or_default())
    };
    Ok(paths.into_iter().map(&mut with_marks).collect())
}

/// Nobody who keeps archives needs to hold a key: a sealed one is known by its sidecar, which must be its own.
fn look(path: &Path) -> Result<Contents, ArchiveError> {
    let known = contents(path, &Identities::none())?;
    if let Some(seal) = known.seal.as_ref().filter(|_| !known.opened) {
        let same = seal
            .is_of(path)
            .map_err(|source| ArchiveError::Read { offset: 0, source })?;
        if !same {
            return Err(ArchiveError::DamagedSeal(
                "its sidecar names another file: this archive was changed, or the sidecar belongs to another archive"
                    .to_owned(),
            ));
        }
    }
    Ok(known)
}

fn added(path: &Path, known: &Contents, marks: Vec<String>) -> BackupRecord {
    BackupRecord {
        // Who was told of it then is not known, and nobody needs to hear of it now.
        delivery: Some(DeliveryRecord::default()),
        ..published(path, known, marks)
    }
}

fn published(path: &Path, known: &Contents, marks: Vec<String>) -> BackupRecord {
    let mut record = published_as(BackupCopy::local(path, Some(known.bytes)), known);
    if let Some(pin) = Pin::beside(path, record.id) {
        record.learn_pin(LOCAL, &pin);
    }
    let marks = Marks::beside(path, marks, record.id);
    record.learn_marks(LOCAL, &marks.found);
    record.note_marks(LOCAL, &marks);
    record
}

/// The record of a backup of which this copy was found.
pub(crate) fn published_as(copy: BackupCopy, known: &Contents) -> BackupRecord {
    let proof = known.proof.clone().unwrap_or_else(|| ProofRecord {
        reason: Some("known from its manifest only".to_owned()),
        ..ProofRecord::default()
    });
    BackupRecord {
        pinned: known.pinned,
        sealed_to: known.sealed_to(),
        ..BackupRecord::published(&known.manifest, copy, proof)
    }
}
