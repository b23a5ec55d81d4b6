//! `hubvault serve`: runs on the schedule, each a process of its own: a run that crashes does not take the service with
//! it, and its memory is returned.

pub mod logging;
mod daemon;
mod timetable;
pub mod child;
mod periodic_tasks;
mod reaper;
mod job_scheduler;
mod scheduler;
mod metrics;
pub mod token;
mod http;

use anyhow::{Context, Result};
use daemon::{Daemon, Event};
use hubvault_config::{Inputs, Settings};
use hubvault_model::Masks;
use scheduler::Scheduler;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::mpsc::{Sender, channel};

/// Serves all jobs until SIGTERM or SIGINT.
pub fn run(inputs: &Inputs) -> Result<()> {
    let jobs = Settings::load_all(inputs)?;
    let address = start_logging(&jobs);
    let (events, received) = channel();
    watch_signals(&events)?;
    reaper::adopt();
    let daemon = Daemon::new(inputs.clone(), jobs, events);
    let http = match address.as_str() {
        "" => None,
        address => Some(http::start(daemon.clone(), address)?),
    };
    Scheduler::new(daemon)?.run(&received);
    if let Some(http) = http {
        http.stop();
    }
    Ok(())
}

/// Text on a terminal, JSON elsewhere, unless the configuration says which. Returns the address that HTTP listens on, one
/// for all jobs.
fn start_logging(jobs: &[Settings]) -> String {
    let Some(first) = jobs.first() else {
        return String::new();
    };
    let format = match first.text("log.format") {
        "auto" if std::io::stderr().is_terminal() => "text",
        "auto" => "json",
        format => format,
    };
    let masks = jobs
        .iter()
        .fold(Masks::default(), |all, job| all.and(&job.masks()));
    logging::start_with(first, format, masks);
    let mut logged = BTreeSet::new();
    for notice in jobs.iter().flat_map(|job| &job.notices) {
        if logged.insert(notice) {
            tracing::warn!("{notice}");
        }
    }
    first.text("http.address").to_owned()
}

fn watch_signals(events: &Sender<Event>) -> Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP, SIGCHLD]).context("watching for signals")?;
    let events = events.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}
