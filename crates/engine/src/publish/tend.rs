//! What is done for copies between two runs.

use super::adopt::adopt;
use super::check_copies::{CheckedCopy, Depth, check_copies};
use super::copies::{Copier, Copying, leave_spool};
use super::due::is_known_unsealed;
use super::fill::CopyOutcome;
use super::leftovers::sweep_leftovers;
use crate::catalog::{Catalog, CatalogError, CopyState};
use crate::job::Job;
use crate::progress::Silent;
use crate::retain;
use crate::state::file::{Durability, replace};
use hubvault_model::{Cancel, counted};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Uploads that nobody finished for so long are given up.
const UNFINISHED_HOURS: i64 = 24;

/// What came of it.
#[derive(Debug, Default)]
pub struct Tended {
    /// Copies that were tried.
    pub copied: Vec<CopyOutcome>,
    /// Copies that were looked for, once a day.
    pub checked: Vec<CheckedCopy>,
    /// What went wrong besides.
    pub problems: Vec<String>,
}

/// Tries what is to be tried again, and removes from a spool directory what is copied. Once a day it looks for every copy,
/// reads some of them back, and ends uploads that nobody finished.
pub fn tend(
    job: &Job,
    catalog: &Catalog,
    zone: &TimeZone,
    cancel: &Cancel,
) -> Result<Tended, CatalogError> {
    let copier = Copier {
        job,
        catalog,
        zone,
        cancel,
        progress: Arc::new(Silent),
        limit: None,
        only: None,
        lease: None,
    };
    let adopted = adopt(job, catalog, cancel);
    let mut tended = Tended {
        copied: copier.copy(Copying::Due)?,
        ..Tended::default()
    };
    tended.problems.extend(adopted.err().map(|error| {
        let error = job.delivery.masks.mask(&error.to_string());
        format!("could not look for backups of other machines: {error}")
    }));
    if !job.destinations.keeps_local() {
        tended.problems.extend(leave_spool(job, catalog)?);
    }
    if cancel.is_requested() || !is_due(catalog, CHECKED) {
        return Ok(tended);
    }
    let depth = Depth::Sample(job.monitor.read_back);
    tended.checked = check_copies(job, catalog, None, depth, cancel)?;
    let is_wanted = |name: &str| {
        let failed = |it: &CopyOutcome| it.destination == name && !it.is_stored;
        !tended.copied.iter().any(failed)
    };
    let problems = remove_unfinished_daily(job, catalog, &is_wanted);
    tended.problems.extend(problems);
    tended.problems.extend(set_mark(catalog, CHECKED));
    Ok(tended)
}

/// Whether [`tend`] has something to do.
pub fn is_tending_due(job: &Job, catalog: &Catalog) -> bool {
    if job.destinations.others().is_empty() {
        return false;
    }
    let now = Timestamp::now();
    let has_due_copy = |record: &crate::catalog::BackupRecord| {
        let mut copies = record.copies.iter();
        retain::is_pin_due(job, record)
            || retain::is_drill_due(job, record)
            || copies.any(|copy| {
                let is_pending = copy.state == CopyState::Pending && copy.is_expected();
                let is_spooled = copy.until_copied && copy.is_expected();
                is_spooled
                    || (is_pending
                        && !is_known_unsealed(copy)
                        && copy.next_try_at.is_none_or(|at| at <= now))
            })
    };
    // The child process reports a catalog that cannot be read.
    let has_due = catalog
        .runs(&job.name)
        .map_or(true, |records| records.iter().any(has_due_copy));
    // What other machines made is only seen by looking for it.
    has_due || job.lease.is_some() || is_due(catalog, CHECKED)
}

/// Says when copies were looked for.
const CHECKED: &str = "copies-checked";
/// Says when unfinished uploads were removed.
const SWEPT: &str = "uploads-removed";

/// Whether a day has passed since a mark was set.
fn is_due(catalog: &Catalog, mark: &str) -> bool {
    let last = std::fs::read_to_string(catalog.state().file(mark)).ok();
    let last: Option<Timestamp> = last.and_then(|text| text.trim().parse().ok());
    let now = Timestamp::now();
    last.is_none_or(|last| last > now || now.duration_since(last) >= SignedDuration::from_hours(23))
}

fn set_mark(catalog: &Catalog, mark: &str) -> Option<String> {
    let (path, text) = (
        catalog.state().file(mark),
        format!("{}\n", Timestamp::now()),
    );
    let error = replace(&path, text.as_bytes(), 0o600, Durability::Durable).err()?;
    Some(format!(
        "could not record what is done once a day for copies: {error}"
    ))
}

/// [`remove_unfinished`], unless that was done within a day.
pub fn remove_unfinished_daily(
    job: &Job,
    catalog: &Catalog,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    if !is_due(catalog, SWEPT) {
        return Vec::new();
    }
    let mut problems = remove_unfinished(job, catalog, is_wanted);
    problems.extend(set_mark(catalog, SWEPT));
    problems
}

/// Ends uploads of crashed processes, which take room and cost money, at the destinations of these names, and removes what
/// lies beside archives that are gone there. Returns what went wrong.
pub fn remove_unfinished(
    job: &Job,
    catalog: &Catalog,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let before = Timestamp::now() - SignedDuration::from_hours(UNFINISHED_HOURS);
    let mut problems = Vec::new();
    let destinations = job.destinations.others().iter();
    for destination in destinations.filter(|it| is_wanted(&it.name)) {
        let name = &destination.name;
        let ended = destination.open().and_then(|store| {
            let ended = store.remove_unfinished(before)?;
            Ok((store, ended))
        });
        let ended = ended.map(|(store, ended)| {
            match sweep_leftovers(job, catalog, destination, &*store) {
                Ok(left) => problems.extend(left),
                Err(error) => problems.push(format!(
                    "could not look for leftovers at {name}: {}",
                    job.delivery.masks.mask(&error.to_string())
                )),
            }
            ended
        });
        match ended {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => {
                let what = counted(removed.len() as u64, "upload");
                let bytes = removed.iter().filter_map(|it| it.bytes);
                let bytes = bytes.fold(0, u64::saturating_add);
                tracing::warn!(
                    "removed {what} that nobody finished from {name} ({} that took room there)",
                    hubvault_model::ByteSize(bytes)
                );
            }
            Err(error) => problems.push(format!(
                "could not remove uploads that nobody finished from {name}: {}",
                job.delivery.masks.mask(&error.to_string())
            )),
        }
    }
    problems
}
