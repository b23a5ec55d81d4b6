//! The policy applied to the archives that the catalog knows. Nothing else is ever touched.

use super::policy::{Decision, Kept, decide};
use crate::catalog::sidecar::Sidecar;
use crate::catalog::{BackupRecord, Catalog, CatalogError, State, contents};
use crate::job::RetentionRules;
use hubvault_archive::Identities;
use hubvault_model::remedy;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The archives could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The record of runs.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A file.
    #[error("{doing} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is to happen to one archive.
#[derive(Clone, Debug)]
pub struct Pruned {
    /// The backup.
    pub record: BackupRecord,
    /// Whether it stays, and why.
    pub decision: Decision,
}

/// Decides about every archive of a job that the catalog knows and that is there, newest first.
/// When the newest run of the job failed, everything stays, unless `after_failed_run`: on a full disk every run fails
/// until something is removed. The newest proven archive stays in any case.
pub fn plan(
    catalog: &Catalog,
    job: &str,
    rules: &RetentionRules,
    after_failed_run: bool,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Vec<Pruned>, CatalogError> {
    let records: Vec<BackupRecord> = catalog
        .list()?
        .into_iter()
        .filter(|record| record.job == job)
        .collect();
    let failed = records
        .first()
        .is_some_and(|newest| newest.state == State::Failed);
    let there: Vec<BackupRecord> = records
        .into_iter()
        .filter(|record| record.file.as_ref().is_some_and(|file| file.exists()))
        .collect();
    let history: Vec<Kept> = there
        .iter()
        .map(|record| Kept {
            id: record.id,
            at: record.started_at,
            bytes: record.bytes.unwrap_or(0),
            proven: record.state == State::Proven,
            pinned: record.pinned,
        })
        .collect();
    let mut decisions = decide(&history, now, rules, zone);
    if failed && !after_failed_run {
        for decision in decisions.iter_mut().filter(|decision| !decision.keep) {
            decision.keep = true;
            "the newest run failed: nothing is removed (if it failed as the disk is full: hubvault prune \
             --after-failed-run)"
                .clone_into(&mut decision.reason);
        }
    }
    let of = |decision: Decision| {
        let record = there
            .iter()
            .find(|record| record.id == decision.id)?
            .clone();
        Some(Pruned { record, decision })
    };
    Ok(decisions.into_iter().filter_map(of).collect())
}

/// Removes what the plan removes: the catalog knows it, then archive and sidecar go. A file that is not
/// the archive that the catalog means stays; what was wrong is returned.
pub fn apply(
    catalog: &Catalog,
    plan: &[Pruned],
    now: Timestamp,
) -> Result<Vec<String>, RetainError> {
    let mut problems = Vec::new();
    for pruned in plan.iter().filter(|pruned| !pruned.decision.keep) {
        let Some(file) = &pruned.record.file else {
            continue;
        };
        match is_of(file, &pruned.record) {
            Ok(true) => {}
            Ok(false) => {
                problems.push(format!(
                    "{} is another archive now and stays",
                    file.display()
                ));
                continue;
            }
            Err(why) => {
                problems.push(format!(
                    "{} cannot be read ({why}) and stays",
                    file.display()
                ));
                continue;
            }
        }
        // Written down first: a process that dies in between leaves a file that is there after all and is found,
        // and not an archive that is missing.
        catalog.finish(&BackupRecord {
            removed_at: Some(now),
            ..pruned.record.clone()
        })?;
        if let Err(error) = remove(file) {
            catalog.finish(&pruned.record)?;
            return Err(error);
        }
        let sidecar = Sidecar::path(file);
        if sidecar.exists() {
            remove(&sidecar)?;
        }
    }
    Ok(problems)
}

/// Says that a backup stays, or no longer has to, in the catalog and in the sidecar.
pub fn pin(catalog: &Catalog, record: &BackupRecord, pinned: bool) -> Result<(), RetainError> {
    catalog.finish(&BackupRecord {
        pinned,
        ..record.clone()
    })?;
    let Some(file) = record.file.as_ref().filter(|file| file.exists()) else {
        return Ok(());
    };
    let failed = |source| RetainError::Io {
        doing: "writing the sidecar manifest of",
        path: file.clone(),
        source,
    };
    let known =
        contents(file, &Identities::none()).map_err(|error| failed(io::Error::other(error)))?;
    let sidecar = known.into_sidecar(record.proof.clone(), pinned);
    sidecar.write(file).map_err(failed)
}

/// Whether a file is the archive of a record. A sealed one is known by its sidecar and its size.
fn is_of(file: &Path, record: &BackupRecord) -> Result<bool, String> {
    match contents(file, &Identities::none()) {
        Ok(known) => {
            let same_size = known.opened || record.bytes == Some(known.bytes);
            Ok(known.manifest.id == record.id && same_size)
        }
        Err(error) if error.is_sealed() => Err("it is sealed, and its sidecar is missing".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn remove(path: &Path) -> Result<(), RetainError> {
    fs::remove_file(path).map_err(|source| RetainError::Io {
        doing: "removing",
        path: path.to_owned(),
        source,
    })
}
