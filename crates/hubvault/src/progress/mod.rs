//! A line on a terminal with the stage, the share of the whole and the time that is left; a line every few seconds
//! elsewhere.

mod share;

use crate::screen;
use crate::text::{grouped, plain};
use hubvault_config::Settings;
use hubvault_engine::catalog::Catalog;
use hubvault_engine::job::ProofWhen;
use hubvault_engine::progress::{Progress, Stage, StageTime};
use hubvault_engine::state::StateDir;
use hubvault_model::{ByteSize, TableName};
use hubvault_service::logging;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use share::Share;
use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(5);
/// Between two pictures of the line on a terminal.
const TICK: Duration = Duration::from_millis(200);
/// Of the bar, in characters.
const WIDTH: f64 = 20.0;
/// How long the stages are to one another where no run was measured yet.
const TYPICAL: [(Stage, f64); 11] = [
    (Stage::Snapshot, 1.0),
    (Stage::Plan, 1.0),
    (Stage::Files, 1.0),
    (Stage::Export, 20.0),
    (Stage::Integrity, 4.0),
    (Stage::Drill, 10.0),
    (Stage::Definitions, 2.0),
    (Stage::Rows, 15.0),
    (Stage::Indexes, 15.0),
    (Stage::Compare, 12.0),
    (Stage::Publish, 1.0),
];

/// The stages that a command has, of those of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Backup,
    Drill,
    Restore,
}

impl Of {
    fn has(self, stage: Stage) -> bool {
        use Stage::{Compare, Definitions, Drill, Indexes, Rows};
        match self {
            Self::Backup => true,
            Self::Drill => [Drill, Definitions, Rows, Indexes, Compare].contains(&stage),
            Self::Restore => [Definitions, Rows, Indexes, Compare].contains(&stage),
        }
    }
}

/// What suits standard error, for a single stage.
pub(crate) fn choose(no_progress: bool) -> Arc<dyn Progress> {
    choose_with(no_progress, || Share::new(Vec::new(), true, Instant::now()))
}

/// The same for all stages of a command, with the share that each had in the last run of this job.
pub(crate) fn choose_for(settings: &Settings, of: Of, no_progress: bool) -> Arc<dyn Progress> {
    choose_with(no_progress, || {
        let is_drilled = settings.job().proof.when != ProofWhen::Off;
        let (times, is_measured) = match last_times(settings) {
            Some(times) => {
                let times = times.iter().map(|time| (time.stage, time.seconds));
                (times.collect(), true)
            }
            None => (TYPICAL.to_vec(), false),
        };
        let has =
            |stage| of.has(stage) && (is_drilled || of != Of::Backup || !Of::Drill.has(stage));
        let times = times.into_iter().filter(|(stage, _)| has(*stage));
        Share::new(times.collect(), is_measured, Instant::now())
    })
}

static PUBLISHED: OnceLock<Arc<dyn Progress>> = OnceLock::new();

/// From now on the progress of this process goes there.
pub(crate) fn publish(to: Arc<dyn Progress>) {
    // A process has one such task.
    let _ = PUBLISHED.set(to);
}

fn choose_with(no_progress: bool, share: impl Fn() -> Share) -> Arc<dyn Progress> {
    if let Some(published) = PUBLISHED.get() {
        Arc::clone(published)
    } else if no_progress {
        Arc::new(Quiet)
    } else if std::io::stderr().is_terminal() {
        Arc::new(Bar::new(share()))
    } else {
        Arc::new(Lines::default())
    }
}

/// The times of the last run that was published. Where they cannot be read, the line is without them.
fn last_times(settings: &Settings) -> Option<Vec<StageTime>> {
    let job = settings.job();
    let state = StateDir::of(job.state_root());
    if !state.path().is_dir() {
        return None;
    }
    let catalog = Catalog::open(&state).ok()?;
    let last = catalog.newest(Some(&job.name), |it| it.run.was_published());
    Some(last.ok()??.stages).filter(|stages| !stages.is_empty())
}

/// The line on a terminal. Log lines are written above it.
struct Bar {
    line: ProgressBar,
    state: Arc<Mutex<BarState>>,
    /// Dropped to end the thread that draws.
    stop: Option<Sender<()>>,
    drawing: Option<JoinHandle<()>>,
}

struct BarState {
    share: Share,
    rows: u64,
    table: Option<String>,
}

impl Bar {
    fn new(share: Share) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // One text, so that no picture has parts of two moments.
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let state = Arc::new(Mutex::new(BarState {
            share,
            rows: 0,
            table: None,
        }));
        let above = bar.clone();
        logging::around_lines(Some(Box::new(move |write| above.suspend(write))));
        let (stop, stopped) = channel::<()>();
        let (of, drawn) = (Arc::clone(&state), bar.clone());
        let drawing = std::thread::spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                draw(&drawn, &of);
            }
        });
        Self {
            line: bar,
            state,
            stop: Some(stop),
            drawing: Some(drawing),
        }
    }
}

/// Nothing is drawn before the first stage.
fn draw(bar: &ProgressBar, of: &Mutex<BarState>) {
    let (now, mut state) = (Instant::now(), lock(of));
    let (Some(now_in), ..) = state.share.stage() else {
        return;
    };
    let (part, left) = state.share.whole(now);
    let (percent, done) = ((part * 100.0) as usize, "=".repeat((part * WIDTH) as usize));
    let width = WIDTH as usize;
    let line = format!(
        "{:11} {percent:>3} % [{done:<width$}] {}",
        now_in.as_str(),
        state.message(left, now)
    );
    drop(state);
    bar.set_message(screen::cut_for_errors(&line));
}

impl BarState {
    /// What is left comes first: a narrow terminal cuts the end.
    fn message(&self, left: Option<Duration>, now: Instant) -> String {
        let (_, bytes, expected) = self.share.stage();
        let mut parts = Vec::new();
        parts.extend(left.map(about));
        if let Some(expected) = expected {
            parts.push(format!("{} of {}", ByteSize(bytes), ByteSize(expected)));
        }
        if self.rows > 0 {
            parts.push(format!("{} rows", grouped(self.rows)));
        }
        if bytes > 0 {
            parts.push(format!("{}/s", ByteSize(self.share.speed(now))));
        }
        parts.extend(self.table.clone());
        parts.join(", ")
    }
}

/// `about 40 s left`, in steps in which it does not flicker.
fn about(left: Duration) -> String {
    match left.as_secs() {
        seconds @ 0..10 => format!("about {} s left", seconds + 1),
        seconds @ 10..90 => format!("about {} s left", seconds.next_multiple_of(5)),
        seconds @ 90..5_400 => format!("about {} min left", seconds.div_ceil(60)),
        seconds => format!("about {} h left", seconds.div_ceil(3_600)),
    }
}

/// Nothing on standard error. The log of the run has the stages all the same.
struct Quiet;

impl Progress for Quiet {
    fn stage(&self, stage: Stage, _: Option<u64>) {
        tracing::info!(target: logging::FILES_ONLY, "{}", stage.as_str());
    }

    fn advance(&self, _: Option<&TableName>, _: u64, _: u64) {}
}

impl Progress for Bar {
    fn stage(&self, stage: Stage, expected_bytes: Option<u64>) {
        Quiet.stage(stage, None);
        let mut of = lock(&self.state);
        of.share.begin(stage, expected_bytes, Instant::now());
        of.rows = 0;
        of.table = None;
        drop(of);
        draw(&self.line, &self.state);
    }

    fn advance(&self, table: Option<&TableName>, rows: u64, bytes: u64) {
        let mut state = lock(&self.state);
        state.share.advance(bytes);
        if let Some(table) = table {
            state.rows += rows;
            state.table = Some(plain(table));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(drawing) = self.drawing.take() {
            // It only draws; how it ended changes nothing.
            let _ = drawing.join();
        }
        logging::around_lines(None);
        self.line.finish_and_clear();
    }
}

/// Log lines.
#[derive(Default)]
struct Lines {
    state: Mutex<LinesState>,
}

#[derive(Default)]
struct LinesState {
    stage: Option<Stage>,
    expected: Option<u64>,
    begun: Option<Instant>,
    last: Option<Instant>,
    rows: u64,
    bytes: u64,
}

impl Progress for Lines {
    fn stage(&self, stage: Stage, expected_bytes: Option<u64>) {
        let now = Instant::now();
        *lock(&self.state) = LinesState {
            stage: Some(stage),
            expected: expected_bytes,
            begun: Some(now),
            last: Some(now),
            rows: 0,
            bytes: 0,
        };
        tracing::info!("{}", stage.as_str());
    }

    fn advance(&self, table: Option<&TableName>, rows: u64, bytes: u64) {
        let mut state = lock(&self.state);
        state.rows += rows;
        state.bytes += bytes;
        let now = Instant::now();
        if state.last.is_some_and(|last| now - last < EVERY) {
            return;
        }
        state.last = Some(now);
        let line = state.line(table, now);
        drop(state);
        tracing::info!("{line}");
    }
}

impl LinesState {
    fn line(&self, table: Option<&TableName>, now: Instant) -> String {
        let seconds = self.begun.map_or(0.0, |begun| (now - begun).as_secs_f64());
        let speed = if seconds > 0.0 {
            (self.bytes as f64 / seconds) as u64
        } else {
            0
        };
        let of = self
            .expected
            .map_or_else(String::new, |all| format!(" of about {}", ByteSize(all)));
        let left = match self.expected.map(|all| all.saturating_sub(self.bytes)) {
            Some(left) if left > 0 && speed > 0 => format!(", about {} s left", left / speed),
            _ => String::new(),
        };
        let table = table.map_or_else(String::new, |table| format!(", {table}"));
        let rows = if self.rows > 0 {
            format!(", {} rows", grouped(self.rows))
        } else {
            String::new()
        };
        let stage = self.stage.map_or("", Stage::as_str);
        format!(
            "{stage}: {}{of}{rows}, {}/s{left}{table}",
            ByteSize(self.bytes),
            ByteSize(speed)
        )
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_in_steps() {
        for (seconds, said) in [
            (0, "about 1 s left"),
            (41, "about 45 s left"),
            (200, "about 4 min left"),
            (7_000, "about 2 h left"),
        ] {
            assert_eq!(about(Duration::from_secs(seconds)), said);
        }
    }

    #[test]
    fn a_line_has_speed_rows_and_the_time_that_is_left() {
        let begun = Instant::now();
        let state = LinesState {
            stage: Some(Stage::Export),
            expected: Some(100_000_000),
            begun: Some(begun),
            last: None,
            rows: 12_345,
            bytes: 40_000_000,
        };
        let table: TableName = TableName::new("public", "users");
        assert_eq!(
            state.line(Some(&table), begun + Duration::from_secs(4)),
            "export: 40.0 MB of about 100.0 MB, 12,345 rows, 10.0 MB/s, about 6 s left, users"
        );
    }
}
