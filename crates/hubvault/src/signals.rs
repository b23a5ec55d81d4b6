//! SIGINT and SIGTERM: the run is asked to stop, and stops within two seconds in any case.

use anyhow::{Context, Result};
use hubvault_model::Cancel;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// A run that has not stopped by itself after this is ended.
const PATIENCE: Duration = Duration::from_millis(1_700);

type LastResort = Arc<dyn Fn() + Send + Sync>;

static RECEIVED: AtomicI32 = AtomicI32::new(0);
static WATCHED: Mutex<Option<(Cancel, LastResort)>> = Mutex::new(None);
static STARTED: OnceLock<Result<(), String>> = OnceLock::new();

/// Until this is dropped, a signal stops the work.
#[must_use = "signals are not heeded once this is dropped"]
pub(crate) struct Watch;

/// Lets a signal stop `cancel`'s work. If that takes too long, or a second signal comes,
/// `last_resort` is run, which must not block, and the process ends.
pub(crate) fn watch(
    cancel: Cancel,
    last_resort: impl Fn() + Send + Sync + 'static,
) -> Result<Watch> {
    *WATCHED.lock().unwrap_or_else(PoisonError::into_inner) = Some((cancel, Arc::new(last_resort)));
    STARTED
        .get_or_init(start)
        .as_ref()
        .map(|()| Watch)
        .map_err(|why| anyhow::anyhow!(why.clone()))
        .context("watching for signals")
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
        *WATCHED.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn start() -> Result<(), String> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let watched = WATCHED
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let again = RECEIVED.swap(signal, Ordering::AcqRel) != 0;
            match watched {
                Some((_, last_resort)) if again => end(signal, &last_resort),
                Some((cancel, last_resort)) => {
                    cancel.request();
                    std::thread::spawn(move || {
                        std::thread::sleep(PATIENCE);
                        end(signal, &last_resort);
                    });
                }
                // Nothing is at work that would have to be tidied up.
                None => std::process::exit(128 + signal),
            }
        }
    });
    Ok(())
}

fn end(signal: i32, last_resort: &LastResort) {
    last_resort();
    std::process::exit(128 + signal);
}
