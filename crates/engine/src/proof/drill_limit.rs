//! Limits of a drill: one at a time in a directory, its time, its disk space.

use super::drill_result::{DrillError, Verdict};
use super::place;
use crate::deadline::{self, End, Working};
use crate::disk::{free_bytes, free_inodes};
use hubvault_archive::Manifest;
use hubvault_model::{ByteSize, Cancel, CancelGuard};
use hubvault_postgres::{DrillLock, directory_bytes};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Another drill is waited for at least this long, as its limit may be longer.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// How often the disk is checked.
const LOOK: Duration = Duration::from_millis(500);
/// Space that stays free on the filesystem: this or a fiftieth of it, whichever is more.
const RESERVE: u64 = 64 << 20;

/// The outcome of waiting for a drill in the same directory.
pub(super) enum LockResult {
    /// No other drill runs there until this is dropped.
    Locked(DrillLock),
    /// Another drill took too long; which one.
    Busy(String),
    /// A stop was requested.
    Cancelled,
}

/// Waits for another drill of this user in the directory, as long as one may take.
pub(super) fn wait_for_lock(
    directory: &Path,
    time_limit: Duration,
    cancel: &Cancel,
) -> io::Result<LockResult> {
    wait_at_most(time_limit.max(LONGEST_WAIT), directory, cancel)
}

fn wait_at_most(longest: Duration, directory: &Path, cancel: &Cancel) -> io::Result<LockResult> {
    let begun = Instant::now();
    let mut is_said = false;
    loop {
        if let Some(lock) = DrillLock::try_take(directory)? {
            return Ok(LockResult::Locked(lock));
        }
        if cancel.is_requested() {
            return Ok(LockResult::Cancelled);
        }
        let other = format!(
            "another drill in {} (process {})",
            directory.display(),
            DrillLock::holder(directory)
        );
        if begun.elapsed() > longest {
            return Ok(LockResult::Busy(format!(
                "{other} did not end within {} s",
                longest.as_secs()
            )));
        }
        // A short wait is not worth a line.
        if !is_said && begun.elapsed() > Duration::from_secs(2) {
            is_said = true;
            tracing::info!("waiting for {other}");
        }
        sleep(Duration::from_millis(100));
    }
}

/// The disk space that a drill's server may use.
pub(super) struct DiskLimit {
    directory: PathBuf,
    most: u64,
    reserve: u64,
    /// How many files must still be possible.
    files: u64,
    /// In memory: what the machine must still have.
    memory: Option<u64>,
}

impl DiskLimit {
    /// A table of short rows takes many times its text, so the limit is generous.
    pub(super) fn of(manifest: &Manifest, directory: &Path, estimated: u64) -> Self {
        let rows: u64 = manifest.tables.iter().map(|table| table.digest.rows).sum();
        let fiftieth = rustix::fs::statvfs(directory)
            .map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize) / 50);
        Self {
            directory: directory.to_owned(),
            most: estimated
                .saturating_mul(8)
                .saturating_add(rows.saturating_mul(512))
                .saturating_add(1 << 30),
            // With less free space to begin with, the estimate decides.
            reserve: RESERVE
                .max(fiftieth)
                .min(free_bytes(directory).unwrap_or(0) / 8),
            files: free_inodes(directory).ok().flatten().unwrap_or(0) / 50,
            memory: None,
        }
    }

    /// The same in memory, which a good estimate leaves most of.
    pub(super) fn in_memory(self, most: u64) -> Self {
        let memory = place::memory().map(|left| left / 4);
        Self {
            most,
            memory,
            ..self
        }
    }

    /// Why the drill must end; the space in use is counted only when `counts` is set.
    fn exceeded(&self, counts: bool) -> Option<String> {
        let directory = self.directory.display();
        let free = free_bytes(&self.directory).ok()?;
        if free < self.reserve {
            return Some(format!(
                "the drill left less than {} free in {directory}",
                ByteSize(self.reserve)
            ));
        }
        let files = free_inodes(&self.directory).ok().flatten();
        if files.is_some_and(|files| files < self.files) {
            return Some(format!(
                "the drill left room for fewer than {} files in {directory}",
                self.files
            ));
        }
        if let Some(least) = self.memory
            && place::memory().is_some_and(|left| left < least)
        {
            let least = ByteSize(least);
            return Some(format!(
                "the drill left less than {least} of the machine's memory"
            ));
        }
        let taken = counts
            .then(|| directory_bytes(&self.directory).ok())
            .flatten()?;
        (taken > self.most).then(|| {
            format!(
                "the drill took {} in {directory}, far more than the archive's rows need",
                ByteSize(taken)
            )
        })
    }
}

/// A stop request of the drill's own: raised with the run's, or when its time or space is used up.
pub(super) struct Limit {
    pub(super) cancel: Cancel,
    reason: Arc<Mutex<Option<String>>>,
    working: Option<Working>,
    timer: Option<JoinHandle<()>>,
    _follows: CancelGuard,
}

impl Limit {
    pub(super) fn start(time: Duration, disk: Option<DiskLimit>, run: &Cancel) -> Self {
        let cancel = Cancel::new();
        let (follower, raised) = (cancel.clone(), cancel.clone());
        let follows = run.on_request(move || follower.request());
        let (working, end) = deadline::begin();
        let reason = Arc::new(Mutex::new(None));
        let why = Arc::clone(&reason);
        let timer = std::thread::spawn(move || {
            if let Some(exceeded) = watch(time, disk.as_ref(), &end) {
                *why.lock().unwrap_or_else(PoisonError::into_inner) = Some(exceeded);
                raised.request();
            }
        });
        Self {
            cancel,
            reason,
            working: Some(working),
            timer: Some(timer),
            _follows: follows,
        }
    }

    /// The result of a drill that had to stop.
    pub(super) fn ended(&self, run: &Cancel) -> Result<Verdict, DrillError> {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        match reason.clone() {
            Some(reason) if !run.is_requested() => Ok(Verdict::nothing_shown(reason)),
            _ => Err(DrillError::Cancelled),
        }
    }
}

/// A drill that does not stop within this time is ended with its server.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends the server of a drill that must stop and goes on all the same, for code of a database can catch the cancel of
/// its statement and begin anew. Dropped when the drill is over.
pub(super) struct ForcedEnd {
    _working: Working,
    _waits: CancelGuard,
}

impl ForcedEnd {
    pub(super) fn prepare(cancel: &Cancel, end_server: Box<dyn Fn() + Send + Sync>) -> Self {
        let (working, end) = deadline::begin();
        let watch = Mutex::new(Some((end, end_server)));
        let waits = cancel.on_request(move || {
            let taken = watch.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some((end, end_server)) = taken else {
                return;
            };
            std::thread::spawn(move || {
                if !end.comes_within(PATIENCE) {
                    tracing::warn!("the drill did not stop when asked; ending its server");
                    end_server();
                }
            });
        });
        Self {
            _working: working,
            _waits: waits,
        }
    }
}

/// Why the drill must end, as soon as it must; `None` when it is done before.
fn watch(time: Duration, disk: Option<&DiskLimit>, end: &End) -> Option<String> {
    let begun = Instant::now();
    // Counting files takes time of the drill's own: a twentieth of it at most.
    let mut next_count = begun;
    loop {
        let left = time.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Some(format!(
                "the drill took longer than its limit of {} s",
                time.as_secs()
            ));
        }
        let pause = if disk.is_some() { left.min(LOOK) } else { left };
        if end.comes_within(pause) {
            return None;
        }
        let Some(disk) = disk else {
            continue;
        };
        let looked = Instant::now();
        let counts = looked >= next_count;
        if let Some(exceeded) = disk.exceeded(counts) {
            return Some(exceeded);
        }
        if counts {
            next_count = Instant::now() + (looked.elapsed() * 20).max(LOOK);
        }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        drop(self.working.take());
        if let Some(timer) = self.timer.take() {
            // It ends at once when the work has ended.
            let _ = timer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_drill_ends_when_it_takes_too_much_room_or_leaves_too_little() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), vec![1; 100_000]).unwrap();
        let limit = |most, reserve| DiskLimit {
            directory: directory.path().to_owned(),
            most,
            reserve,
            files: 0,
            memory: None,
        };
        let no_files = DiskLimit {
            files: u64::MAX,
            ..limit(u64::MAX, 0)
        };
        // Some file systems do not say how many are possible.
        if free_inodes(directory.path()).unwrap().is_some() {
            assert!(no_files.exceeded(false).unwrap().contains("room for fewer"));
        }
        let ended = |limit: DiskLimit| {
            let run = Cancel::new();
            let limit = Limit::start(Duration::from_mins(10), Some(limit), &run);
            while !limit.cancel.is_requested() {
                sleep(Duration::from_millis(5));
            }
            match limit.ended(&run) {
                Ok(Verdict::Unproven { reason, .. }) => reason,
                other => panic!("{other:?}"),
            }
        };
        assert!(ended(limit(50_000, 0)).contains("far more than"));
        assert!(ended(limit(u64::MAX, u64::MAX)).contains("free in"));
        assert!(limit(200_000, 0).exceeded(true).is_none());
    }

    #[test]
    fn another_drill_is_waited_for_until_it_takes_too_long_or_a_stop_is_requested() {
        let directory = tempfile::tempdir().unwrap();
        let _other = DrillLock::try_take(directory.path()).unwrap().unwrap();
        let wait = |cancel: &Cancel| wait_at_most(Duration::ZERO, directory.path(), cancel);
        match wait(&Cancel::new()) {
            Ok(LockResult::Busy(why)) => assert!(why.contains("did not end within 0 s"), "{why}"),
            _ => panic!("it is still there"),
        }
        let stopped = Cancel::new();
        stopped.request();
        assert!(matches!(wait(&stopped), Ok(LockResult::Cancelled)));
    }

    #[test]
    fn a_stop_of_the_run_stops_the_drill_and_counts_before_its_limit() {
        let run = Cancel::new();
        let limit = Limit::start(Duration::from_mins(10), None, &run);
        assert!(!limit.cancel.is_requested());
        run.request();
        assert!(limit.cancel.wait(Duration::from_mins(2)));
        assert!(matches!(limit.ended(&run), Err(DrillError::Cancelled)));
        let run = Cancel::new();
        let over = Limit::start(Duration::ZERO, None, &run);
        while !over.cancel.is_requested() {
            sleep(Duration::from_millis(5));
        }
        let shown = over.ended(&run);
        assert!(matches!(shown, Ok(Verdict::Unproven { .. })), "{shown:?}");
        run.request();
        assert!(matches!(over.ended(&run), Err(DrillError::Cancelled)));
    }

    #[test]
    fn a_server_whose_drill_goes_on_after_a_stop_is_ended() {
        let (cancel, (ended, is_ended)) = (Cancel::new(), mpsc::channel());
        let end = move || ended.send(()).unwrap();
        let _forced = ForcedEnd::prepare(&cancel, Box::new(end));
        cancel.request();
        is_ended.recv_timeout(PATIENCE * 24).unwrap();
    }
}
