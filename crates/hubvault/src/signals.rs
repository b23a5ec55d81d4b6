//! SIGINT and SIGTERM: the run is asked to stop, and stops within two seconds in any case. SIGHUP stops nothing: a run
//! outlives its terminal, and `kill -HUP $(pidof hubvault)`, which is for the service.

use crate::answer::{self, Kind};
use crate::terminal;
use crate::text::complain;
use anyhow::{Context, Result};
use hubvault_model::Cancel;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// A run that has not stopped by itself after this is ended.
const PATIENCE: Duration = Duration::from_millis(1_700);

type LastResort = Arc<dyn Fn() + Send + Sync>;

/// Work that a signal stops.
#[derive(Clone)]
struct Watched {
    key: u64,
    cancel: Cancel,
    last_resort: LastResort,
}

static RECEIVED: AtomicI32 = AtomicI32::new(0);
static NEXT: AtomicU64 = AtomicU64::new(0);
static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());
static STARTED: OnceLock<Result<(), String>> = OnceLock::new();

/// Until this is dropped, a signal stops the work.
#[must_use = "signals are ignored once this is dropped"]
pub(crate) struct Watch {
    key: u64,
}

/// Ignores SIGHUP, as `nohup` does; children inherit it: `pg_dump`, hooks, the throwaway server. The service, which
/// reloads its configuration on it, handles it instead.
pub(crate) fn outlive_the_terminal() {
    // SAFETY: no other thread runs yet, and SIG_IGN is no handler that could do anything.
    let before = unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    if before == libc::SIG_ERR {
        let error = std::io::Error::last_os_error();
        complain(&format!(
            "warning: a lost terminal may end this run: ignoring SIGHUP: {error}"
        ));
    }
}

/// Lets a signal stop `cancel`'s work. If that takes too long, or a second signal comes,
/// `last_resort` is run, which must not block, and the process ends.
pub(crate) fn watch(
    cancel: Cancel,
    last_resort: impl Fn() + Send + Sync + 'static,
) -> Result<Watch> {
    let key = NEXT.fetch_add(1, Ordering::Relaxed);
    watched().push(Watched {
        key,
        cancel,
        last_resort: Arc::new(last_resort),
    });
    let watch = Watch { key };
    STARTED
        .get_or_init(start)
        .as_ref()
        .map_err(|why| anyhow::anyhow!(why.clone()))
        .context("watching for signals")?;
    Ok(watch)
}

/// Before questions are asked: until there is work to stop, a signal ends the process at once, and leaves the terminal as
/// it was before them.
pub(crate) fn while_asking() -> Result<()> {
    terminal::remember();
    drop(watch(Cancel::new(), || {})?);
    Ok(())
}

/// Ctrl-C at a question. The signal that it raises may not have been noticed yet.
pub(crate) fn interrupted_a_question() {
    terminal::restore();
    let none = 0;
    let _ = RECEIVED.compare_exchange(none, SIGINT, Ordering::AcqRel, Ordering::Acquire);
}

/// 130 after SIGINT, 143 after SIGTERM (POSIX shell, 2.8.2); `None` when no signal came.
pub(crate) fn exit_code() -> Option<u8> {
    match RECEIVED.load(Ordering::Acquire) {
        0 => None,
        signal => u8::try_from(128 + signal).ok(),
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        watched().retain(|watched| watched.key != self.key);
    }
}

fn watched() -> MutexGuard<'static, Vec<Watched>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start() -> Result<(), String> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let work = watched().clone();
            let again = RECEIVED.swap(signal, Ordering::AcqRel) != 0;
            if again || work.is_empty() {
                end(signal);
            }
            for watched in work {
                watched.cancel.request();
            }
            std::thread::spawn(move || {
                std::thread::sleep(PATIENCE);
                end(signal);
            });
        }
    });
    Ok(())
}

/// Tidies up what is still at work, the innermost first, and ends the process.
fn end(signal: i32) -> ! {
    let work = watched().clone();
    for watched in work.iter().rev() {
        (watched.last_resort)();
    }
    terminal::restore();
    let code = 128 + signal;
    if !work.is_empty() {
        // Nobody else says it any more.
        let last = work
            .iter()
            .rev()
            .find_map(|watched| watched.cancel.last_failure());
        let message = last.map_or_else(
            || "stopped on request, while a server or program gave no answer; nothing more is published, and the next run clears up".to_owned(),
            |last| format!("stopped on request while trying again: {last}"),
        );
        complain(&format!("error: {message}"));
        let of_json = u8::try_from(code).unwrap_or(1);
        answer::failed(Kind::Interrupted, &message, of_json, json!({}));
    }
    std::process::exit(code);
}
