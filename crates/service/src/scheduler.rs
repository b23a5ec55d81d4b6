//! Schedules all jobs, none waiting for another, and handles signals.

use super::daemon::{Daemon, Event, ServedJob};
use super::job_scheduler::JobScheduler;
use super::operation::Operation;
use super::reaper;
use anyhow::Result;
use hubvault_engine::run::RunRequest;
use hubvault_model::BackupId;
use jiff::Timestamp;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// How often the wall clock is read: it may be set, or the machine may sleep.
const TICK: Duration = Duration::from_secs(1);
/// How long a child process may take to end once it was asked to.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The schedules of all jobs.
pub(super) struct Scheduler {
    daemon: Daemon,
    jobs: Vec<JobScheduler>,
}

impl Scheduler {
    /// For all jobs. A directory that cannot be used is tried again and holds up no other job; an error if none can be
    /// used.
    pub(super) fn new(daemon: Daemon) -> Result<Self> {
        let jobs = daemon.jobs().into_iter().map(JobScheduler::new);
        let mut jobs: Vec<JobScheduler> = jobs.collect();
        let now = Timestamp::now();
        let mut errors = Vec::new();
        for job in &mut jobs {
            if let Err(error) = job.start(now) {
                errors.push(error.context(format!("{}starting the schedule", job.prefix())));
            }
        }
        if errors.len() < jobs.len() {
            // The next tick tries again, and logs the error.
            errors.clear();
        }
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(Self { daemon, jobs }),
        }
    }

    /// Runs until a signal ends it.
    pub(super) fn run(mut self, events: &Receiver<Event>) {
        loop {
            match events.recv_timeout(TICK) {
                Ok(Event::Signal(SIGHUP)) => self.reload(),
                Ok(Event::Signal(SIGINT | SIGTERM)) => {
                    self.stop(events);
                    return self.jobs.iter_mut().for_each(JobScheduler::end);
                }
                Ok(Event::RunRequested { job, request }) => self.request(&job, request),
                Ok(Event::OperationRequested { job, operation }) => self.operate(&job, operation),
                Ok(Event::StopRequested { job, operation, by }) => {
                    let mut jobs = self.jobs.iter();
                    if let Some(scheduler) = jobs.find(|it| it.served().is(&job)) {
                        scheduler.stop_operation(operation, &by);
                    }
                }
                // SIGCHLD, or nothing at all: collect and tick.
                Ok(Event::Signal(_)) | Err(_) => {}
            }
            for (process, status) in reaper::collect() {
                for job in &mut self.jobs {
                    job.ended(process, status);
                }
            }
            let now = Timestamp::now();
            self.jobs.iter_mut().for_each(|job| job.tick(now));
            for job in self.jobs.iter_mut().filter(|job| job.is_finished()) {
                job.end();
            }
            self.jobs.retain(|job| !job.is_finished());
        }
    }

    fn request(&mut self, job: &ServedJob, request: RunRequest) {
        let mut jobs = self.jobs.iter_mut();
        if let Some(scheduler) = jobs.find(|scheduler| scheduler.served().is(job)) {
            scheduler.request(request);
        } else {
            let (job_name, id) = (job.name(), request.id.short());
            tracing::error!(
                "{job_name} was removed from the configuration; run {id} is not started"
            );
            job.set_running(None);
        }
    }

    fn operate(&mut self, job: &ServedJob, operation: Operation) {
        let mut jobs = self.jobs.iter_mut();
        match jobs.find(|scheduler| scheduler.served().is(job)) {
            Some(scheduler) => scheduler.start_operation(operation),
            // What is looked at is not at work then.
            None => job.operation_ended(operation.id),
        }
    }

    fn reload(&mut self) {
        if let Err(error) = self.daemon.reload() {
            tracing::error!("reload failed, keeping the previous configuration: {error}");
            return;
        }
        let mut before = std::mem::take(&mut self.jobs);
        for served in self.daemon.jobs() {
            let known = before.iter().position(|job| job.served().is(&served));
            if let Some(known) = known {
                let mut job = before.swap_remove(known);
                job.reload();
                self.jobs.push(job);
                continue;
            }
            self.jobs.push(JobScheduler::new(served));
        }
        for mut job in before {
            job.remove();
            self.jobs.push(job);
        }
        tracing::info!("configuration reloaded");
    }

    /// Gives runs the grace period to end, then asks them to.
    fn stop(&mut self, events: &Receiver<Event>) {
        let runs: Vec<(usize, BackupId)> = (self.jobs.iter().enumerate())
            .filter_map(|(n, job)| Some((n, job.running()?)))
            .collect();
        if !self.jobs.iter().any(JobScheduler::is_busy) {
            tracing::info!("stopped");
            return;
        }
        let grace = self.daemon.stop_grace();
        for (n, id) in &runs {
            let (prefix, id, seconds) = (self.jobs[*n].prefix(), id.short(), grace.as_secs());
            tracing::info!("{prefix}stopping: run {id} is in progress and has {seconds} s to end");
        }
        for job in &self.jobs {
            for words in job.operations() {
                let (prefix, seconds) = (job.prefix(), grace.as_secs());
                tracing::info!(
                    "{prefix}stopping: {words}, is in progress and has {seconds} s to end"
                );
            }
        }
        self.wait_for_runs(events, grace);
        self.jobs.iter().for_each(JobScheduler::stop_run);
        let late: Vec<usize> = (0..self.jobs.len())
            .filter(|n| self.jobs[*n].running().is_some())
            .collect();
        self.wait_for_runs(events, END_TIMEOUT);
        for (n, id) in runs {
            let job = &self.jobs[n];
            let (prefix, short) = (job.prefix(), id.short());
            if job.running().is_some() {
                tracing::error!(
                    "{prefix}stopped: run {short} does not end; the next run removes its leftovers"
                );
            } else if late.contains(&n) {
                let outcome = job.outcome_of_stopped(id);
                tracing::warn!("{prefix}stopped: run {short} {outcome}");
            } else {
                tracing::info!("{prefix}stopped: run {short} ended in time");
            }
        }
    }

    fn wait_for_runs(&mut self, events: &Receiver<Event>, limit: Duration) {
        let end = Instant::now() + limit;
        while self.jobs.iter().any(JobScheduler::is_busy) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // Any event, SIGCHLD most of all, is a reason to collect.
            let _ = events.recv_timeout(left);
            for (process, status) in reaper::collect() {
                (self.jobs.iter_mut()).for_each(|job| job.ended_while_stopping(process, status));
            }
        }
    }
}
