//! What a run at work says of itself to other processes: a small file in the state directory.

use hubvault_engine::backup::RunLock;
use hubvault_engine::progress::{Progress, Stage};
use hubvault_engine::state_file::{self, Durability};
use hubvault_model::{BackupId, TableName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// More than any progress is, in bytes.
const LARGEST: u64 = 64 << 10;
/// Between two writes within a stage.
const EVERY: Duration = Duration::from_millis(500);

/// How far a run got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunProgress {
    /// The run.
    pub(crate) id: BackupId,
    /// Its job.
    pub(crate) job: String,
    /// Its process.
    pub(crate) process: u32,
    /// When it began.
    pub(crate) started_at: Timestamp,
    /// The stage that it is at; `None` before the first.
    pub(crate) stage: Option<Stage>,
    /// When that stage began.
    pub(crate) stage_started_at: Timestamp,
    /// How much work the stage is, in bytes, where that is known; an estimate.
    pub(crate) expected_bytes: Option<u64>,
    /// How much of it is done, in bytes.
    pub(crate) bytes: u64,
    /// The rows that went through in this stage.
    pub(crate) rows: u64,
    /// The table that moved last.
    pub(crate) table: Option<String>,
    /// When this was written.
    pub(crate) updated_at: Timestamp,
}

/// The progress of the run that is at work in a state directory, of whichever process; `None` when none is,
/// or when it has not said anything yet.
pub(crate) fn running(state_directory: &Path) -> Option<RunProgress> {
    if !RunLock::is_held(state_directory) {
        return None;
    }
    let text = state_file::read(&path(state_directory), LARGEST).ok()?;
    serde_json::from_slice(&text).ok()
}

fn path(state_directory: &Path) -> PathBuf {
    state_directory.join("progress.json")
}

/// Tells on what it hears, and writes it down for others.
pub(crate) struct Published {
    inner: Arc<dyn Progress>,
    path: PathBuf,
    now: Mutex<(RunProgress, Instant)>,
}

impl Published {
    /// For the run `id` of a job, into its state directory.
    pub(crate) fn new(
        inner: Arc<dyn Progress>,
        state_directory: &Path,
        id: BackupId,
        job: &str,
    ) -> Self {
        let at = Timestamp::now();
        let progress = RunProgress {
            id,
            job: job.to_owned(),
            process: std::process::id(),
            started_at: at,
            stage: None,
            stage_started_at: at,
            expected_bytes: None,
            bytes: 0,
            rows: 0,
            table: None,
            updated_at: at,
        };
        Self {
            inner,
            path: path(state_directory),
            now: Mutex::new((progress, Instant::now())),
        }
    }

    fn change(&self, at_once: bool, change: impl FnOnce(&mut RunProgress)) {
        let mut guard = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let (progress, written) = &mut *guard;
        change(progress);
        if at_once || written.elapsed() >= EVERY {
            *written = Instant::now();
            progress.updated_at = Timestamp::now();
            // Nobody's backup fails for want of spectators.
            let _ = write(&self.path, progress);
        }
    }
}

impl Progress for Published {
    fn stage(&self, stage: Stage, expected_bytes: Option<u64>) {
        self.change(true, |progress| {
            progress.stage = Some(stage);
            progress.stage_started_at = Timestamp::now();
            progress.expected_bytes = expected_bytes;
            progress.bytes = 0;
            progress.rows = 0;
            progress.table = None;
        });
        self.inner.stage(stage, expected_bytes);
    }

    fn advance(&self, table: Option<&TableName>, rows: u64, bytes: u64) {
        self.change(false, |progress| {
            progress.rows += rows;
            progress.bytes += bytes;
            if let Some(table) = table {
                progress.table = Some(table.to_string());
            }
        });
        self.inner.advance(table, rows, bytes);
    }
}

/// In one piece for whoever reads it meanwhile.
fn write(path: &Path, progress: &RunProgress) -> std::io::Result<()> {
    let json = serde_json::to_vec(progress)?;
    state_file::replace(path, &json, 0o600, Durability::Passing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_engine::progress::Silent;

    #[test]
    fn a_run_is_seen_by_others_while_it_holds_the_lock() {
        let state = tempfile::tempdir().unwrap();
        let id = BackupId::random();
        let published = Published::new(Arc::new(Silent), state.path(), id, "hub");
        published.stage(Stage::Export, Some(100));
        assert!(running(state.path()).is_none(), "no run holds the lock");
        let lock = RunLock::take(state.path(), id).unwrap();
        let seen = running(state.path()).unwrap();
        assert_eq!((seen.id, seen.stage), (id, Some(Stage::Export)));
        assert_eq!(seen.expected_bytes, Some(100));
        drop(lock);
        assert!(running(state.path()).is_none());
    }
}
