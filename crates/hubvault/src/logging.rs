//! Log lines on standard error, for people or as JSON; no secret of the configuration is in them.
//! The last ones are remembered for the mail that says that a run failed.

use hubvault_model::Masks;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::fmt::{Debug, Write as _};
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

/// So many lines are remembered.
const REMEMBERED: usize = 40;

static MASKS: OnceLock<Masks> = OnceLock::new();
static RECENT: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Starts logging; `level` and `format` were checked by the configuration.
pub(crate) fn start(level: &str, format: &str, masks: Masks) {
    // A second start, which only tests could make, changes nothing.
    let _ = MASKS.set(masks);
    // What libraries say about themselves matters only to those who ask for everything.
    let libraries = if level == "trace" { "debug" } else { "warn" };
    let ours = [
        "hubvault",
        "hubvault_engine",
        "hubvault_postgres",
        "hubvault_archive",
        "hubvault_outlet",
    ];
    let directives = ours.map(|name| format!("{name}={level}")).join(",");
    let filter = EnvFilter::new(format!("{libraries},{directives}"));
    let lines = fmt::layer().with_writer(|| Masked);
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(Remembering);
    let _ = if format == "json" {
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

/// The last lines, oldest first.
pub(crate) fn recent() -> Vec<String> {
    let recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    recent.iter().cloned().collect()
}

/// The text without the configuration's secrets, once logging was started.
pub(crate) fn masked(text: &str) -> String {
    MASKS
        .get()
        .map_or_else(|| text.to_owned(), |masks| masks.mask(text))
}

/// Standard error without secrets; a line comes in one piece.
struct Masked;

impl Write for Masked {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        io::stderr().write_all(masked(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
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
        event.record(&mut Fields(&mut line));
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(masked(&line));
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
