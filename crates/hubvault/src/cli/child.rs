//! `hubvault child`: what the service starts. The task and the configuration come on standard input.

use super::check::{self, CheckArgs};
use super::mail::{self, MailCommand};
use super::{Cli, Command, Exit, backup, copies, init, operation};
use crate::text::{chain, print};
use anyhow::Result;
use clap::Args;
use hubvault_config::{Environment, LogFormat, Settings};
use hubvault_service::child::{SET_UP, Task, TaskAnswer, receive, receive_set_up};
use hubvault_service::logging;
use serde_json::Value;
use std::io::IsTerminal;

/// `hubvault child`
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    /// The task's name, for the list of processes
    task: String,
}

impl Cli {
    /// Whether a service started it.
    pub(crate) fn is_of_service(&self) -> bool {
        matches!(self.command, Command::Child(_))
    }
}

/// Does the task.
pub(crate) fn run(args: &ChildArgs, variables: &Environment, job: Option<&str>) -> Result<Exit> {
    if args.task == SET_UP {
        return set_up(variables);
    }
    let (task, inputs) = receive()?;
    let settings = &Settings::load(&inputs, job)?;
    logging::start_for(settings);
    match task {
        Task::Backup(request) => {
            let result = backup::run_requested(settings, request);
            print(&serde_json::to_string(&result)?)?;
            Ok(Exit::Done)
        }
        Task::Check => check::run(settings, &CheckArgs::alert()),
        Task::RetryMail => mail::run(settings, &MailCommand::Retry),
        Task::Copies => copies::tend(settings),
        Task::Digest => mail::run(settings, &MailCommand::digest()),
        Task::Operation(asked) => operation::run(settings, &asked),
        Task::Plan => reply(backup::planned(settings.job())),
        Task::Examine => reply(check::examined(settings)),
    }
}

/// A step of the set-up page, which has no configuration.
fn set_up(variables: &Environment) -> Result<Exit> {
    let asked = receive_set_up()?;
    let format = if std::io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    };
    logging::start_lines(tracing::Level::WARN, format, asked.masks());
    let found = init::set_up(variables, &asked);
    reply(found.and_then(|found| Ok(serde_json::to_value(found)?)))
}

/// Prints the answer, for the service.
fn reply(found: Result<Value>) -> Result<Exit> {
    let answer = match found {
        Ok(found) => TaskAnswer::Found(found),
        Err(error) => TaskAnswer::Failed(logging::masked(&chain(&error))),
    };
    print(&serde_json::to_string(&answer)?)?;
    Ok(Exit::Done)
}
