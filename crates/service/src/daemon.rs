//! What the parts of the service share: its jobs, each with the configuration that holds, what is at work and
//! what is next.

use hubvault_config::{Changes, ConfigError, Inputs, Problem, Settings};
use hubvault_engine::state::RunLock;
use hubvault_engine::state::StateDir;
use hubvault_engine::state::progress_file::{RunProgress, running};
use hubvault_model::BackupId;
use jiff::Timestamp;
use signal_hook::consts::SIGHUP;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Something that the keeper acts upon.
pub(super) enum Event {
    /// A signal came.
    Signal(i32),
    /// Somebody asks for a run of a job now.
    Asked {
        job: ServedJob,
        id: BackupId,
        told: bool,
    },
}

/// The service, as its parts see it. Cheap to clone; every method may be called from any thread.
#[derive(Clone)]
pub(crate) struct Daemon {
    shared: Arc<Shared>,
}

struct Shared {
    inputs: Inputs,
    started_at: Timestamp,
    events: Sender<Event>,
    /// As the configuration lists them; never none.
    jobs: Mutex<Vec<ServedJob>>,
}

/// One job of the service. Cheap to clone; every method may be called from any thread.
#[derive(Clone)]
pub(crate) struct ServedJob {
    events: Sender<Event>,
    shared: Arc<OfJob>,
}

struct OfJob {
    settings: Mutex<Arc<Settings>>,
    next_run: Mutex<Option<Timestamp>>,
    /// The run that the service started, or is about to start.
    at_work: Mutex<Option<BackupId>>,
}

/// A run is at work already.
#[derive(Debug)]
pub(crate) struct Busy {
    /// How far it got, where it said so.
    pub(crate) progress: Option<RunProgress>,
}

impl Daemon {
    /// Of the jobs that the inputs name, at least one.
    pub(super) fn new(inputs: Inputs, jobs: Vec<Settings>, events: Sender<Event>) -> Self {
        let jobs = jobs
            .into_iter()
            .map(|settings| ServedJob::new(settings, events.clone()))
            .collect();
        let shared = Shared {
            inputs,
            started_at: Timestamp::now(),
            events,
            jobs: Mutex::new(jobs),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The jobs, as the configuration lists them.
    pub(crate) fn jobs(&self) -> Vec<ServedJob> {
        lock(&self.shared.jobs).clone()
    }

    /// What a run at work is given to end by itself when the service is stopped.
    pub(super) fn stop_grace(&self) -> Duration {
        let first = self.jobs().into_iter().next();
        first.map_or(Duration::ZERO, |job| job.settings().stop_grace())
    }

    /// When the service began.
    pub(crate) fn started_at(&self) -> Timestamp {
        self.shared.started_at
    }

    /// Reads the configuration again. A wrong one is refused: the one before still holds. A job is told by its
    /// name from one that came or went.
    pub(crate) fn reload(&self) -> Result<(), ConfigError> {
        let all = Settings::load_all(&self.shared.inputs)?;
        let mut jobs = lock(&self.shared.jobs);
        let next = all
            .into_iter()
            .map(|settings| {
                let known = jobs
                    .iter()
                    .find(|job| job.settings().job_name == settings.job_name);
                let Some(known) = known.cloned() else {
                    return ServedJob::new(settings, self.shared.events.clone());
                };
                *lock(&known.shared.settings) = Arc::new(settings);
                known
            })
            .collect();
        *jobs = next;
        Ok(())
    }

    /// What a job's configuration would be with these changes; nothing changes.
    pub(crate) fn try_with(
        &self,
        job: &ServedJob,
        changes: &Changes,
    ) -> Result<Settings, ConfigError> {
        // Where another is wrong meanwhile, nothing could be read again.
        let of = job.settings().job_name.clone();
        let all = Settings::load_all_with(&self.shared.inputs, of.as_deref(), Some(changes))?;
        let found = all.into_iter().find(|settings| settings.job_name == of);
        found.ok_or_else(|| ConfigError {
            problems: vec![Problem::new("job", "", "it is gone from the configuration")],
        })
    }

    /// The keeper reads the configuration again, too, and goes by its schedule.
    pub(super) fn keeper_reloads(&self) {
        // The keeper lives as long as the service.
        let _ = self.shared.events.send(Event::Signal(SIGHUP));
    }
}

impl ServedJob {
    fn new(settings: Settings, events: Sender<Event>) -> Self {
        let shared = OfJob {
            settings: Mutex::new(Arc::new(settings)),
            next_run: Mutex::default(),
            at_work: Mutex::default(),
        };
        Self {
            events,
            shared: Arc::new(shared),
        }
    }

    /// Whether it is the very same one.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Its name.
    pub(crate) fn name(&self) -> String {
        self.settings().job().name
    }

    /// The configuration that holds now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.shared.settings))
    }

    /// Where its catalog lies. Nothing is made.
    pub(crate) fn state(&self) -> StateDir {
        StateDir::of(&self.settings().job().directory)
    }

    /// When its next run begins.
    pub(crate) fn next_run(&self) -> Option<Timestamp> {
        *lock(&self.shared.next_run)
    }

    /// Starts a run now and returns its id; where one is at work already, says how far that is. With
    /// `told` false nobody is told what comes of it.
    pub(crate) fn trigger(&self, told: bool) -> Result<BackupId, Box<Busy>> {
        let state = self.state();
        let mut at_work = lock(&self.shared.at_work);
        if at_work.is_some() || RunLock::is_held(&state) {
            let progress = running(&state);
            return Err(Box::new(Busy { progress }));
        }
        let id = BackupId::random();
        *at_work = Some(id);
        let job = self.clone();
        // The keeper lives as long as the service.
        let _ = self.events.send(Event::Asked { job, id, told });
        Ok(id)
    }

    pub(super) fn set_next_run(&self, at: Option<Timestamp>) {
        *lock(&self.shared.next_run) = at;
    }

    pub(super) fn set_at_work(&self, id: Option<BackupId>) {
        *lock(&self.shared.at_work) = id;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
