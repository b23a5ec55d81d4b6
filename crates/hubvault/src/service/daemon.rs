//! What the parts of the service share: the configuration that holds, what is at work, what is next.

use crate::config::{Changes, ConfigError, Environment, Settings};
use crate::progress::file::{RunProgress, running};
use hubvault_engine::backup::RunLock;
use hubvault_model::BackupId;
use jiff::Timestamp;
use signal_hook::consts::SIGHUP;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that the keeper acts upon.
#[derive(Debug)]
pub(super) enum Event {
    /// A signal came.
    Signal(i32),
    /// Somebody asks for a run now.
    Asked { id: BackupId, told: bool },
}

/// The service, as its parts see it. Cheap to clone; every method may be called from any thread.
#[derive(Clone)]
pub(crate) struct Daemon {
    shared: Arc<Shared>,
}

struct Shared {
    environment: Environment,
    config: Option<PathBuf>,
    started_at: Timestamp,
    events: Sender<Event>,
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
    pub(super) fn new(
        environment: Environment,
        config: Option<&Path>,
        settings: Settings,
        events: Sender<Event>,
    ) -> Self {
        let shared = Shared {
            environment,
            config: config.map(Path::to_owned),
            started_at: Timestamp::now(),
            events,
            settings: Mutex::new(Arc::new(settings)),
            next_run: Mutex::default(),
            at_work: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The configuration that holds now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.shared.settings))
    }

    /// When the service began.
    pub(crate) fn started_at(&self) -> Timestamp {
        self.shared.started_at
    }

    /// When the next run begins.
    pub(crate) fn next_run(&self) -> Option<Timestamp> {
        *lock(&self.shared.next_run)
    }

    /// Starts a run now and returns its id; where one is at work already, says how far that is. With
    /// `told` false nobody is told what comes of it.
    pub(crate) fn trigger(&self, told: bool) -> Result<BackupId, Box<Busy>> {
        let state = self.settings().job().directory.join(".hubvault");
        let mut at_work = lock(&self.shared.at_work);
        if at_work.is_some() || RunLock::is_held(&state) {
            let progress = running(&state);
            return Err(Box::new(Busy { progress }));
        }
        let id = BackupId::random();
        *at_work = Some(id);
        // The keeper lives as long as the service.
        let _ = self.shared.events.send(Event::Asked { id, told });
        Ok(id)
    }

    /// Reads the configuration again. A wrong one is refused: the one before still holds.
    pub(crate) fn reload(&self) -> Result<(), ConfigError> {
        let settings = Settings::load(&self.shared.environment, self.shared.config.as_deref())?;
        *lock(&self.shared.settings) = Arc::new(settings);
        Ok(())
    }

    /// Whether the configuration would be right with these changes; nothing changes.
    pub(crate) fn try_with(&self, changes: &Changes) -> Result<(), ConfigError> {
        let (environment, config) = (&self.shared.environment, self.shared.config.as_deref());
        Settings::load_with(environment, config, Some(changes)).map(|_| ())
    }

    /// The keeper reads the configuration again, too, and goes by its schedule.
    pub(super) fn keeper_reloads(&self) {
        // The keeper lives as long as the service.
        let _ = self.shared.events.send(Event::Signal(SIGHUP));
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
