//! What a person started in the page or over HTTP: the command that does the same, with its answer in JSON.

use super::{Cli, Command, Exit, diff, drill, show};
use crate::text::chain;
use crate::{answer, progress};
use anyhow::{Result, bail};
use clap::Parser;
use hubvault_config::Settings;
use hubvault_engine::state::StateDir;
use hubvault_service::operation::{Action, Operation, Operations, Outcome};
use std::ffi::OsString;

/// Does it and records its result.
pub(super) fn run(settings: &Settings, operation: &Operation) -> Result<Exit> {
    let job = settings.job();
    let all = Operations::of(StateDir::open(job.state_root())?);
    let done = all.lock(operation).and_then(|lock| {
        progress::publish(all.progress(operation.id, &job.name));
        Ok((perform(settings, operation)?, lock))
    });
    let (outcome, why) = match &done {
        Ok((Exit::Done, _)) => (Outcome::Done, None),
        Ok(_) => (Outcome::Warnings, None),
        Err(error) => (Outcome::Failed, Some(chain(error))),
    };
    all.end(operation.id, outcome, why)?;
    // The service says in its log how it ended.
    Ok(done.map_or(Exit::Failing, |(exit, _)| exit))
}

fn perform(settings: &Settings, operation: &Operation) -> Result<Exit> {
    let mut words = vec![
        "hubvault".to_owned(),
        "--json".to_owned(),
        "--no-progress".to_owned(),
    ];
    words.splice(1..1, operation.arguments());
    if operation.action == Action::Compare {
        words.push("--counts".to_owned());
    }
    answer::choose(words.iter().map(OsString::from));
    match &Cli::try_parse_from(words)?.command {
        Command::Verify(args) => show::verify(settings, args),
        Command::Drill(args) => drill::run(settings, args),
        Command::Diff(args) => diff::run(settings, args),
        _ => bail!("{} is no operation of the service", operation.action.name()),
    }
}
