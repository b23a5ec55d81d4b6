//! What the checks look at.

use super::rows::is_better;
use crate::catalog::{
    BackupCopy, BackupRecord, Catalog, CatalogError, CopyState, OutboxItem, RunSummary,
    is_archive_name, is_sidecar_name,
};
use crate::disk::DirectoryFiles;
use crate::job::Job;
use crate::overview::{Overview, Presence, looked_for, presence};
use crate::state::StateDir;
use crate::state::service_lock::{Seen, ServiceLock};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// So far back is looked for a run that was due, in days.
const LOOK_BACK: i64 = 32;

/// So many of the newest runs are looked at, and as many with an archive.
const RECENT: usize = 100;

/// One look at one job: everything that the checks go by, read once.
pub struct Look<'a> {
    /// The job.
    pub job: &'a Job,
    /// What ran.
    pub catalog: &'a Catalog,
    /// The moment that counts as now.
    pub now: Timestamp,
    /// The zone of moments in what is said.
    pub zone: &'a TimeZone,
    /// Whether a service keeps the schedule.
    pub service: Seen,
    /// When a service makes the next run.
    pub next_due: Option<Timestamp>,
    /// When a service should have made the last one.
    pub last_due: Option<Timestamp>,
    /// Its newest runs, the newest with an archive, and all of which a copy is not as it should be, newest first.
    pub runs: Vec<RunSummary>,
    /// The archives that should be on this machine, newest first.
    pub known: Vec<KnownArchive>,
    /// What is in the directory of archives.
    pub(super) files: DirectoryFiles,
    /// The backup that the newest one of which a copy is there is compared with: the newest proven one before it, or where
    /// none is proven the newest.
    pub(super) earlier: Option<BackupRecord>,
    /// What they say together.
    pub overview: Overview,
    /// All messages, newest first.
    pub outbox: Vec<OutboxItem>,
}

/// An archive that should be on this machine.
#[derive(Clone, Debug)]
pub struct KnownArchive {
    /// Where.
    pub path: PathBuf,
    /// Its size as it was published.
    pub bytes: Option<u64>,
    /// Its size now, or why it is missing.
    pub found: Result<u64, String>,
}

impl KnownArchive {
    fn of(run: &BackupRecord, files: &DirectoryFiles) -> Option<Self> {
        let copy = run.local_copy().filter(|copy| copy.is_expected())?;
        let path = copy.path()?.to_owned();
        Some(Self {
            found: files.size_of(&path).map_err(|error| error.to_string()),
            path,
            bytes: run.bytes,
        })
    }
}

fn is_wrong(copy: &BackupCopy) -> bool {
    copy.is_expected() && !copy.is_unconfigured() && copy.state != CopyState::Present
}

impl std::fmt::Debug for Look<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look")
            .field("job", &self.job.name)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl<'a> Look<'a> {
    /// Reads what the catalog knows of `job`, and when a service is to run it, where one is at work.
    pub fn new(
        job: &'a Job,
        catalog: &'a Catalog,
        now: Timestamp,
        zone: &'a TimeZone,
    ) -> Result<Self, CatalogError> {
        let (mut runs, mut known, mut overview) = (Vec::new(), Vec::new(), Overview::default());
        let (mut kept, mut earlier) = (0, None);
        let is_archive = |name: &OsStr| is_archive_name(Path::new(name));
        // They are half of the files, and the record says when they were written.
        let files = DirectoryFiles::read(job.local_directory(), is_sidecar_name, is_archive);
        catalog.each_summary(Some(&job.name), |summary| {
            let run = &summary.run;
            let is_first = overview.archives == 0;
            let archive = KnownArchive::of(run, &files);
            let is_there = |copy: &BackupCopy| match &archive {
                Some(it) if copy.path() == Some(&it.path) => copy.is_there_if(|| it.found.is_ok()),
                _ => looked_for(copy),
            };
            let presence = overview.add(run, is_there, |run| catalog.whole(run))?;
            if presence == Presence::Present && !is_first && is_better(run, earlier.as_ref()) {
                earlier = Some(run.clone());
            }
            known.extend(archive);
            kept += usize::from(run.is_kept());
            let is_newest = runs.len() < RECENT || (run.is_kept() && kept <= RECENT);
            if is_newest || (is_first && overview.archives > 0) || run.copies.iter().any(is_wrong) {
                runs.push(summary);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let service = ServiceLock::seen(&StateDir::of(job.state_root()));
        let (next_due, last_due) = match service {
            Seen::AtWork { since } => (
                job.schedule.next_after(&job.name, now),
                // What was due before anybody served was not missed.
                job.schedule
                    .last_due(&job.name, now, LOOK_BACK)
                    .filter(|due| *due > since),
            ),
            _ => (None, None),
        };
        Ok(Self {
            job,
            catalog,
            now,
            zone,
            service,
            next_due,
            last_due,
            overview,
            runs,
            known,
            files,
            earlier,
            outbox: catalog.messages()?,
        })
    }

    /// The newest backups of which a copy is there, newest first.
    pub fn archives(&self) -> impl Iterator<Item = &BackupRecord> {
        let runs = self.runs.iter().map(|summary| &summary.run);
        runs.filter(|run| presence(run) == Presence::Present)
    }

    /// How long ago that was; nothing where it is yet to come.
    pub(super) fn since(&self, at: Timestamp) -> SignedDuration {
        self.now.duration_since(at).max(SignedDuration::ZERO)
    }
}
