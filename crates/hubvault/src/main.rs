//! hubvault: backups of a product on `PostgreSQL` that come back.
//!
//! The binary reads the configuration, hands a job to the engine and prints what came of it.

mod text;
mod config;
mod logging;
mod progress;
mod signals;
mod service;
mod cli;

use clap::Parser;
use cli::{Cli, Exit};
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(&Cli::parse()) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Failing) => ExitCode::FAILURE,
        Ok(Exit::Warnings) => ExitCode::from(3),
        // EX_TEMPFAIL of sysexits.h.
        Ok(Exit::Busy) => ExitCode::from(75),
        Ok(Exit::Code(code)) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {}", logging::masked(&text::chain(&error)));
            let of_configuration = error.is::<config::ConfigError>();
            let code = signals::exit_code().unwrap_or(if of_configuration { 2 } else { 1 });
            ExitCode::from(code)
        }
    }
}
