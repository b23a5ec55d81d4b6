//! The state of the service: its jobs, each with the configuration in effect, the run in progress and the next run.

use super::operation::{Operation, Operations, Standing};
use anyhow::Result as AnyResult;
use hubvault_config::{Changes, ConfigError, Inputs, Problem, Settings};
use hubvault_engine::run::RunRequest;
use hubvault_engine::state::RunLock;
use hubvault_engine::state::StateDir;
use hubvault_engine::state::progress_file::{RunProgress, running};
use hubvault_model::BackupId;
use jiff::Timestamp;
use signal_hook::consts::SIGHUP;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Something that the scheduler acts upon.
pub(super) enum Event {
    /// A signal arrived.
    Signal(i32),
    /// A run of a job is requested now.
    RunRequested { job: ServedJob, request: RunRequest },
    /// A person asks for an operation.
    OperationRequested {
        job: ServedJob,
        operation: Operation,
    },
    /// A person wants an operation stopped.
    StopRequested {
        job: ServedJob,
        operation: BackupId,
        by: String,
    },
}

/// The state of the service. Cheap to clone; every method may be called from any thread.
#[derive(Clone)]
pub(crate) struct Daemon {
    shared: Arc<Shared>,
}

struct Shared {
    inputs: Inputs,
    started_at: Timestamp,
    events: Sender<Event>,
    /// In the order of the configuration; at least one.
    jobs: Mutex<Vec<ServedJob>>,
}

/// One job of the service. Cheap to clone; every method may be called from any thread.
#[derive(Clone)]
pub(crate) struct ServedJob {
    events: Sender<Event>,
    shared: Arc<SharedJob>,
}

struct SharedJob {
    settings: Mutex<Arc<Settings>>,
    next_run: Mutex<Option<Timestamp>>,
    /// The run that the service started, or is about to start.
    running: Mutex<Option<BackupId>>,
    /// The operations that the service started, or is about to start.
    operations: Mutex<Vec<Operation>>,
}

/// A run is in progress already.
#[derive(Debug)]
pub(crate) struct Busy {
    /// How far it is, if known.
    pub(crate) progress: Option<RunProgress>,
}

impl Daemon {
    /// For the jobs of `inputs`, at least one.
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

    /// The jobs, in the order of the configuration.
    pub(crate) fn jobs(&self) -> Vec<ServedJob> {
        lock(&self.shared.jobs).clone()
    }

    /// How long a run may go on when the service is stopped.
    pub(super) fn stop_grace(&self) -> Duration {
        let first = self.jobs().into_iter().next();
        first.map_or(Duration::ZERO, |job| job.settings().service.stop_grace)
    }

    /// When the service began.
    pub(crate) fn started_at(&self) -> Timestamp {
        self.shared.started_at
    }

    /// Reads the configuration again. An invalid one is refused, and the previous one stays in effect. Jobs are matched
    /// by their names.
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

    /// A job's configuration with these changes; nothing is changed.
    pub(crate) fn try_with(
        &self,
        job: &ServedJob,
        changes: &Changes,
    ) -> Result<Settings, ConfigError> {
        // All jobs are read: with a mistake in another one, no reload would succeed.
        let name = job.settings().job_name.clone();
        let all = Settings::load_all_with(&self.shared.inputs, name.as_deref(), Some(changes))?;
        let found = all.into_iter().find(|settings| settings.job_name == name);
        found.ok_or_else(|| ConfigError {
            problems: vec![Problem::new(
                "job",
                "",
                "it was removed from the configuration",
            )],
        })
    }

    /// Makes the scheduler reload the configuration and follow its schedule.
    pub(super) fn reload_scheduler(&self) {
        // The scheduler lives as long as the service.
        let _ = self.shared.events.send(Event::Signal(SIGHUP));
    }
}

impl ServedJob {
    fn new(settings: Settings, events: Sender<Event>) -> Self {
        let shared = SharedJob {
            settings: Mutex::new(Arc::new(settings)),
            next_run: Mutex::default(),
            running: Mutex::default(),
            operations: Mutex::default(),
        };
        Self {
            events,
            shared: Arc::new(shared),
        }
    }

    /// Whether it is the same job.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Its name.
    pub(crate) fn name(&self) -> String {
        self.settings().job().name.clone()
    }

    /// The configuration in effect.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.shared.settings))
    }

    /// Its state directory. Nothing is created.
    pub(crate) fn state(&self) -> StateDir {
        StateDir::of(self.settings().job().state_root())
    }

    /// When its next run begins.
    pub(crate) fn next_run(&self) -> Option<Timestamp> {
        *lock(&self.shared.next_run)
    }

    /// Starts a run now and returns its id; if one is in progress already, returns how far it is.
    pub(crate) fn trigger(&self, notify: bool) -> Result<BackupId, Box<Busy>> {
        let state = self.state();
        let mut in_progress = lock(&self.shared.running);
        if in_progress.is_some() || RunLock::is_held(&state) {
            let progress = running(&state);
            return Err(Box::new(Busy { progress }));
        }
        let request = RunRequest {
            notify,
            ..RunRequest::by_hand()
        };
        let id = request.id;
        *in_progress = Some(id);
        let job = self.clone();
        // The scheduler lives as long as the service.
        let _ = self.events.send(Event::RunRequested { job, request });
        Ok(id)
    }

    /// Whether this run was requested, and is about to start or at work.
    pub(crate) fn is_starting(&self, id: BackupId) -> bool {
        *lock(&self.shared.running) == Some(id)
    }

    /// Its operations.
    pub(crate) fn operations(&self) -> Operations {
        Operations::of(self.state())
    }

    /// Starts an operation; returns the one of its kind that is at work already, if there is one.
    pub(crate) fn start_operation(&self, operation: Operation) -> AnyResult<Option<Operation>> {
        let (all, kind) = (self.operations(), operation.action.kind());
        let mut started = lock(&self.shared.operations);
        let of_kind = |one: &&Operation| one.action.kind() == kind;
        let other = started.iter().find(of_kind).cloned();
        if let Some(other) = other.or_else(|| all.at_work(kind)) {
            return Ok(Some(other));
        }
        all.record(&operation)?;
        started.push(operation.clone());
        let job = self.clone();
        // The scheduler lives as long as the service.
        let _ = self
            .events
            .send(Event::OperationRequested { job, operation });
        Ok(None)
    }

    /// Asks an operation to end, for the person of this name; whether it is at work.
    pub(crate) fn stop_operation(&self, operation: BackupId, by: &str) -> bool {
        let is_started = (lock(&self.shared.operations).iter()).any(|one| one.id == operation);
        if !is_started {
            return false;
        }
        let (job, by) = (self.clone(), by.to_owned());
        let event = Event::StopRequested { job, operation, by };
        // The scheduler lives as long as the service.
        let _ = self.events.send(event);
        true
    }

    /// Where an operation is.
    pub(crate) fn standing(&self, operation: &Operation) -> Standing {
        let is_started = (lock(&self.shared.operations).iter()).any(|one| one.id == operation.id);
        self.operations().standing(operation, is_started)
    }

    /// The process of an operation ended, or could not be started.
    pub(super) fn operation_ended(&self, id: BackupId) {
        lock(&self.shared.operations).retain(|one| one.id != id);
    }

    pub(super) fn set_next_run(&self, at: Option<Timestamp>) {
        *lock(&self.shared.next_run) = at;
    }

    pub(super) fn set_running(&self, id: Option<BackupId>) {
        *lock(&self.shared.running) = id;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
