//! A service on which nothing is configured: it serves the set-up page until a configuration is there, or it is stopped.

use super::daemon::{Daemon, Event};
use super::{Ended, format_of, logging, page, reaper, watch_signals};
use anyhow::Result;
use hubvault_config::{Inputs, Settings, Unconfigured};
use hubvault_model::Masks;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::mpsc::channel;

/// Waits for a configuration.
pub(super) fn run(inputs: &Inputs, new: Unconfigured) -> Result<Ended> {
    let log = &new.service.log;
    logging::start(log, format_of(log), Masks::default());
    let (events, received) = channel();
    watch_signals(&events)?;
    reaper::adopt();
    let daemon = Daemon::new(inputs.clone(), Vec::new(), events);
    tracing::warn!(
        "nothing is configured: there is no configuration file, and no variable names a database, so that nothing is \
         backed up; the page sets it up"
    );
    let http = page::start_set_up(&daemon, inputs, new)?;
    let ended = loop {
        match received.recv() {
            Ok(Event::Signal(SIGINT | SIGTERM)) | Err(_) => break Ended::Stopped,
            Ok(Event::Signal(SIGHUP)) if is_configured(inputs) => break Ended::Configured,
            Ok(_) => {
                reaper::collect();
            }
        }
    };
    http.stop();
    match ended {
        Ended::Stopped => tracing::info!("stopped"),
        Ended::Configured => tracing::info!("starting with the new configuration"),
    }
    Ok(ended)
}

/// Whether there is a configuration now that can be used.
fn is_configured(inputs: &Inputs) -> bool {
    if hubvault_config::unconfigured(inputs).is_some() {
        tracing::warn!("there is no configuration file yet");
        return false;
    }
    match Settings::load_all(inputs) {
        Ok(_) => true,
        Err(error) => {
            tracing::error!("the new configuration cannot be used: {error}");
            false
        }
    }
}
