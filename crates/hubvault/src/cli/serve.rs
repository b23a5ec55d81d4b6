//! `hubvault serve`.

use super::Exit;
use anyhow::{Context, Result};
use hubvault_config::Inputs;
use hubvault_service::{Ended, child, run as serve};
use std::os::unix::process::CommandExt;

/// Serves until a signal ends it. With a configuration that was made meanwhile, the process starts again.
pub(crate) fn run(inputs: &Inputs) -> Result<Exit> {
    match serve(inputs)? {
        Ended::Stopped => Ok(Exit::Done),
        Ended::Configured => {
            let arguments = std::env::args_os().skip(1);
            let error = child::this_program().args(arguments).exec();
            Err(error).context("starting the service with its configuration; start it again")
        }
    }
}
