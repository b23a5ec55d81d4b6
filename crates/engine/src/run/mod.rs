//! One run: its id, its moment, how it is stopped, who watches. Handed down to every stage.

mod error;
pub(crate) mod command;

pub use error::BackupError;

use crate::progress::{Progress, Stopwatch};
use hubvault_model::{BackupId, Cancel, CancelGuard};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One run: who asks, when, and who watches.
pub struct Run {
    /// The backup's id.
    pub id: BackupId,
    /// When it began.
    pub started_at: Timestamp,
    /// The zone of the moment in the archive's name.
    pub zone: TimeZone,
    /// How it is stopped.
    pub cancel: Cancel,
    /// How its work is stopped, up to the archive's name: with the run, or when it takes too long.
    pub(crate) work: Cancel,
    _follows: CancelGuard,
    /// Ends the process of a run that took too long and cannot be stopped otherwise.
    pub give_up: fn(&BackupError),
    /// Who hears of its progress.
    pub progress: Arc<Stopwatch>,
    /// The last lines of its log, for the mail that says that it failed.
    pub log: fn() -> Vec<String>,
    /// The moment for which a schedule asks for it; a run that began since stands for it.
    pub due: Option<Timestamp>,
    /// Failed tries of the same run, of which nobody was told.
    pub earlier_tries: Vec<BackupId>,
    /// After what it is tried again where it fails; then nobody is told of this failure.
    pub tried_again_in: Option<Duration>,
    unfinished: Mutex<Option<PathBuf>>,
}

impl Run {
    /// A new run that begins now.
    pub fn new(zone: TimeZone, cancel: Cancel, progress: Arc<dyn Progress>) -> Self {
        let work = Cancel::new();
        let follower = work.clone();
        Self {
            id: BackupId::random(),
            started_at: Timestamp::now(),
            zone,
            _follows: cancel.on_request(move || follower.request()),
            cancel,
            work,
            give_up: |_| (),
            progress: Arc::new(Stopwatch::new(progress)),
            log: Vec::new,
            due: None,
            earlier_tries: Vec::new(),
            tried_again_in: None,
            unfinished: Mutex::new(None),
        }
    }

    pub(crate) fn remove_unfinished(&self) {
        let path = self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(path) = path {
            // The process ends now; what stays is swept by the next run.
            let _ = fs::remove_file(path);
        }
    }

    pub(crate) fn is_too_long(&self) -> bool {
        self.work.is_requested() && !self.cancel.is_requested()
    }

    pub(crate) fn writes_to(&self, path: Option<PathBuf>) {
        *self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = path;
    }
}
