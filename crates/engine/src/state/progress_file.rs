//! What a run at work says of itself to other processes: a small file in the state directory.

use super::file::{self, Durability};
use super::{RunLock, StateDir};
use crate::progress::{Progress, Stage};
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
pub struct RunProgress {
    /// The run.
    pub id: BackupId,
    /// Its job.
    pub job: String,
    /// Its process.
    pub process: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// The stage that it is at; `None` before the first.
    pub stage: Option<Stage>,
    /// When that stage began.
    pub stage_started_at: Timestamp,
    /// How much work the stage is, in bytes, where that is known; an estimate.
    pub expected_bytes: Option<u64>,
    /// How much of it is done, in bytes.
    pub bytes: u64,
    /// The rows that went through in this stage.
    pub rows: u64,
    /// The table that moved last.
    pub table: Option<String>,
    /// When this was written.
    pub updated_at: Timestamp,
}

/// The progress of the run that is at work in a state directory, of whichever process; `None` when none is,
/// or when it has not said anything yet.
pub fn running(state: &StateDir) -> Option<RunProgress> {
    let progress = progress_in(&path(state))?;
    // Until a run says something, what the one before it said is there.
    RunLock::is_held_by(state, progress.id).then_some(progress)
}

/// What such a file says, whether its process still is at work or not.
pub fn progress_in(path: &Path) -> Option<RunProgress> {
    let text = file::read(path, LARGEST).ok()?;
    serde_json::from_slice(&text).ok()
}

fn path(state: &StateDir) -> PathBuf {
    state.file("progress.json")
}

/// Tells on what it hears, and writes it down for others.
pub struct ProgressFile {
    inner: Arc<dyn Progress>,
    path: PathBuf,
    now: Mutex<(RunProgress, Instant)>,
}

impl ProgressFile {
    /// For the run `id` of a job, into its state directory.
    pub fn new(inner: Arc<dyn Progress>, state: &StateDir, id: BackupId, job: &str) -> Self {
        Self::at(inner, path(state), id, job)
    }

    /// Into the file at `path`.
    pub fn at(inner: Arc<dyn Progress>, path: PathBuf, id: BackupId, job: &str) -> Self {
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
            path,
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

impl Progress for ProgressFile {
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
    file::replace(path, &json, 0o600, Durability::Passing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use hubvault_model::Cancel;

    #[test]
    fn a_run_is_seen_by_others_while_it_holds_the_lock() {
        let state = tempfile::tempdir().unwrap();
        let id = BackupId::random();
        let published = ProgressFile::new(Arc::new(Silent), &StateDir::at(state.path()), id, "hub");
        published.stage(Stage::Export, Some(100));
        assert!(
            running(&StateDir::at(state.path())).is_none(),
            "no run holds the lock"
        );
        let lock = RunLock::take(&StateDir::at(state.path()), id, &Cancel::new()).unwrap();
        let seen = running(&StateDir::at(state.path())).unwrap();
        assert_eq!((seen.id, seen.stage), (id, Some(Stage::Export)));
        assert_eq!(seen.expected_bytes, Some(100));
        drop(lock);
        assert!(running(&StateDir::at(state.path())).is_none());
    }
}
