//! A command for all jobs, one after the other. Each runs in a process of its own, so that logs, locks and exit codes stay
//! apart.

use super::copies::CopiesCommand;
use super::{Cli, Command, Exit, mail::MailCommand};
use crate::text::print;
use crate::{answer, signals};
use anyhow::{Context, Result, bail};
use hubvault_config::Settings;
use hubvault_model::Cancel;
use hubvault_service::child;
use serde_json::{Value, json};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// No process has this number.
const NOBODY: u32 = 0;

/// Whether the command works on all jobs and none is named.
pub(super) fn is_for_all(cli: &Cli) -> bool {
    let may = matches!(
        &cli.command,
        Command::Backup(_)
            | Command::List(_)
            | Command::Prune(_)
            | Command::Check(_)
            | Command::Status
            | Command::Copies(CopiesCommand::Sync { .. } | CopiesCommand::Verify { .. })
            | Command::Config(super::ConfigCommand::Check)
            | Command::Mail(MailCommand::Retry)
    );
    let is_elsewhere = matches!(&cli.command, Command::List(args) if args.place.is_some());
    may && !is_elsewhere && cli.job.is_none()
}

/// Runs the command for each job, under a heading with its name; with `--json` their answers are one document. A failure
/// does not stop the next.
pub(super) fn run(all: &[Settings]) -> Result<Exit> {
    let cancel = Cancel::new();
    let at_work = Arc::new(AtomicU32::new(NOBODY));
    let last = Arc::clone(&at_work);
    // It has as much time to clean up as we have, and gets the signal later.
    let _signals = signals::watch(cancel.clone(), move || {
        let process = last.load(Ordering::Acquire);
        if process != NOBODY {
            child::stop(process);
            wait_a_moment_for(process);
        }
    })?;
    let (mut worst, mut answers) = (0, Vec::new());
    for settings in all {
        let name = settings.job_name.as_deref().unwrap_or_default();
        if !answer::is_json() {
            print(&format!("== {name}\n"))?;
        }
        let mut command = child::same_command(settings, std::env::args_os().skip(1));
        // A signal from the terminal reaches us, and through us the child, only once.
        command.process_group(0);
        if answer::is_json() {
            command.stdout(Stdio::piped());
        }
        let child = child::spawn(command, settings)
            .with_context(|| format!("starting hubvault for the job {name}"))?;
        at_work.store(child.id(), Ordering::Release);
        let ended = ended(child, &cancel);
        at_work.store(NOBODY, Ordering::Release);
        let (code, answer) = ended?;
        answers.push(json!({ "job": name, "exit_code": code, "answer": answer }));
        if cancel.is_requested() {
            bail!("stopped on request, at the job {name}");
        }
        if severity(code) > severity(worst) {
            worst = code;
        }
    }
    if answer::is_json() {
        answer::json(&json!({ "jobs": answers }))?;
    }
    Ok(Exit::Code(worst))
}

/// The exit code of a job's process, and its answer where that is to be part of ours.
fn ended(mut child: Child, cancel: &Cancel) -> Result<(u8, Value)> {
    let process = child.id();
    let _stop = cancel.on_request(move || child::stop(process));
    let mut text = String::new();
    if let Some(output) = &mut child.stdout {
        output
            .read_to_string(&mut text)
            .context("reading the answer of the process")?;
    }
    let status = child.wait().context("waiting for the process")?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    // A process that was killed has none.
    Ok((code, serde_json::from_str(&text).unwrap_or_default()))
}

fn wait_a_moment_for(process: u32) {
    let place = PathBuf::from(format!("/proc/{process}"));
    let begun = Instant::now();
    while place.exists() && begun.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(20));
    }
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
}
