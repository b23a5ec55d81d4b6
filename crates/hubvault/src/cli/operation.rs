//! What a person started in the page or over HTTP: the command that does the same, with its answer in JSON.

use super::{Cli, Command, Exit, diff, drill, restore, show};
use crate::text::chain;
use crate::{answer, progress};
use anyhow::{Context, Error, Result, bail};
use clap::Parser;
use hubvault_config::Settings;
use hubvault_engine::state::StateDir;
use hubvault_model::Cancel;
use hubvault_postgres::{Session, target_facts};
use hubvault_service::operation::{Action, Operation, Operations, Outcome};
use hubvault_service::restore_request::RestoreRequest;
use std::ffi::OsString;

/// Does it and records its result.
pub(super) fn run(settings: &Settings, operation: &Operation) -> Result<Exit> {
    let job = settings.job();
    let all = Operations::of(StateDir::open(job.state_root())?);
    let done = all.lock(operation).and_then(|lock| {
        progress::publish(all.progress(operation.id, &job.name));
        Ok((perform(settings, operation, &all)?, lock))
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

fn perform(settings: &Settings, operation: &Operation, all: &Operations) -> Result<Exit> {
    let mut words = vec![
        "hubvault".to_owned(),
        "--json".to_owned(),
        "--no-progress".to_owned(),
    ];
    words.splice(1..1, operation.arguments());
    match &operation.action {
        Action::Compare => words.push("--counts".to_owned()),
        Action::Restore(RestoreRequest::Living { .. }) => words.push("--yes".to_owned()),
        _ => {}
    }
    if operation.action.changes_living() {
        let shown = all
            .preview_of(operation)
            .context("the preview of this restore was removed; make a new one")?;
        words.push(format!("--as-previewed={}", shown.display()));
    }
    if let Some(request) = operation.action.restore() {
        permitted(settings, request)?;
    }
    answer::choose(words.iter().map(OsString::from));
    match &Cli::try_parse_from(words)?.command {
        Command::Verify(args) => show::verify(settings, args),
        Command::Drill(args) => drill::run(settings, args),
        Command::Diff(args) => diff::run(settings, args),
        Command::Restore(args) => restore::run(settings, args),
        _ => bail!("{} is no operation of the service", operation.action.name()),
    }
}

/// Whether the configuration permits such a restore over HTTP. A new schema must be one that no session looks into by
/// itself: its tables would hide those that it has now.
fn permitted(settings: &Settings, request: &RestoreRequest) -> Result<()> {
    request.permitted(&settings.service).map_err(Error::msg)?;
    if let RestoreRequest::NewSchema { name, .. } = request {
        let mut session = Session::connect(&settings.job().database, &Cancel::new())?;
        if let Some(why) = target_facts::schema_in_use(&mut session, name)? {
            bail!("{why}; name another schema");
        }
    }
    Ok(())
}
