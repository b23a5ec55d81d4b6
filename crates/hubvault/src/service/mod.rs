//! `hubvault serve`: runs on the schedule, each a process of its own, so that whatever happens to a run does
//! not happen to the service, and what a run takes of memory goes back.

mod daemon;
mod timetable;
mod child;
mod chores;
mod reaper;
mod keeper;
mod http;
mod metrics;
pub(crate) mod token;

use crate::config::{Environment, Settings};
use crate::logging;
use anyhow::{Context, Result};
use daemon::{Daemon, Event};
use keeper::Keeper;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(environment: &Environment, config: Option<&Path>) -> Result<()> {
    let settings = Settings::load(environment, config)?;
    start_logging(&settings);
    let (events, heard) = channel();
    watch_signals(&events)?;
    reaper::adopt();
    let daemon = Daemon::new(environment.clone(), config, settings, events);
    let address = daemon.settings().text("http.address").to_owned();
    let http = match address.as_str() {
        "" => None,
        address => Some(http::start(daemon.clone(), address)?),
    };
    Keeper::new(daemon)?.keep(&heard);
    if let Some(http) = http {
        http.stop();
    }
    Ok(())
}

/// Lines for people on a terminal, JSON elsewhere, where the configuration leaves it open.
fn start_logging(settings: &Settings) {
    let format = match settings.text("log.format") {
        "auto" if std::io::stderr().is_terminal() => "text",
        "auto" => "json",
        format => format,
    };
    logging::start_as(settings, format);
    for notice in &settings.notices {
        tracing::warn!("{notice}");
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
