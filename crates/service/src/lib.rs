//! `hubvault serve`: runs on the schedule, each a process of its own: a run that crashes does not take the service with
//! it, and its memory is returned.

pub mod logging;
pub mod restore_request;
pub mod operation;
pub mod set_up;
mod daemon;
mod timetable;
pub mod child;
mod periodic_tasks;
mod reaper;
mod running_operations;
mod job_scheduler;
mod scheduler;
mod metrics;
pub mod token;
mod oidc;
mod http;
mod page;
mod first_visit;

use anyhow::{Context, Result};
use daemon::{Daemon, Event};
use hubvault_config::{Inputs, LogFormat, LogOptions, Settings};
use hubvault_model::Masks;
use scheduler::Scheduler;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::mpsc::{Sender, channel};

/// Why the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A signal asked for it.
    Stopped,
    /// A configuration was made, which it is to be started again with.
    Configured,
}

/// Serves all jobs until SIGTERM or SIGINT. Where nothing is configured, it serves the set-up page until that is done.
pub fn run(inputs: &Inputs) -> Result<Ended> {
    if let Some(new) = hubvault_config::unconfigured(inputs) {
        return first_visit::run(inputs, new);
    }
    let jobs = Settings::load_all(inputs)?;
    let address = start_logging(&jobs);
    let (events, received) = channel();
    watch_signals(&events)?;
    reaper::adopt();
    let daemon = Daemon::new(inputs.clone(), jobs, events);
    let http = address
        .map(|address| page::start(&daemon, &address))
        .transpose()?;
    Scheduler::new(daemon)?.run(&received);
    if let Some(http) = http {
        http.stop();
    }
    Ok(Ended::Stopped)
}

/// Text on a terminal, JSON elsewhere, unless the configuration says which. Returns the address that HTTP listens on,
/// one for all jobs.
fn start_logging(jobs: &[Settings]) -> Option<String> {
    let service = &jobs.first()?.service;
    let masks = jobs
        .iter()
        .fold(Masks::default(), |all, job| all.and(job.masks()));
    logging::start(&service.log, format_of(&service.log), masks);
    let mut logged = BTreeSet::new();
    for notice in jobs.iter().flat_map(|job| &job.notices) {
        if logged.insert(notice) {
            tracing::warn!("{notice}");
        }
    }
    service.http_address.clone()
}

fn format_of(log: &LogOptions) -> LogFormat {
    match log.format {
        LogFormat::Auto if std::io::stderr().is_terminal() => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        format => format,
    }
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
