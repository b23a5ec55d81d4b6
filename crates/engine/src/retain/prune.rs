//! The policy applied to the archives that the catalog knows. Nothing else is ever touched.

use super::policy::{Decision, Kept, decide};
use crate::catalog::sidecar::ENDING;
use crate::catalog::{BackupRecord, Catalog, CatalogError, CopyState, State, contents};
use crate::job::{Destinations, RetentionRules};
use hubvault_archive::Identities;
use hubvault_store::{Key, StoreError};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io;
use std::path::Path;

/// The archives could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The record of runs.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
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
        .filter(|record| record.archive().is_some())
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

/// Removes what the plan removes: first the catalog knows it, then archive and sidecar go. A file that is not the archive
/// that the catalog means is left; what was wrong is returned.
pub fn apply(
    catalog: &Catalog,
    destinations: &Destinations,
    plan: &[Pruned],
    now: Timestamp,
) -> Result<Vec<String>, RetainError> {
    let mut problems = Vec::new();
    for pruned in plan.iter().filter(|pruned| !pruned.decision.keep) {
        if let Some(problem) = remove(catalog, destinations, &pruned.record, now)? {
            problems.push(problem);
        }
    }
    Ok(problems)
}

/// Removes one archive; or why it is left.
fn remove(
    catalog: &Catalog,
    destinations: &Destinations,
    record: &BackupRecord,
    now: Timestamp,
) -> Result<Option<String>, RetainError> {
    let (Some(copy), Some(file)) = (record.local_copy(), record.file()) else {
        return Ok(None);
    };
    let shown = file.display();
    match is_of(file, record) {
        Ok(true) => {}
        Ok(false) => return Ok(Some(format!("{shown} is another archive now; not removed"))),
        Err(why) => return Ok(Some(format!("could not read {shown}: {why}; not removed"))),
    }
    let Some(destination) = destinations.named(&copy.destination) else {
        let name = &copy.destination;
        return Ok(Some(format!(
            "{shown} is at the destination {name}, which is not configured; not removed"
        )));
    };
    let key = |text: &str| {
        Key::parse(text).map_err(|error| StoreError::new("removing", text, io::Error::other(error)))
    };
    let archive = key(&copy.key)?;
    if destination.path(&archive).as_deref() != Some(file) {
        let name = &destination.name;
        return Ok(Some(format!(
            "{shown} is not at the destination {name} any more; not removed"
        )));
    }
    let store = destination.open()?;
    // Recorded first: a process that crashes in between leaves a file that is there after all and is found, and not an
    // archive that is missing.
    catalog.finish(&record.removed(CopyState::Removed, now))?;
    if let Err(error) = store.delete(&archive) {
        catalog.finish(record)?;
        return Err(error.into());
    }
    store.delete(&key(&format!("{archive}{ENDING}"))?)?;
    Ok(None)
}

/// Says that a backup stays, or no longer has to, in the catalog and in the sidecar.
pub fn pin(catalog: &Catalog, record: &BackupRecord, pinned: bool) -> Result<(), RetainError> {
    catalog.finish(&BackupRecord {
        pinned,
        ..record.clone()
    })?;
    let Some(file) = record.archive() else {
        return Ok(());
    };
    let known = contents(file, &Identities::none()).map_err(|error| {
        let shown = file.display().to_string();
        StoreError::new(
            "writing the sidecar manifest of",
            shown,
            io::Error::other(error),
        )
    })?;
    let sidecar = known.into_sidecar(record.proof.clone(), pinned);
    Ok(sidecar.write(file)?)
}

/// Whether a file is the archive of a record. A sealed one is known by its sidecar and its size.
fn is_of(file: &Path, record: &BackupRecord) -> Result<bool, String> {
    match contents(file, &Identities::none()) {
        Ok(known) => {
            let same_size = known.opened || record.bytes == Some(known.bytes);
            Ok(known.manifest.id == record.id && same_size)
        }
        Err(error) if error.is_sealed() => {
            Err("it is sealed, and its sidecar is missing".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}
