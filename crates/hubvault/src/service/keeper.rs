//! Keeps the schedule: starts what is due, hears what came of it, heeds signals.

use super::chores::Chores;
use super::daemon::{Daemon, Event};
use super::timetable::{Due, Timetable};
use super::{child, reaper};
use crate::config::Settings;
use anyhow::{Context, Result};
use hubvault_engine::backup::{current_catalog, state_directory};
use hubvault_engine::catalog::Catalog;
use hubvault_engine::deliver::nobody_told;
use hubvault_engine::presence::Presence;
use hubvault_model::BackupId;
use jiff::Timestamp;
use rustix::process::WaitStatus;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// The wall clock is looked at this often, as it may be set or the machine may sleep.
const TICK: Duration = Duration::from_secs(1);
/// What is waited where another run is at work.
const BUSY: Duration = Duration::from_secs(30);
/// What a child may take to end once it was asked to.
const ENDING: Duration = Duration::from_secs(5);
/// `EX_TEMPFAIL` of sysexits.h: another run is at work.
const EXIT_BUSY: i32 = 75;

/// A run that the service started.
struct Running {
    id: BackupId,
    process: u32,
    /// What of the schedule it is; `None` when somebody asked for it.
    due: Option<Due>,
}

/// The schedule at work.
pub(super) struct Keeper {
    daemon: Daemon,
    timetable: Timetable,
    chores: Chores,
    running: Option<Running>,
    /// Somebody asked for it while another was at work.
    asked: Option<(BackupId, bool)>,
    /// Held for as long as the service is at work.
    presence: Option<Presence>,
}

impl Keeper {
    /// Begins with what was missed.
    pub(super) fn new(daemon: Daemon) -> Result<Self> {
        let now = Timestamp::now();
        let settings = daemon.settings();
        let presence = announce(&settings, now)?;
        let mut keeper = Self {
            presence: Some(presence),
            timetable: timetable(&settings, now)?,
            chores: Chores::new(&settings, now),
            running: None,
            asked: None,
            daemon,
        };
        if let Some(warning) = nobody_told(&settings.job()) {
            tracing::warn!("{warning}");
        }
        keeper.catch_up(&settings, now)?;
        keeper.say_next();
        Ok(keeper)
    }

    /// Until a signal ends it.
    pub(super) fn keep(mut self, heard: &Receiver<Event>) {
        loop {
            match heard.recv_timeout(TICK) {
                Ok(Event::Signal(SIGHUP)) => self.reload(),
                Ok(Event::Signal(SIGINT | SIGTERM)) => return self.stop(heard),
                Ok(Event::Asked { id, told }) => self.asked = Some((id, told)),
                // SIGCHLD, or nothing at all: a reason to look.
                Ok(Event::Signal(_)) | Err(_) => {}
            }
            self.tick(Timestamp::now());
        }
    }

    fn tick(&mut self, now: Timestamp) {
        for (process, status) in reaper::collect() {
            self.ended(process, status);
        }
        if self.running.is_none() {
            if let Some((id, told)) = self.asked.take() {
                self.start(id, None, told);
            } else if let Some(due) = self.timetable.due(now) {
                self.start(BackupId::random(), Some(due), true);
            }
        }
        let settings = self.daemon.settings();
        for chore in self.chores.due(&settings, now) {
            let arguments: Vec<String> = chore.iter().map(|&word| word.to_owned()).collect();
            match child::start(&self.daemon, &arguments) {
                Ok(process) => self.chores.started(chore, process),
                Err(error) => tracing::error!("starting hubvault {}: {error}", chore.join(" ")),
            }
        }
        self.daemon.set_next_run(self.timetable.next());
    }

    fn catch_up(&mut self, settings: &Settings, now: Timestamp) -> Result<()> {
        let job = settings.job();
        let catalog = current_catalog(&job.directory)?;
        let records = catalog.list()?;
        let of_job = || records.iter().filter(|record| record.job == job.name);
        let newest = of_job()
            .find(|record| record.file.is_some())
            .or_else(|| of_job().next_back())
            .map(|record| record.started_at);
        match self.timetable.missed(newest, now) {
            Ok(None) => {}
            Ok(Some(due)) => {
                tracing::warn!("the run of {:.0} was missed; it is made now", due.at);
                self.start(BackupId::random(), Some(due), true);
            }
            Err(at) => tracing::warn!(
                "the run of {at:.0} was missed, and schedule.catch_up = \"none\" leaves it out"
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
        match child::start(&self.daemon, &arguments) {
            Ok(process) => {
                tracing::info!("run {} begins", id.short());
                self.daemon.set_at_work(Some(id));
                self.running = Some(Running { id, process, due });
            }
            Err(error) => {
                tracing::error!("starting run {}: {error}", id.short());
                self.daemon.set_at_work(None);
                if let Some(due) = due {
                    self.timetable.again(due, Timestamp::now(), BUSY);
                }
            }
        }
    }

    fn ended(&mut self, process: u32, status: WaitStatus) {
        self.chores.ended(process);
        let Some(running) = self.running.take_if(|running| running.process == process) else {
            return;
        };
        self.daemon.set_at_work(None);
        let now = Timestamp::now();
        match (status.exit_status(), running.due) {
            (Some(0 | 3), _) | (_, None) => {}
            (Some(EXIT_BUSY), Some(due)) => self.timetable.again(due, now, BUSY),
            (_, Some(mut due)) => {
                if let Some(pause) = self.timetable.pause_after_next_try(&due) {
                    let (try_number, pause_s) = (due.failed.len() + 1, pause.as_secs());
                    tracing::warn!("try {try_number} failed; the next is in {pause_s} s");
                    due.failed.push(running.id);
                    self.timetable.again(due, now, pause);
                }
            }
        }
        tracing::info!("run {} ended: {}", running.id.short(), in_words(status));
        self.say_next();
    }

    fn reload(&mut self) {
        match self.daemon.reload() {
            Ok(()) => {
                let (settings, now) = (self.daemon.settings(), Timestamp::now());
                let job = settings.job();
                // It was read without a mistake, so that there is a schedule.
                if let Some(schedule) = job.schedule.clone() {
                    self.timetable.go_by(&job.name, schedule, now);
                }
                match announce(&settings, now) {
                    Ok(presence) => drop(self.presence.replace(presence)),
                    Err(error) => tracing::error!("{error:#}"),
                }
                self.chores.reload(&settings, now);
                tracing::info!("the configuration was read again and holds from now on");
                self.say_next();
            }
            Err(error) => tracing::error!("{error}; the configuration before it still holds"),
        }
    }

    /// A run gets the grace period to end by itself, then it is asked to.
    fn stop(mut self, heard: &Receiver<Event>) {
        let Some(id) = self.running.as_ref().map(|running| running.id) else {
            tracing::info!("stopped");
            return;
        };
        let grace = self.daemon.settings().stop_grace();
        tracing::info!(
            "stopping: run {} has {} s to end",
            id.short(),
            grace.as_secs()
        );
        if self.waits_for_the_run(heard, grace) {
            tracing::info!("stopped: run {} had ended", id.short());
            return;
        }
        if let Some(running) = &self.running {
            child::stop(running.process);
        }
        if self.waits_for_the_run(heard, ENDING) {
            tracing::warn!("stopped: run {} {}", id.short(), self.became_of(id));
        } else {
            tracing::error!(
                "stopped: run {} does not end; the next run sweeps it",
                id.short()
            );
        }
    }

    /// Of a run that was asked to end: it may have been published before that.
    fn became_of(&self, id: BackupId) -> &'static str {
        let record = state_directory(&self.daemon.settings().job().directory)
            .ok()
            .and_then(|state| Catalog::open(&state).ok()?.find(&id.to_string()).ok()?);
        if record.is_some_and(|record| record.file.is_some()) {
            "was stopped while it told people; its archive is published"
        } else {
            "was abandoned, nothing of it stays"
        }
    }

    fn waits_for_the_run(&mut self, heard: &Receiver<Event>, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.running.is_some() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // Whatever comes, SIGCHLD most of all, is a reason to look.
            let _ = heard.recv_timeout(left);
            for (process, _) in reaper::collect() {
                self.running.take_if(|running| running.process == process);
            }
        }
        true
    }

    fn say_next(&self) {
        self.daemon.set_next_run(self.timetable.next());
        if let Some(next) = self.timetable.next() {
            let zone = self.daemon.settings().zone.clone();
            let local = next.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %Z");
            tracing::info!("the next run is at {local}");
        }
    }
}

fn announce(settings: &Settings, now: Timestamp) -> Result<Presence> {
    let state = state_directory(&settings.job().directory)?;
    Presence::announce(&state, now)
        .with_context(|| format!("announcing the service in {}", state.display()))
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
