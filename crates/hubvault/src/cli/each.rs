//! A command for all jobs, one after the other: for each this program once more, so that none of them is
//! mixed up with another, in logs, locks or exit codes.

use super::{Cli, Command, Exit, mail::MailCommand};
use crate::config::Settings;
use crate::service::child;
use crate::signals;
use crate::text::print;
use anyhow::{Context, Result, bail};
use hubvault_model::Cancel;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Child;

/// Whether it can be asked of all jobs, and no job is named. With `--json` each job has a document of its own,
/// so that one has to be named.
pub(super) fn is_for_all(cli: &Cli) -> bool {
    let may = match &cli.command {
        Command::Backup(args) => !args.json,
        Command::List(args) => !args.json,
        Command::Prune(args) => !args.json,
        Command::Check(args) => !args.json,
        Command::Status { json } => !json,
        Command::Config(super::ConfigCommand::Check) | Command::Mail(MailCommand::Retry) => true,
        _ => false,
    };
    may && cli.job.is_none()
}

/// Runs the command line for each, with its name before what it prints. One that fails does not keep the next
/// from its turn.
pub(super) fn run(all: &[Settings]) -> Result<Exit> {
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let arguments = without_config(std::env::args_os().skip(1));
    let mut worst = 0;
    for settings in all {
        let name = settings.job_name.as_deref().unwrap_or_default();
        print(&format!("== {name}\n"))?;
        let mut command = child::command(settings, &arguments);
        // A signal from the terminal comes to us, and from us to it: once.
        command.process_group(0);
        let child = child::spawn(command, settings)
            .with_context(|| format!("starting hubvault for the job {name}"))?;
        let code = code_of(child, &cancel)?;
        if cancel.is_requested() {
            bail!("stopped on request, at the job {name}");
        }
        if severity(code) > severity(worst) {
            worst = code;
        }
    }
    Ok(Exit::Code(worst))
}

fn code_of(mut child: Child, cancel: &Cancel) -> Result<u8> {
    let process = child.id();
    let _stop = cancel.on_request(move || child::stop(process));
    let status = child.wait().context("waiting for it")?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Nothing wrong, warnings, anything else, failed.
fn severity(code: u8) -> u8 {
    match code {
        0 => 0,
        3 => 1,
        1 => 3,
        _ => 2,
    }
}

/// The configuration was read already, and goes to each child as it was read.
fn without_config<T: AsRef<std::ffi::OsStr>>(arguments: impl Iterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    let mut is_value = false;
    for argument in arguments {
        let text = argument.as_ref().to_string_lossy();
        let names = text == "--config";
        if !is_value && !names && !text.starts_with("--config=") {
            kept.push(argument);
        }
        is_value = names && !is_value;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_counts() {
        let worst = |codes: &[u8]| codes.iter().copied().max_by_key(|code| severity(*code));
        assert_eq!(worst(&[0, 3, 0]), Some(3));
        assert_eq!(worst(&[3, 2, 0]), Some(2));
        assert_eq!(worst(&[2, 1, 3]), Some(1));
    }

    #[test]
    fn a_child_gets_the_configuration_by_itself() {
        let of = |words: &str| without_config(words.split(' ')).join(" ");
        assert_eq!(of("--config a.toml check disk"), "check disk");
        assert_eq!(of("check --config=a.toml --alert"), "check --alert");
        assert_eq!(of("--config --config check"), "check");
    }
}
