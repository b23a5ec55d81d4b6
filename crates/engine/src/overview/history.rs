//! The history of a job in one pass, newest run first.

use super::assurance::Assurance;
use super::copies::{LostCopy, StrayCopy, count_places};
use super::disproved::Disproved;
use super::durations::Durations;
use super::presence::{LookFn, Presence, looked_for, presence, presence_of};
use super::risk::{Risk, age_risk};
use super::space::Space;
use crate::catalog::{BackupCopy, BackupRecord, Catalog, CatalogError, CopyState, State};
use crate::job::Destinations;
use hubvault_model::BackupId;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;

/// What is known of a job's backups.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// The newest run, whatever became of it.
    pub last_run: Option<BackupRecord>,
    /// The newest run that ended by itself: one that somebody stopped says nothing about the next.
    pub last_ended: Option<BackupRecord>,
    /// The newest run that published an archive, whether it is still there or not.
    pub last_published: Option<BackupRecord>,
    /// The newest proven backup whose archive is there.
    pub newest_proven: Option<BackupRecord>,
    /// When an archive was last restored and compared.
    pub last_drill: Option<Timestamp>,
    /// Archives that are there.
    pub archives: usize,
    /// Their bytes.
    pub archives_bytes: u64,
    /// Those of them that are in the directory on this machine, and their bytes.
    pub archives_here: (usize, u64),
    /// Those of them that are pinned.
    pub archives_pinned: usize,
    /// Those of them that are sealed.
    pub archives_sealed: usize,
    /// Copies that should be there and are not as they were stored, newest backup first.
    pub missing: Vec<LostCopy>,
    /// Backups that are there and that a drill did not prove after they were stored, newest first.
    pub disproved: Vec<Disproved>,
    /// Every archive that is, or should be, there, newest first.
    pub recoverable: Vec<Recoverable>,
    /// A proven backup, newer than the newest of which a copy is there, that is only where no destination is any more.
    pub stray: Option<StrayCopy>,
    /// The names of the destinations that have the newest proven backup.
    newest_at: Vec<String>,
    /// How many copies that should be there are in each state, by destination.
    pub copies: BTreeMap<(String, &'static str), usize>,
    /// How long things take.
    pub durations: Durations,
    /// How the space that archives take on this machine changes.
    pub space: Space,
    /// All runs, newest first.
    pub marks: Vec<RunMark>,
    runs: [usize; 4],
}

/// A run in a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunMark {
    /// When it began.
    pub started_at: Timestamp,
    /// How far it got.
    pub state: State,
}

/// An archive, as a moment that can be brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recoverable {
    /// The backup.
    pub id: BackupId,
    /// When its run began.
    pub at: Timestamp,
    /// Whether it was proven.
    pub is_proven: bool,
    /// Whether a copy is there.
    pub is_there: bool,
}

impl Overview {
    /// From the runs of one job, newest first.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a BackupRecord>, look: LookFn) -> Self {
        Self::of_runs(records, look, &BackupRecord::clone)
    }

    /// The same from runs as [`Catalog::runs`] has them; of those that it keeps it gets `whole` records.
    pub(crate) fn of_runs<'a>(
        runs: impl IntoIterator<Item = &'a BackupRecord>,
        look: LookFn,
        whole: &dyn Fn(&BackupRecord) -> BackupRecord,
    ) -> Self {
        let mut overview = Self::default();
        for run in runs {
            let Ok(_) = overview.add(run, look, |run| Ok::<_, Infallible>(whole(run)));
        }
        overview
    }

    /// From what the catalog knows of a job. One run at a time is in memory.
    pub fn read(catalog: &Catalog, job: &str) -> Result<Self, CatalogError> {
        let mut overview = Self::default();
        catalog.each_summary(Some(job), |summary| {
            overview.add(&summary.run, looked_for, |run| catalog.whole(run))?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(overview)
    }

    /// Every job that the catalog knows: one that was renamed is there by both names.
    pub fn read_all(catalog: &Catalog) -> Result<BTreeMap<String, Self>, CatalogError> {
        let mut jobs: BTreeMap<String, Self> = BTreeMap::new();
        catalog.each_summary(None, |summary| {
            let overview = jobs.entry(summary.run.job.clone()).or_default();
            overview.add(&summary.run, looked_for, |run| catalog.whole(run))?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(jobs)
    }

    /// Takes one more run into account; the newest comes first. Of those that it keeps it gets `whole` records. Says whether a
    /// copy is there: each is looked for once.
    pub(crate) fn add<E>(
        &mut self,
        run: &BackupRecord,
        look: impl Fn(&BackupCopy) -> bool,
        whole: impl Fn(&BackupRecord) -> Result<BackupRecord, E>,
    ) -> Result<Presence, E> {
        self.space.add(run);
        let there: Vec<bool> = run.copies.iter().map(look).collect();
        let presence = presence_of(run, || there.contains(&true));
        let is_newest_proven = counts(run, presence) && self.newest_proven.is_none();
        if self.newest_proven.is_none() && self.stray.is_none() && presence != Presence::Present {
            self.stray = StrayCopy::of(run);
        }
        let ended = run.state != State::Running && !run.was_stopped();
        let published = matches!(run.state, State::Proven | State::Unproven);
        let mut read = None;
        for (known, is_it) in [
            (&mut self.last_run, true),
            (&mut self.last_ended, ended),
            (&mut self.last_published, published),
            (&mut self.newest_proven, is_newest_proven),
        ] {
            if is_it && known.is_none() {
                let record = match read.take() {
                    Some(record) => record,
                    None => whole(run)?,
                };
                read = Some(record.clone());
                *known = Some(record);
            }
        }
        let copies = || run.copies.iter().zip(&there);
        if is_newest_proven {
            let there = copies().filter(|(_, is_there)| **is_there);
            self.newest_at = there.map(|(copy, _)| copy.destination.clone()).collect();
        }
        let drilled = run.proof.drill.as_ref().map(|drill| drill.drilled_at);
        self.last_drill = self.last_drill.max(drilled);
        if matches!(presence, Presence::Present | Presence::Missing) {
            self.recoverable.push(Recoverable {
                id: run.id,
                at: run.started_at,
                is_proven: run.state == State::Proven,
                is_there: presence == Presence::Present,
            });
        }
        if presence == Presence::Present {
            self.disproved.extend(Disproved::of(run));
            let mut here = copies().filter(|(copy, _)| copy.path().is_some());
            self.add_archive(run, here.next().is_some_and(|(_, is_there)| *is_there));
        }
        for (copy, is_there) in copies() {
            if copy.is_expected() && !copy.is_unconfigured() {
                self.add_copy(run, copy, *is_there);
            }
        }
        self.durations.add(run);
        self.marks.push(RunMark {
            started_at: run.started_at,
            state: run.state,
        });
        self.runs[run.state as usize] += 1;
        Ok(presence)
    }

    fn add_archive(&mut self, run: &BackupRecord, is_here: bool) {
        let bytes = run.bytes.unwrap_or_default();
        self.archives += 1;
        self.archives_bytes += bytes;
        if is_here {
            self.archives_here.0 += 1;
            self.archives_here.1 += bytes;
        }
        self.archives_pinned += usize::from(run.pinned);
        self.archives_sealed += usize::from(!run.sealed_to.is_empty());
    }

    fn add_copy(&mut self, record: &BackupRecord, copy: &BackupCopy, is_there: bool) {
        let state = match copy.state {
            _ if is_there => CopyState::Present,
            CopyState::Present => CopyState::Missing,
            state => state,
        };
        if matches!(state, CopyState::Missing | CopyState::Damaged) {
            self.missing.push(LostCopy::of(record, copy));
        }
        let of = (copy.destination.clone(), state.as_str());
        *self.copies.entry(of).or_default() += 1;
    }

    /// The names of the destinations that have the newest proven backup.
    pub fn newest_at(&self) -> impl Iterator<Item = &str> {
        self.newest_at.iter().map(String::as_str)
    }

    /// How many runs are in this state.
    pub fn runs(&self, state: State) -> usize {
        self.runs[state as usize]
    }

    /// What is at risk, the worst first.
    pub fn risks(&self, max_age_hours: u32, now: Timestamp) -> Vec<Risk> {
        let mut risks = Vec::new();
        risks.extend(age_risk(self.newest_proven.as_ref(), max_age_hours, now));
        risks.extend(self.stray.clone().map(Risk::Unconfigured));
        risks.extend(self.failure());
        risks.extend(self.disproved.iter().cloned().map(Risk::Disproved));
        if let Some(last) = &self.last_published {
            let is_named = self.disproved.iter().any(|it| it.backup == last.id);
            if last.state == State::Unproven && !is_named {
                let reason = last.proof.reason.as_deref().unwrap_or("not drilled");
                risks.push(Risk::Unproven(reason.to_owned()));
            }
            risks.extend(last.warnings.iter().cloned().map(Risk::Warned));
        }
        risks.extend(self.missing.iter().cloned().map(Risk::Missing));
        risks
    }

    /// Whether the newest run that ended failed. One at work since, or stopped by hand, does not undo that.
    pub fn failure(&self) -> Option<Risk> {
        let last = self.last_ended.as_ref();
        let failed = last.filter(|record| record.state == State::Failed)?;
        let why = failed.error.as_deref().unwrap_or("unknown cause");
        Some(Risk::Failed(why.to_owned()))
    }

    /// What can be restored; `None` where nothing proven is there.
    pub fn assurance(&self, destinations: &Destinations) -> Option<Assurance> {
        let newest = self.newest_proven.as_ref()?;
        let snapshot = newest.snapshot.as_ref();
        Some(Assurance {
            backup: newest.id,
            up_to: snapshot.map_or(newest.started_at, |snapshot| snapshot.taken_at),
            proven_at: newest.proof.drill.as_ref().map(|drill| drill.drilled_at),
            restore_seconds: self.durations.restore(),
            copies: self.newest_at.len(),
            places: count_places(destinations, self.newest_at()),
        })
    }
}

/// Whether a backup can be relied on: it was proven, and its archive is there.
fn counts(record: &BackupRecord, presence: Presence) -> bool {
    record.state == State::Proven && presence == Presence::Present
}

/// The newest proven backup of a job whose archive is there. Reads no further than that.
pub fn newest_proven(catalog: &Catalog, job: &str) -> Result<Option<BackupRecord>, CatalogError> {
    catalog.newest(Some(job), |it| counts(&it.run, presence(&it.run)))
}
