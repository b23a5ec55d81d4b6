//! A bar on a terminal, a line every few seconds elsewhere.

use crate::text::{grouped, plain};
use hubvault_engine::progress::{Progress, Silent, Stage};
use hubvault_model::{ByteSize, TableName};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(5);

/// What suits standard error.
pub(crate) fn choose(no_progress: bool) -> Arc<dyn Progress> {
    if no_progress {
        Arc::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Arc::new(Bar::new())
    } else {
        Arc::new(Lines::default())
    }
}

/// A bar with the table that moves, bytes a second, rows and the time that is left.
struct Bar {
    bar: ProgressBar,
    rows: Mutex<u64>,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        Self {
            bar,
            rows: Mutex::default(),
        }
    }
}

impl Progress for Bar {
    fn stage(&self, stage: Stage, expected_bytes: Option<u64>) {
        let template = match expected_bytes {
            Some(_) => {
                "{prefix:<9} {wide_bar} {decimal_bytes}/{decimal_total_bytes} \
                        {decimal_bytes_per_sec} {eta} {msg}"
            }
            None => "{prefix:<9} {spinner} {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        *lock(&self.rows) = 0;
        self.bar.set_message("");
        self.bar.set_prefix(stage.as_str());
        match expected_bytes {
            Some(bytes) => self.bar.set_length(bytes),
            None => self.bar.unset_length(),
        }
        self.bar.reset();
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn advance(&self, table: Option<&TableName>, rows: u64, bytes: u64) {
        self.bar.inc(bytes);
        // The expected size is an estimate; a bar beyond its end would say nothing.
        if self
            .bar
            .length()
            .is_some_and(|length| self.bar.position() > length)
        {
            self.bar.set_length(self.bar.position());
        }
        if let Some(table) = table {
            let mut all = lock(&self.rows);
            *all += rows;
            self.bar
                .set_message(format!("{} rows, {}", grouped(*all), plain(table)));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
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
