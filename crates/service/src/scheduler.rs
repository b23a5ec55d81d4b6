//! Keeps the schedules of all jobs, none waiting for another, and heeds signals.

use super::daemon::{Daemon, Event, ServedJob};
use super::job_scheduler::JobScheduler;
use super::reaper;
use anyhow::Result;
use hubvault_model::BackupId;
use jiff::Timestamp;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// The wall clock is looked at this often, as it may be set or the machine may sleep.
const TICK: Duration = Duration::from_secs(1);
/// What a child may take to end once it was asked to.
const ENDING: Duration = Duration::from_secs(5);

/// The schedules at work.
pub(super) struct Scheduler {
    daemon: Daemon,
    jobs: Vec<JobScheduler>,
}

impl Scheduler {
    /// Of all jobs. One whose directory cannot be used keeps no other from its turn; where that is so of all, the
    /// service has nothing to do, and whoever started it hears of it.
    pub(super) fn new(daemon: Daemon) -> Result<Self> {
        let jobs = daemon.jobs().into_iter().map(JobScheduler::new);
        let mut jobs: Vec<JobScheduler> = jobs.collect::<Result<_>>()?;
        let now = Timestamp::now();
        let mut errors = Vec::new();
        for job in &mut jobs {
            if let Err(error) = job.settle(now) {
                errors.push(error.context(format!("{}keeping the schedule", job.of())));
            }
        }
        if errors.len() < jobs.len() {
            // The next tick says so, and tries again.
            errors.clear();
        }
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(Self { daemon, jobs }),
        }
    }

    /// Until a signal ends it.
    pub(super) fn keep(mut self, heard: &Receiver<Event>) {
        loop {
            match heard.recv_timeout(TICK) {
                Ok(Event::Signal(SIGHUP)) => self.reload(),
                Ok(Event::Signal(SIGINT | SIGTERM)) => return self.stop(heard),
                Ok(Event::Asked { job, id, told }) => self.ask(&job, id, told),
                // SIGCHLD, or nothing at all: a reason to look.
                Ok(Event::Signal(_)) | Err(_) => {}
            }
            for (process, status) in reaper::collect() {
                for job in &mut self.jobs {
                    job.ended(process, status);
                }
            }
            let now = Timestamp::now();
            self.jobs.iter_mut().for_each(|job| job.tick(now));
            self.jobs.retain(|job| !job.is_gone());
        }
    }

    fn ask(&mut self, job: &ServedJob, id: BackupId, told: bool) {
        if let Some(keeper) = self.jobs.iter_mut().find(|keeper| keeper.served().is(job)) {
            keeper.ask(id, told);
        } else {
            tracing::error!("{} is gone; run {} is not made", job.name(), id.short());
            job.set_at_work(None);
        }
    }

    fn reload(&mut self) {
        if let Err(error) = self.daemon.reload() {
            tracing::error!("{error}; the configuration before it still holds");
            return;
        }
        let mut before = std::mem::take(&mut self.jobs);
        for served in self.daemon.jobs() {
            let known = before.iter().position(|keeper| keeper.served().is(&served));
            if let Some(known) = known {
                let mut keeper = before.swap_remove(known);
                keeper.reload();
                self.jobs.push(keeper);
                continue;
            }
            match JobScheduler::new(served) {
                Ok(keeper) => self.jobs.push(keeper),
                Err(error) => tracing::error!("{error:#}"),
            }
        }
        for mut gone in before {
            gone.leave();
            self.jobs.push(gone);
        }
        tracing::info!("the configuration was read again and holds from now on");
    }

    /// A run gets the grace period to end by itself, then it is asked to.
    fn stop(mut self, heard: &Receiver<Event>) {
        let at_work: Vec<(usize, BackupId)> = (self.jobs.iter().enumerate())
            .filter_map(|(n, job)| Some((n, job.at_work()?)))
            .collect();
        if at_work.is_empty() {
            tracing::info!("stopped");
            return;
        }
        let grace = self.daemon.stop_grace();
        for (n, id) in &at_work {
            let (of, id, seconds) = (self.jobs[*n].of(), id.short(), grace.as_secs());
            tracing::info!("{of}stopping: run {id} has {seconds} s to end");
        }
        self.wait_for_runs(heard, grace);
        let late: Vec<(usize, BackupId)> = (at_work.into_iter())
            .filter(|(n, id)| {
                let (of, id) = (self.jobs[*n].of(), id.short());
                let late = self.jobs[*n].at_work().is_some();
                if !late {
                    tracing::info!("{of}stopped: run {id} had ended");
                }
                late
            })
            .collect();
        for (n, _) in &late {
            self.jobs[*n].ask_to_end();
        }
        self.wait_for_runs(heard, ENDING);
        for (n, id) in late {
            let job = &self.jobs[n];
            let (of, short) = (job.of(), id.short());
            if job.at_work().is_none() {
                tracing::warn!("{of}stopped: run {short} {}", job.became_of(id));
            } else {
                tracing::error!("{of}stopped: run {short} does not end; the next run sweeps it");
            }
        }
    }

    fn wait_for_runs(&mut self, heard: &Receiver<Event>, limit: Duration) {
        let end = Instant::now() + limit;
        while self.jobs.iter().any(|job| job.at_work().is_some()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // Whatever comes, SIGCHLD most of all, is a reason to look.
            let _ = heard.recv_timeout(left);
            for (process, _) in reaper::collect() {
                self.jobs.iter_mut().for_each(|job| job.was_its(process));
            }
        }
    }
}
