//! One run: its id, start time, stop request and progress. Passed to every stage.

mod request;
mod error;
pub(crate) mod command;

pub use error::BackupError;
pub use request::RunRequest;

use crate::progress::{Progress, Stopwatch};
use hubvault_model::{BackupId, Cancel, CancelGuard};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// One run: what was asked, when it began, how it is stopped, who watches.
pub struct Run {
    /// The backup's id.
    pub id: BackupId,
    /// What was asked.
    pub request: RunRequest,
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
    unfinished: Mutex<Option<PathBuf>>,
    /// The free space that its plan asks for, in bytes.
    needed: OnceLock<u64>,
}

impl Run {
    /// A run that begins now.
    pub fn new(
        request: RunRequest,
        zone: TimeZone,
        cancel: Cancel,
        progress: Arc<dyn Progress>,
    ) -> Self {
        let work = Cancel::new();
        let follower = work.clone();
        Self {
            id: request.id,
            request,
            started_at: Timestamp::now(),
            zone,
            _follows: cancel.on_request(move || follower.request()),
            cancel,
            work,
            give_up: |_| (),
            progress: Arc::new(Stopwatch::new(progress)),
            log: Vec::new,
            unfinished: Mutex::new(None),
            needed: OnceLock::new(),
        }
    }

    /// Whether this is the last attempt, after whose failure the recipients are notified.
    pub(crate) fn is_last_attempt(&self) -> bool {
        self.request.retry_after.is_none()
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

    /// The plan asks for so much free space.
    pub(crate) fn needs(&self, bytes: u64) {
        self.needed.get_or_init(|| bytes);
    }

    pub(crate) fn needed_bytes(&self) -> Option<u64> {
        self.needed.get().copied()
    }

    pub(crate) fn writes_to(&self, path: Option<PathBuf>) {
        *self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = path;
    }
}
