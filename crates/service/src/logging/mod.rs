//! Log lines on standard error, for people or as JSON; no secret of the configuration is in them.
//! The last ones are remembered for the mail that says that a run failed. Every line of a run carries its id
//! and is in a file of the run, too.

mod file;

pub(crate) use file::KEPT;
use file::LogFile;
use hubvault_config::{LogFormat, LogOptions, Settings};
use hubvault_engine::state::StateDir;
use hubvault_model::{BackupId, Masks, one_line, printable, remedy};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::fmt::{Debug, Write as _};
use std::fs::{self, DirBuilder};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// So many lines are remembered.
const REMEMBERED: usize = 40;
/// The logs of so many runs are kept.
const RUN_LOGS: usize = 200;
/// Of each so many bytes at most: some ten thousand lines.
const RUN_LOG_BYTES: u64 = 2_000_000;

static MASKS: OnceLock<Masks> = OnceLock::new();
static IS_JSON: OnceLock<bool> = OnceLock::new();
static RUN: OnceLock<BackupId> = OnceLock::new();
static FILES: Mutex<Vec<LogFile>> = Mutex::new(Vec::new());
static AROUND: Mutex<Option<Around>> = Mutex::new(None);
static AUDIT: Mutex<Option<LogFile>> = Mutex::new(None);
static RECENT: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Calls what writes a line, when the line can be written.
pub type Around = Box<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// Lets every line to standard error be written through `around` from now on: a bar on the terminal makes room for it.
pub fn around_lines(around: Option<Around>) {
    *AROUND.lock().unwrap_or_else(PoisonError::into_inner) = around;
}

fn write_error(text: &str) {
    // A terminal that is gone must not end the run, and `tracing` would panic in trying to complain about it.
    let mut write = || drop(io::stderr().write_all(text.as_bytes()));
    match &*AROUND.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(around) => around(&mut write),
        None => write(),
    }
}

/// Starts logging as the configuration has it, for people where it leaves that open.
pub fn start_for(settings: &Settings) {
    let log = &settings.service.log;
    start(log, log.format, settings.masks().clone());
}

/// The same in the given format, and with the masks of all jobs.
pub fn start(log: &LogOptions, format: LogFormat, masks: Masks) {
    start_lines(log.level, format, masks);
    if let Some(path) = &log.file {
        to_file(path, log.max_bytes);
    }
}

/// Logging to standard error alone.
pub fn start_lines(level: Level, format: LogFormat, masks: Masks) {
    // A second start, which only tests could make, changes nothing.
    let _ = MASKS.set(masks);
    let _ = IS_JSON.set(format == LogFormat::Json);
    // What libraries say about themselves matters only to those who ask for everything.
    let libraries = if level == Level::TRACE {
        LevelFilter::DEBUG
    } else {
        LevelFilter::WARN
    };
    // What the libraries of SSH and TLS warn of is an error of the call, which says more.
    let connections = if level == Level::TRACE {
        LevelFilter::DEBUG
    } else {
        LevelFilter::OFF
    };
    // The names of all crates of the workspace begin like this.
    let filter = Targets::new()
        .with_default(libraries)
        .with_target("russh", connections)
        .with_target("rustls", connections)
        .with_target("hubvault", level);
    let lines = fmt::layer().with_writer(Writers);
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(Remembering);
    let _ = if format == LogFormat::Json {
        registry.with(lines.json()).try_init()
    } else {
        let lines = lines.with_target(false);
        // On a terminal the library decides by itself, heeding NO_COLOR.
        if io::stderr().is_terminal() {
            registry.with(lines).try_init()
        } else {
            registry.with(lines.with_ansi(false)).try_init()
        }
    };
}

/// Every line from now on is in a file, too; it is moved aside when it is larger than `most_bytes`.
pub fn to_file(path: &Path, most_bytes: u64) {
    add_file(path, LogFile::open(path, most_bytes));
}

fn add_file(path: &Path, opened: io::Result<LogFile>) {
    match opened {
        Ok(file) => files().push(file),
        Err(error) => {
            let help = remedy(&error);
            tracing::warn!("the log {} is not written: {error}{help}", path.display());
        }
    }
}

/// Lines about who did what over HTTP begin with this.
pub(crate) const AUDIT_PREFIX: &str = "audit: ";
/// A file of them is moved aside at this size, in bytes.
const AUDIT_BYTES: u64 = 512 * 1024;

/// Every line about who did what over HTTP is in this file, too, for the page.
pub(crate) fn audit_to(path: &Path) {
    match LogFile::open(path, AUDIT_BYTES) {
        Ok(file) => *AUDIT.lock().unwrap_or_else(PoisonError::into_inner) = Some(file),
        Err(error) => tracing::warn!(
            "the audit log {} is not written: {error}{}",
            path.display(),
            remedy(&error)
        ),
    }
}

fn audit(line: &str) {
    let mut file = AUDIT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(file) = file.as_mut() else { return };
    if let Err(error) = file.write(format!("{line}\n").as_bytes()) {
        // Not through `tracing`, which calls this.
        let (path, help) = (file.path().display(), remedy(&error));
        write_error(&format!(
            "the audit log {path} is not written: {error}{help}\n"
        ));
    }
}

/// Every line from now on is one of a run: it carries its id, and is in `logs/<id>.log` of the state
/// directory.
pub fn of_run(id: BackupId, state: &StateDir) {
    let logs = state.run_logs();
    let _ = RUN.set(id);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&logs);
    if let Err(error) = made.and_then(|()| forget_old(&logs)) {
        let help = remedy(&error);
        tracing::warn!("the logs of runs in {}: {error}{help}", logs.display());
    }
    let path = state.run_log(id);
    add_file(&path, LogFile::open_bounded(&path, RUN_LOG_BYTES));
}

/// Keeps the logs of the newest runs.
fn forget_old(logs: &Path) -> io::Result<()> {
    let mut all = Vec::new();
    for entry in fs::read_dir(logs)? {
        let entry = entry?;
        all.push((entry.metadata()?.modified()?, entry.path()));
    }
    all.sort();
    let surplus = all.len().saturating_sub(RUN_LOGS);
    all.iter()
        .take(surplus)
        .try_for_each(|(_, path)| fs::remove_file(path))
}

fn files() -> std::sync::MutexGuard<'static, Vec<LogFile>> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last lines, oldest first.
pub fn recent() -> Vec<String> {
    let recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    recent.iter().cloned().collect()
}

/// The text without the configuration's secrets, once logging was started.
pub fn masked(text: &str) -> String {
    MASKS
        .get()
        .map_or_else(|| text.to_owned(), |masks| masks.mask(text))
}

/// Lines to the log files alone are events of this target: the terminal shows the same in another way.
pub const FILES_ONLY: &str = "hubvault::files_only";

struct Writers;

impl<'a> fmt::MakeWriter<'a> for Writers {
    type Writer = Masked;

    fn make_writer(&'a self) -> Masked {
        Masked { is_shown: true }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Masked {
        Masked {
            is_shown: meta.target() != FILES_ONLY,
        }
    }
}

/// Standard error without secrets; a line comes in one piece.
struct Masked {
    is_shown: bool,
}

impl Write for Masked {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = of_this_run(in_one_line(&masked(&String::from_utf8_lossy(line))));
        // Not through `tracing`, or it would go round in circles; a line that one place does not take is still
        // in the other.
        for file in files().iter_mut() {
            if let Err(error) = file.write(plain(&text).as_bytes()) {
                let (path, help) = (file.path().display(), remedy(&error));
                let _ = writeln!(io::stderr(), "the log {path} is not written: {error}{help}");
            }
        }
        if self.is_shown {
            write_error(&text);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line with everything written out that a terminal would act upon, or that would begin another line; but for the
/// colours, which are the formatter's own: it writes out those of a message.
fn in_one_line(line: &str) -> String {
    let mut pieces = line.trim_end_matches('\n').split("\u{1b}[");
    let mut out = one_line(pieces.next().unwrap_or_default()).into_owned();
    for piece in pieces {
        let digits = |c: char| c.is_ascii_digit() || c == ';';
        match piece.trim_start_matches(digits).strip_prefix('m') {
            Some(rest) => {
                let colour = &piece[..piece.len() - rest.len()];
                out += &format!("\u{1b}[{colour}{}", one_line(rest));
            }
            None => out += &format!("\\u001b[{}", one_line(piece)),
        }
    }
    out + "\n"
}

/// The line with the id of the run that this process makes.
fn of_this_run(line: String) -> String {
    let Some(run) = RUN.get() else { return line };
    if IS_JSON.get() == Some(&true) {
        return line.replacen('{', &format!("{{\"run\":\"{run}\","), 1);
    }
    let text = line.trim_end_matches('\n');
    format!("{text} run={}\n", run.short())
}

/// Without the colours of a terminal.
fn plain(line: &str) -> String {
    let mut pieces = line.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain += piece.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain
}

/// Keeps the last lines.
struct Remembering;

impl<S: Subscriber> Layer<S> for Remembering {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = format!(
            "{:.0} {:>5} ",
            Timestamp::now(),
            event.metadata().level().as_str()
        );
        let begin = line.len();
        event.record(&mut Fields(&mut line));
        let is_audit = line[begin..].starts_with(AUDIT_PREFIX);
        let line = one_line(&masked(&line)).into_owned();
        if is_audit {
            audit(&line);
        }
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(line);
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}
/// Writes lines to standard error. `eprintln!` would panic where the terminal is gone.
pub fn complain(text: &str) {
    write_error(&format!("{}\n", printable(text)));
}

/// An error with its causes. Some of ours already say their cause; it is not said twice.
pub fn chain(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |mut said, cause| {
            if said.is_empty() {
                said = cause;
            } else if !said.contains(&cause) {
                said += &format!(": {cause}");
            }
            said
        })
}
