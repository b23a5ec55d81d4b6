//! `hubvault serve`: runs on the schedule, each a process of its own, so that whatever happens to a run does
//! not happen to the service, and what a run takes of memory goes back.

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
    let (events, heard) = channel();
    watch_signals(&events)?;
    reaper::adopt();
    let daemon = Daemon::new(inputs.clone(), jobs, events);
    let http = match address.as_str() {
        "" => None,
        address => Some(http::start(daemon.clone(), address)?),
    };
    Scheduler::new(daemon)?.keep(&heard);
    if let Some(http) = http {
        http.stop();
    }
    Ok(())
}

/// Lines for people on a terminal, JSON elsewhere, where the configuration leaves it open. Returns where HTTP
/// is to listen, which is one for all jobs, too.
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
    let mut told = BTreeSet::new();
    for notice in jobs.iter().flat_map(|job| &job.notices) {
        if told.insert(notice) {
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
