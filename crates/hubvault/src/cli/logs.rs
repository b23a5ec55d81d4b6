//! `hubvault logs`: the log lines of a run, also while it is running.

use super::Exit;
use crate::text::print_with;
use crate::{answer, signals};
use anyhow::{Context, Result, bail};
use clap::Args;
use hubvault_config::Settings;
use hubvault_engine::catalog::{self, BackupRecord, Catalog, State};
use hubvault_engine::state::{RunLock, StateDir};
use hubvault_model::{Cancel, indented};
use hubvault_service::logging::masked;
use serde_json::json;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::time::Duration;

/// Between two looks at a log that grows.
const EVERY: Duration = Duration::from_millis(300);

/// `hubvault logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// An id, an unambiguous prefix of one, a file name, or `latest` [default: the newest run, also one that failed or is
    /// running]
    backup: Option<String>,
    /// Print further lines as they come, until the run has ended
    #[arg(long, short, conflicts_with = "json")]
    follow: bool,
}

/// Prints it.
pub(crate) fn run(settings: &Settings, args: &LogsArgs) -> Result<Exit> {
    let job = settings.job();
    let catalog = catalog::current(job)?;
    let Some(record) = record_of(settings, &catalog, args)? else {
        let directory = job.local_directory().display();
        match &args.backup {
            Some(word) => bail!("no backup {word:?} in {directory}; `hubvault list` lists them"),
            None => bail!("there was no run in {directory} yet; `hubvault backup` takes the first"),
        }
    };
    let state = StateDir::of(job.state_root());
    let path = state.run_log(record.id);
    let file = File::open(&path).with_context(|| {
        let (path, id) = (path.display(), record.id.short());
        format!("opening the log {path} of backup {id} (the logs of the newest 200 runs are kept)")
    })?;
    let mut log = Log::new(file);
    if answer::is_json() {
        let mut lines = Vec::new();
        while let Some(line) = log.line()? {
            lines.push(line.trim_end().to_owned());
        }
        answer::json(&json!({
            "id": record.id, "job": record.job, "state": record.state, "error": record.error,
            "file": path, "lines": lines,
        }))?;
        return Ok(Exit::Done);
    }
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    print_with(|out| {
        let is_running = || {
            let now = catalog.find(&record.id.to_string()).ok().flatten();
            now.is_some_and(|now| now.state == State::Running) && RunLock::is_held(&state)
        };
        let follow = args.follow.then_some(&is_running as &dyn Fn() -> bool);
        log.print(out, follow, &cancel)
    })?;
    if cancel.is_requested() {
        bail!("stopped on request");
    }
    // A run from the command line says why it failed on standard error alone.
    let now = catalog.find(&record.id.to_string())?.unwrap_or(record);
    if let Some(error) = now.error.filter(|error| !log.has_seen(error)) {
        print_with(|out| writeln!(out, "error: {}", indented(&error)))?;
    }
    Ok(Exit::Done)
}

fn record_of(
    settings: &Settings,
    catalog: &Catalog,
    args: &LogsArgs,
) -> Result<Option<BackupRecord>> {
    if let Some(word) = &args.backup {
        return Ok(catalog.find(word)?);
    }
    let job = &settings.job().name;
    Ok(catalog.newest(Some(job), |_| true)?)
}

/// A log on its way to the reader, without secrets that the configuration has by now.
struct Log {
    file: BufReader<File>,
    /// A line whose end is not there yet.
    begun: String,
    last: String,
}

impl Log {
    fn new(file: File) -> Self {
        Self {
            file: BufReader::new(file),
            begun: String::new(),
            last: String::new(),
        }
    }

    /// The next whole line, or the rest where the file ends without a line end; `None` at the end.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        self.file.read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(masked(&String::from_utf8_lossy(&bytes))))
    }

    /// Writes everything; with `follow`, goes on while the run is running.
    fn print(
        &mut self,
        out: &mut dyn Write,
        follow: Option<&dyn Fn() -> bool>,
        cancel: &Cancel,
    ) -> io::Result<()> {
        loop {
            // Asked before the file is read: what the run writes last is not missed.
            let goes_on = follow.is_some_and(|is_running| is_running());
            while let Some(line) = self.line()? {
                self.begun += &line;
                if self.begun.ends_with('\n') {
                    self.last = std::mem::take(&mut self.begun);
                    out.write_all(self.last.as_bytes())?;
                }
            }
            out.flush()?;
            if !goes_on || cancel.is_requested() {
                break;
            }
            std::thread::sleep(EVERY);
        }
        if !self.begun.is_empty() {
            writeln!(out, "{}", self.begun)?;
        }
        Ok(())
    }

    /// Whether the last line says this already.
    fn has_seen(&self, error: &str) -> bool {
        let first = error.lines().next().unwrap_or_default();
        self.last.contains(first)
    }
}
