//! Archives at a destination that the catalog does not know: without a lease another machine may copy to the same place.

use crate::catalog::{Catalog, CatalogError};
use crate::job::{Destination, Job};
use crate::remote::{Archives, Listed, RemoteError, impatient};
use crate::state::file::{Durability, replace};
use hubvault_model::{BackupId, Cancel, counted, excerpt};
use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::ops::ControlFlow;

/// The newest ones that people were warned of, one a line.
const WARNED: &str = "unknown-archives";
/// The longest name of a job that is repeated, in characters.
const LONGEST: usize = 60;
/// The longest key that is.
const LONGEST_KEY: usize = 200;

/// Archives at one destination that the catalog does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownArchives {
    /// The destination's name.
    pub destination: String,
    /// How many.
    pub count: usize,
    /// The key of the newest one.
    pub newest: String,
    /// The job that made it, where its sidecar says so.
    pub job: Option<String>,
    /// Another machine that drilled or pinned it.
    pub machine: Option<String>,
    /// Whether a lease can be kept there.
    can_lease: bool,
}

impl fmt::Display for UnknownArchives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, name) = (counted(self.count as u64, "archive"), &self.destination);
        let verb = if self.count == 1 { "is" } else { "are" };
        let job = self.job.as_ref();
        let job = job.map_or_else(String::new, |job| format!(" of job {job:?}"));
        let machine = self.machine.as_ref();
        let machine =
            machine.map_or_else(String::new, |it| format!(", which {it} drilled or pinned"));
        let lease = if self.can_lease {
            format!(
                ", or if both run this job, set lease.destination = {name:?} on both (BACKUP_LEASE)"
            )
        } else {
            String::new()
        };
        write!(
            f,
            "{count} at {name} {verb} not in the catalog here, the newest {}{job}{machine}; where another machine copies \
             there, give each a directory or prefix of its own{lease}; where this machine made them, \
             hubvault catalog rebuild --from {name} adds them",
            self.newest
        )
    }
}

/// Lists the destinations for which `is_asked` holds. With a lease other machines are expected there. What cannot be listed
/// is said elsewhere.
pub fn unknown_archives(
    job: &Job,
    catalog: Option<&Catalog>,
    cancel: &Cancel,
    is_asked: &dyn Fn(&Destination) -> bool,
) -> Result<Vec<UnknownArchives>, CatalogError> {
    if job.lease.is_some() {
        return Ok(Vec::new());
    }
    let mut known: HashSet<String> = HashSet::new();
    if let Some(catalog) = catalog {
        catalog.each_summary(None, |summary| {
            known.extend(summary.run.copies.into_iter().map(|copy| copy.key));
            Ok(ControlFlow::Continue(()))
        })?;
    }
    let others = job.destinations.others().iter().filter(|it| is_asked(it));
    let found = others.filter_map(|at| {
        look(at, &known, cancel).unwrap_or_else(|error| {
            tracing::debug!(
                "could not look for unknown archives at {}: {error}",
                at.name
            );
            None
        })
    });
    Ok(found.collect())
}

fn look(
    at: &Destination,
    known: &HashSet<String>,
    cancel: &Cancel,
) -> Result<Option<UnknownArchives>, RemoteError> {
    let archives = Archives::open(&impatient(at), cancel)?;
    let mut unknown = match archives.list() {
        Err(RemoteError::Empty { .. }) => Vec::new(),
        listed => listed?,
    };
    unknown.retain(|listed| !known.contains(listed.object.key.as_str()));
    let Some(newest) = unknown.first() else {
        return Ok(None);
    };
    let sidecar = archives.sidecar(newest)?;
    let machine = match &sidecar {
        Some(sidecar) => machine(&archives, newest, sidecar.manifest.id)?,
        None => None,
    };
    Ok(Some(UnknownArchives {
        destination: at.name.clone(),
        count: unknown.len(),
        newest: excerpt(newest.object.key.as_str(), LONGEST_KEY),
        job: sidecar.map(|sidecar| excerpt(&sidecar.manifest.job, LONGEST)),
        machine,
        can_lease: at.address().server().is_some(),
    }))
}

/// The other machine that drilled or pinned a backup.
fn machine(
    archives: &Archives,
    listed: &Listed,
    id: BackupId,
) -> Result<Option<String>, RemoteError> {
    let marks = archives.marks(listed, id, &listed.marks)?;
    let mut drilled = marks.found.iter();
    let drilled = drilled.find_map(|one| one.mark.other_machine().map(str::to_owned));
    if drilled.is_some() {
        return Ok(drilled);
    }
    let pin = archives.pin(listed, id)?;
    Ok(pin.and_then(|pin| pin.other_machine().map(str::to_owned)))
}

/// The same for a run: only where the newest one is another than the last time.
pub(crate) fn new_unknown_archives(
    job: &Job,
    catalog: &Catalog,
    cancel: &Cancel,
    is_asked: &dyn Fn(&Destination) -> bool,
) -> Result<Vec<UnknownArchives>, CatalogError> {
    let mut found = unknown_archives(job, Some(catalog), cancel, is_asked)?;
    let file = catalog.state().file(WARNED);
    let before = fs::read_to_string(&file).unwrap_or_default();
    let line = |it: &UnknownArchives| format!("{} {}", it.destination, it.newest);
    found.retain(|it| !before.lines().any(|known| known == line(it)));
    if !found.is_empty() {
        let is_old = |known: &&str| {
            let name = known.split(' ').next();
            !found.iter().any(|it| Some(it.destination.as_str()) == name)
        };
        let kept = before.lines().filter(is_old).map(str::to_owned);
        let lines: Vec<String> = kept.chain(found.iter().map(line)).collect();
        // Else the warning comes again.
        let _ = replace(
            &file,
            (lines.join("\n") + "\n").as_bytes(),
            0o600,
            Durability::Passing,
        );
    }
    Ok(found)
}
