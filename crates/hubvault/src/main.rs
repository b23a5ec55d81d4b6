//! hubvault: backups of a product on `PostgreSQL` that come back.
//!
//! The binary reads the configuration, hands a job to the engine and prints what came of it.

mod screen;
mod text;
mod answer;
mod progress;
mod terminal;
mod signals;
mod failure;
mod cli;
mod unconfigured;

use cli::Exit;
use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};
use std::process::ExitCode;

fn main() -> ExitCode {
    keep_memory_private();
    keep_own_rights();
    signals::outlive_the_terminal();
    answer::choose(std::env::args_os().skip(1));
    let run = |cli: cli::Cli| cli::run(&cli).map_err(|error| unconfigured::explained(error, &cli));
    match cli::parse().and_then(run) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Failing) => ExitCode::FAILURE,
        Ok(Exit::Warnings) => ExitCode::from(3),
        Ok(Exit::Code(code)) => ExitCode::from(code),
        Err(error) => ExitCode::from(failure::report(&error)),
    }
}

/// A umask that takes rights from the owner would leave directories that hubvault cannot enter and files that it cannot
/// read again. What it says of others holds, also for the commands that hubvault starts.
fn keep_own_rights() {
    let mask = umask(Mode::RWXG | Mode::RWXO);
    umask(mask & !Mode::RWXU);
}

/// Passwords are in the memory of this process. No image of it goes to the disk, and other processes of the same user
/// cannot read its memory or environment (`PR_SET_DUMPABLE`, prctl(2)).
fn keep_memory_private() {
    let limit = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Core)
    };
    if let Err(error) = setrlimit(Resource::Core, limit) {
        text::complain(&format!(
            "warning: a crash may write a core file with secrets: setrlimit: {error}"
        ));
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        text::complain(&format!(
            "warning: other processes of this user can read the memory of this one: prctl: {error}"
        ));
    }
}
