//! The schedule of one job: starts the runs and periodic tasks that are due, and handles their results.

use super::child::{self, Process, RunResult, Task};
use super::daemon::ServedJob;
use super::operation::Operation;
use super::periodic_tasks::PeriodicTasks;
use super::running_operations::RunningOperations;
use super::timetable::{DueRun, Timetable};
use anyhow::{Context, Result};
use hubvault_config::Settings;
use hubvault_engine::catalog::{self, Catalog};
use hubvault_engine::delivery::nobody_notified;
use hubvault_engine::run::RunRequest;
use hubvault_engine::state::StateDir;
use hubvault_engine::state::service_lock::ServiceLock;
use hubvault_model::BackupId;
use jiff::Timestamp;
use rustix::process::WaitStatus;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The pause before another attempt if another run holds the lock, or if the directory cannot be used.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

/// A run that the service started.
struct Running {
    request: RunRequest,
    process: Process,
}

/// Schedules the runs of one job.
pub(super) struct JobScheduler {
    served: ServedJob,
    timetable: Timetable,
    tasks: PeriodicTasks,
    running: Option<Running>,
    operations: RunningOperations,
    /// A run that was requested and is not started yet.
    requested: Option<RunRequest>,
    /// Held as long as the service runs; `None` while the job's directory cannot be used.
    service_lock: Option<ServiceLock>,
    /// Whether a missed run was looked for.
    caught_up: bool,
    /// When the directory is tried again.
    next_start: Instant,
    /// The job was removed from the configuration; only its run is still in progress.
    removed: bool,
    /// Starts every log line if there are several jobs.
    prefix: String,
}

impl JobScheduler {
    /// Starts nothing yet.
    pub(super) fn new(served: ServedJob) -> Self {
        let now = Timestamp::now();
        let settings = served.settings();
        let scheduler = Self {
            service_lock: None,
            caught_up: false,
            next_start: Instant::now(),
            removed: false,
            timetable: timetable(&settings, now),
            tasks: PeriodicTasks::new(&settings, now),
            running: None,
            operations: RunningOperations::default(),
            requested: None,
            prefix: match &settings.job_name {
                Some(name) => format!("{name}: "),
                None => String::new(),
            },
            served,
        };
        if let Some(warning) = nobody_notified(settings.job()) {
            tracing::warn!("{}{warning}", scheduler.prefix);
        }
        scheduler.log_next_run();
        scheduler
    }

    /// Takes the service lock in the job's directory, and starts the run that was missed. A directory that cannot be
    /// used is tried again by [`tick`](Self::tick), as it may be mounted late.
    pub(super) fn start(&mut self, now: Timestamp) -> Result<()> {
        let settings = self.served.settings();
        if self.service_lock.is_none() {
            self.service_lock = Some(lock_directory(&settings, now)?);
        }
        if !self.caught_up {
            self.caught_up = self.catch_up(&settings, now)?;
        }
        Ok(())
    }

    /// The job.
    pub(super) fn served(&self) -> &ServedJob {
        &self.served
    }

    /// Starts every log line about the job.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The run in progress.
    pub(super) fn running(&self) -> Option<BackupId> {
        self.running.as_ref().map(|running| running.request.id)
    }

    /// Starts this run at the next tick.
    pub(super) fn request(&mut self, request: RunRequest) {
        self.requested = Some(request);
    }

    /// Starts what a person asked for.
    pub(super) fn start_operation(&mut self, operation: Operation) {
        self.operations.start(&self.served, operation, &self.prefix);
    }

    /// Asks one of these to end, for the person of this name.
    pub(super) fn stop_operation(&self, id: BackupId, by: &str) {
        self.operations.stop_one(&self.served, id, by, &self.prefix);
    }

    /// What people started and is at work, in words.
    pub(super) fn operations(&self) -> Vec<String> {
        self.operations.in_words()
    }

    /// Whether a run or an operation is at work.
    pub(super) fn is_busy(&self) -> bool {
        self.running.is_some() || !self.operations.is_empty()
    }

    /// Starts what is due or requested.
    pub(super) fn tick(&mut self, now: Timestamp) {
        if self.removed {
            return;
        }
        let is_started = self.service_lock.is_some() && self.caught_up;
        if !is_started && Instant::now() >= self.next_start {
            self.next_start = Instant::now() + RETRY_PAUSE;
            if let Err(error) = self.start(now) {
                let (prefix, pause) = (&self.prefix, RETRY_PAUSE.as_secs());
                tracing::error!("{prefix}{error:#}; trying again in {pause} s");
            }
        }
        if self.running.is_none() {
            if let Some(request) = self.requested.take() {
                self.start_run(request);
            } else if let Some(due) = self.timetable.due(now) {
                self.start_due(due);
            }
        }
        let settings = self.served.settings();
        for task in self.tasks.due(&settings, now) {
            match child::start(&settings, &task) {
                Ok(process) => self.tasks.started(task, process.id),
                Err(error) => {
                    tracing::error!("{}could not start {}: {error}", self.prefix, task.name());
                }
            }
        }
        self.served.set_next_run(self.timetable.next());
    }

    /// Starts the run that was missed. `false` where that is not known yet: in a new directory of a job with a lease the
    /// record first gets what other machines made.
    fn catch_up(&mut self, settings: &Settings, now: Timestamp) -> Result<bool> {
        if self.running.is_some() {
            return Ok(true);
        }
        let job = settings.job();
        let catalog = catalog::current_or_new(job)?;
        let mut newest = None;
        // The newest that was published; without one the oldest of all.
        catalog.each_summary(Some(&job.name), |summary| {
            newest = Some(summary.run.started_at);
            Ok(if summary.run.was_published() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        if newest.is_none() && job.lease.is_some() {
            return Ok(false);
        }
        let prefix = &self.prefix;
        match self.timetable.missed(newest, now) {
            Ok(None) => {}
            Ok(Some(due)) => {
                tracing::warn!(
                    "{prefix}missed the run due at {:.0}; starting it now",
                    due.at
                );
                self.start_due(due);
            }
            Err(at) => tracing::warn!(
                "{prefix}missed the run due at {at:.0}; skipped, as schedule.catch_up is \"none\""
            ),
        }
        Ok(true)
    }

    fn start_due(&mut self, due: DueRun) {
        self.start_run(RunRequest {
            due: Some(due.at),
            retry_after: self.timetable.retry_after(&due),
            failed_attempts: due.failed_attempts,
            ..RunRequest::by_hand()
        });
    }

    fn start_run(&mut self, request: RunRequest) {
        let (prefix, id) = (&self.prefix, request.id);
        match child::start(&self.served.settings(), &Task::Backup(request.clone())) {
            Ok(process) => {
                tracing::info!("{prefix}run {} started", id.short());
                self.served.set_running(Some(id));
                self.running = Some(Running { request, process });
            }
            Err(error) => {
                tracing::error!("{prefix}could not start run {}: {error}", id.short());
                self.served.set_running(None);
                if let Some(due) = due_of(request) {
                    self.timetable.retry(due, Timestamp::now(), RETRY_PAUSE);
                }
            }
        }
    }

    /// A process ended, which may have been one of the job's.
    pub(super) fn ended(&mut self, process: u32, status: WaitStatus) {
        self.operations
            .ended(&self.served, process, status, &self.prefix);
        if self.tasks.ended(process) == Some(Task::Copies) && !self.caught_up {
            // What other machines made is known by now.
            self.next_start = Instant::now();
        }
        let Some(Running { request, process }) = self.take_run(process) else {
            return;
        };
        self.served.set_running(None);
        let (prefix, id) = (&self.prefix, request.id);
        let result = process.result();
        tracing::info!("{prefix}run {} {}", id.short(), in_words(result, status));
        let pause = match result {
            Some(RunResult::Proven | RunResult::Warnings | RunResult::AlreadyDone) => None,
            Some(RunResult::Locked) => Some(RETRY_PAUSE),
            Some(RunResult::Failed) | None => request.retry_after,
        };
        if let (Some(pause), Some(mut due)) = (pause, due_of(request)) {
            if result != Some(RunResult::Locked) {
                due.failed_attempts.push(id);
            }
            let pause_s = pause.as_secs();
            tracing::warn!("{prefix}next attempt in {pause_s} s");
            self.timetable.retry(due, Timestamp::now(), pause);
        }
        if !self.removed {
            self.log_next_run();
        }
    }

    /// Follows the reloaded configuration.
    pub(super) fn reload(&mut self) {
        let (settings, now) = (self.served.settings(), Timestamp::now());
        let job = settings.job();
        self.timetable
            .set_schedule(&job.name, job.schedule.clone(), now);
        match lock_directory(&settings, now) {
            Ok(lock) => drop(self.service_lock.replace(lock)),
            Err(error) => tracing::error!("{}{error:#}", self.prefix),
        }
        self.tasks.reload(&settings, now);
        self.log_next_run();
    }

    /// The job was removed from the configuration; its run goes on to its end.
    pub(super) fn remove(&mut self) {
        if std::mem::replace(&mut self.removed, true) {
            return;
        }
        let prefix = &self.prefix;
        tracing::info!("{prefix}the job was removed from the configuration");
        if let Some(id) = self.running() {
            tracing::warn!(
                "{prefix}run {} is still in progress and goes on",
                id.short()
            );
        }
    }

    /// Whether the job was removed and nothing of it is running.
    pub(super) fn is_finished(&self) -> bool {
        self.removed && !self.is_busy()
    }

    /// Nobody misses the service any more.
    pub(super) fn end(&mut self) {
        let ended = self.service_lock.take().map_or(Ok(()), ServiceLock::end);
        if let Err(error) = ended {
            let prefix = &self.prefix;
            tracing::warn!("{prefix}could not empty the service lock: {error}");
        }
    }

    /// Asks the run in progress to end, and what people started.
    pub(super) fn stop_run(&self) {
        self.operations.stop();
        if let Some(running) = &self.running {
            child::stop(running.process.id);
        }
    }

    /// Takes the run if it was this process's.
    fn take_run(&mut self, process: u32) -> Option<Running> {
        self.running
            .take_if(|running| running.process.id == process)
    }

    /// Forgets the run if this process was its own: the service is stopping.
    pub(super) fn ended_while_stopping(&mut self, process: u32, status: WaitStatus) {
        self.operations
            .ended(&self.served, process, status, &self.prefix);
        self.take_run(process);
    }

    /// The outcome of a run that was asked to end: it may have been published before.
    pub(super) fn outcome_of_stopped(&self, id: BackupId) -> &'static str {
        let record = StateDir::open(self.served.settings().job().state_root())
            .ok()
            .and_then(|state| Catalog::open(&state).ok()?.find(&id.to_string()).ok()?);
        if record.is_some_and(|record| record.was_published()) {
            "was stopped while it sent notifications; its archive is published"
        } else {
            "was stopped; nothing was published"
        }
    }

    fn log_next_run(&self) {
        self.served.set_next_run(self.timetable.next());
        if let Some(next) = self.timetable.next() {
            let zone = self.served.settings().zone.clone();
            let local = next.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %Z");
            tracing::info!("{}next run at {local}", self.prefix);
        }
    }
}

/// The run of the schedule that a request is for.
fn due_of(request: RunRequest) -> Option<DueRun> {
    Some(DueRun {
        at: request.due?,
        failed_attempts: request.failed_attempts,
    })
}

fn lock_directory(settings: &Settings, now: Timestamp) -> Result<ServiceLock> {
    let state = StateDir::open(settings.job().state_root())?;
    ServiceLock::announce(&state, now)
        .with_context(|| format!("writing the service lock in {}", state.path().display()))
}

fn timetable(settings: &Settings, now: Timestamp) -> Timetable {
    let job = settings.job();
    Timetable::new(&job.name, job.schedule.clone(), now)
}

fn in_words(result: Option<RunResult>, status: WaitStatus) -> String {
    match (result, status.exit_status(), status.terminating_signal()) {
        (Some(RunResult::Proven), ..) => "ended: proven".to_owned(),
        (Some(RunResult::Warnings), ..) => "ended with warnings".to_owned(),
        (Some(RunResult::AlreadyDone), ..) => "ended: nothing to do".to_owned(),
        (Some(RunResult::Locked), ..) => "ended: another run holds the lock".to_owned(),
        (Some(RunResult::Failed), ..) => "failed".to_owned(),
        (None, Some(code), _) => format!("failed (exit code {code})"),
        (None, None, Some(signal)) => format!("crashed (signal {signal})"),
        (None, None, None) => "was lost".to_owned(),
    }
}
