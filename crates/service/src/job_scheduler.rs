//! Keeps the schedule of one job: starts what is due, hears what came of it.

use super::child;
use super::daemon::ServedJob;
use super::periodic_tasks::PeriodicTasks;
use super::timetable::{Due, Timetable};
use anyhow::{Context, Result};
use hubvault_config::Settings;
use hubvault_engine::catalog;
use hubvault_engine::catalog::Catalog;
use hubvault_engine::delivery::nobody_told;
use hubvault_engine::state::StateDir;
use hubvault_engine::state::service_lock::ServiceLock;
use hubvault_model::BackupId;
use jiff::Timestamp;
use rustix::process::WaitStatus;
use std::time::{Duration, Instant};

/// What is waited where another run is at work.
const BUSY: Duration = Duration::from_secs(30);
/// `EX_TEMPFAIL` of sysexits.h: another run is at work.
const EXIT_BUSY: i32 = 75;

/// A run that the service started.
struct Running {
    id: BackupId,
    process: u32,
    /// What of the schedule it is; `None` when somebody asked for it.
    due: Option<Due>,
}

/// The schedule of one job at work.
pub(super) struct JobScheduler {
    served: ServedJob,
    timetable: Timetable,
    chores: PeriodicTasks,
    running: Option<Running>,
    /// Somebody asked for it while another was at work.
    asked: Option<(BackupId, bool)>,
    /// Held for as long as the service is at work; `None` while its directory cannot be used.
    presence: Option<ServiceLock>,
    /// What was missed was looked for.
    caught_up: bool,
    /// When the directory is tried again.
    settle_at: Instant,
    /// The job is gone from the configuration, and only its run is still at work.
    leaving: bool,
    /// Stands before every line where there are several jobs.
    of: String,
}

impl JobScheduler {
    /// Begins nothing yet. A directory that cannot be used is tried again at every tick for a while, as it may be
    /// mounted late.
    pub(super) fn new(served: ServedJob) -> Result<Self> {
        let now = Timestamp::now();
        let settings = served.settings();
        let keeper = Self {
            presence: None,
            caught_up: false,
            settle_at: Instant::now(),
            leaving: false,
            timetable: timetable(&settings, now)?,
            chores: PeriodicTasks::new(&settings, now),
            running: None,
            asked: None,
            of: match &settings.job_name {
                Some(name) => format!("{name}: "),
                None => String::new(),
            },
            served,
        };
        if let Some(warning) = nobody_told(&settings.job()) {
            tracing::warn!("{}{warning}", keeper.of);
        }
        keeper.say_next();
        Ok(keeper)
    }

    /// Announces the service in the job's directory, and makes the run that was missed.
    pub(super) fn settle(&mut self, now: Timestamp) -> Result<()> {
        let settings = self.served.settings();
        if self.presence.is_none() {
            self.presence = Some(announce(&settings, now)?);
        }
        if !self.caught_up {
            self.catch_up(&settings, now)?;
            self.caught_up = true;
        }
        Ok(())
    }

    /// The job that it keeps.
    pub(super) fn served(&self) -> &ServedJob {
        &self.served
    }

    /// Stands before every line about it.
    pub(super) fn of(&self) -> &str {
        &self.of
    }

    /// The run that is at work.
    pub(super) fn at_work(&self) -> Option<BackupId> {
        self.running.as_ref().map(|running| running.id)
    }

    /// Somebody wants a run.
    pub(super) fn ask(&mut self, id: BackupId, told: bool) {
        self.asked = Some((id, told));
    }

    /// Starts what is due by now, and what was asked for.
    pub(super) fn tick(&mut self, now: Timestamp) {
        if self.leaving {
            return;
        }
        let unsettled = self.presence.is_none() || !self.caught_up;
        if unsettled && Instant::now() >= self.settle_at {
            self.settle_at = Instant::now() + BUSY;
            if let Err(error) = self.settle(now) {
                let (of, pause) = (&self.of, BUSY.as_secs());
                tracing::error!("{of}{error:#}; it is tried again in {pause} s");
            }
        }
        if self.running.is_none() {
            if let Some((id, told)) = self.asked.take() {
                self.start(id, None, told);
            } else if let Some(due) = self.timetable.due(now) {
                self.start(BackupId::random(), Some(due), true);
            }
        }
        let settings = self.served.settings();
        for chore in self.chores.due(&settings, now) {
            let arguments: Vec<String> = chore.iter().map(|&word| word.to_owned()).collect();
            match child::start(&settings, &arguments) {
                Ok(process) => self.chores.started(chore, process),
                Err(error) => {
                    let of = &self.of;
                    tracing::error!("{of}starting hubvault {}: {error}", chore.join(" "));
                }
            }
        }
        self.served.set_next_run(self.timetable.next());
    }

    fn catch_up(&mut self, settings: &Settings, now: Timestamp) -> Result<()> {
        let job = settings.job();
        let catalog = catalog::current(&job.directory)?;
        let records = catalog.list()?;
        let of_job = || records.iter().filter(|record| record.job == job.name);
        let newest = of_job()
            .find(|record| record.file.is_some())
            .or_else(|| of_job().next_back())
            .map(|record| record.started_at);
        match self.timetable.missed(newest, now) {
            Ok(None) => {}
            Ok(Some(due)) => {
                tracing::warn!(
                    "{}the run of {:.0} was missed; it is made now",
                    self.of,
                    due.at
                );
                self.start(BackupId::random(), Some(due), true);
            }
            Err(at) => tracing::warn!(
                "{}the run of {at:.0} was missed, and schedule.catch_up = \"none\" leaves it out",
                self.of
            ),
        }
        Ok(())
    }

    fn start(&mut self, id: BackupId, due: Option<Due>, told: bool) {
        let mut arguments = vec!["backup".to_owned(), format!("--run-id={id}")];
        if let Some(due) = &due {
            arguments.push(format!("--due={}", due.at));
            let tries = due.failed.iter().map(|id| format!("--earlier-try={id}"));
            arguments.extend(tries);
            if let Some(pause) = self.timetable.pause_after_next_try(due) {
                arguments.push(format!("--tried-again-in={}", pause.as_secs()));
            }
        }
        if !told {
            arguments.push("--untold".to_owned());
        }
        match child::start(&self.served.settings(), &arguments) {
            Ok(process) => {
                tracing::info!("{}run {} begins", self.of, id.short());
                self.served.set_at_work(Some(id));
                self.running = Some(Running { id, process, due });
            }
            Err(error) => {
                tracing::error!("{}starting run {}: {error}", self.of, id.short());
                self.served.set_at_work(None);
                if let Some(due) = due {
                    self.timetable.again(due, Timestamp::now(), BUSY);
                }
            }
        }
    }

    /// A process ended, which may have been one of its.
    pub(super) fn ended(&mut self, process: u32, status: WaitStatus) {
        self.chores.ended(process);
        let Some(running) = self.running.take_if(|running| running.process == process) else {
            return;
        };
        self.served.set_at_work(None);
        let now = Timestamp::now();
        match (status.exit_status(), running.due) {
            (Some(0 | 3), _) | (_, None) => {}
            (Some(EXIT_BUSY), Some(due)) => self.timetable.again(due, now, BUSY),
            (_, Some(mut due)) => {
                if let Some(pause) = self.timetable.pause_after_next_try(&due) {
                    let (try_number, pause_s) = (due.failed.len() + 1, pause.as_secs());
                    let of = &self.of;
                    tracing::warn!("{of}try {try_number} failed; the next is in {pause_s} s");
                    due.failed.push(running.id);
                    self.timetable.again(due, now, pause);
                }
            }
        }
        let (id, outcome) = (running.id.short(), in_words(status));
        tracing::info!("{}run {id} ended: {outcome}", self.of);
        if !self.leaving {
            self.say_next();
        }
    }

    /// Goes by the configuration that was read anew.
    pub(super) fn reload(&mut self) {
        let (settings, now) = (self.served.settings(), Timestamp::now());
        let job = settings.job();
        // It was read without a mistake, so that there is a schedule.
        if let Some(schedule) = job.schedule.clone() {
            self.timetable.go_by(&job.name, schedule, now);
        }
        match announce(&settings, now) {
            Ok(presence) => drop(self.presence.replace(presence)),
            Err(error) => tracing::error!("{}{error:#}", self.of),
        }
        self.chores.reload(&settings, now);
        self.say_next();
    }

    /// The job is gone; its run goes on to its end.
    pub(super) fn leave(&mut self) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        if let Some(id) = self.at_work() {
            tracing::warn!("{}run {} goes on to its end", self.of, id.short());
        }
        tracing::info!("{}the job is gone from the configuration", self.of);
    }

    /// Whether nothing more is to be done for it.
    pub(super) fn is_gone(&self) -> bool {
        self.leaving && self.running.is_none()
    }

    /// Asks the run at work to end.
    pub(super) fn ask_to_end(&self) {
        if let Some(running) = &self.running {
            child::stop(running.process);
        }
    }

    /// Forgets the run when this process was its own.
    pub(super) fn was_its(&mut self, process: u32) {
        self.running.take_if(|running| running.process == process);
    }

    /// Of a run that was asked to end: it may have been published before that.
    pub(super) fn became_of(&self, id: BackupId) -> &'static str {
        let record = StateDir::open(&self.served.settings().job().directory)
            .ok()
            .and_then(|state| Catalog::open(&state).ok()?.find(&id.to_string()).ok()?);
        if record.is_some_and(|record| record.file.is_some()) {
            "was stopped while it told people; its archive is published"
        } else {
            "was abandoned, nothing of it stays"
        }
    }

    fn say_next(&self) {
        self.served.set_next_run(self.timetable.next());
        if let Some(next) = self.timetable.next() {
            let zone = self.served.settings().zone.clone();
            let local = next.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %Z");
            tracing::info!("{}the next run is at {local}", self.of);
        }
    }
}

fn announce(settings: &Settings, now: Timestamp) -> Result<ServiceLock> {
    let state = StateDir::open(&settings.job().directory)?;
    ServiceLock::announce(&state, now)
        .with_context(|| format!("announcing the service in {}", state.path().display()))
}

fn timetable(settings: &Settings, now: Timestamp) -> Result<Timetable> {
    let job = settings.job();
    let schedule = job.schedule.context("there is no schedule")?;
    Ok(Timetable::new(&job.name, schedule, now))
}

fn in_words(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => "as asked".to_owned(),
        (Some(3), _) => "with warnings".to_owned(),
        (Some(EXIT_BUSY), _) => "another run is at work".to_owned(),
        (Some(code), _) => format!("failed (exit code {code})"),
        (None, Some(signal)) => format!("its process died of signal {signal}"),
        (None, None) => "its process is lost".to_owned(),
    }
}
