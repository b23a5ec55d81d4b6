//! A command for all jobs, one after the other. Each runs in a process of its own, so that logs, locks and exit codes stay
//! apart.

use super::{Cli, Command, Exit, mail::MailCommand};
use crate::signals;
use crate::text::print;
use anyhow::{Context, Result, bail};
use hubvault_config::Settings;
use hubvault_model::Cancel;
use hubvault_service::child;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// No process has this number.
const NOBODY: u32 = 0;

/// Whether the command works on all jobs and none is named. With `--json` one must be named, as each job has a document of
/// its own.
pub(super) fn is_for_all(cli: &Cli) -> bool {
    let may = matches!(
        &cli.command,
        Command::Backup(_)
            | Command::List(_)
            | Command::Prune(_)
            | Command::Check(_)
            | Command::Status
            | Command::Config(super::ConfigCommand::Check)
            | Command::Mail(MailCommand::Retry)
    );
    may && !cli.json && cli.job.is_none()
}

/// Runs the command for each job, under a heading with its name. A failure does not stop the next.
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
    let mut worst = 0;
    for settings in all {
        let name = settings.job_name.as_deref().unwrap_or_default();
        print(&format!("== {name}\n"))?;
        let mut command = child::same_command(settings, std::env::args_os().skip(1));
        // A signal from the terminal reaches us, and through us the child, only once.
        command.process_group(0);
        let child = child::spawn(command, settings)
            .with_context(|| format!("starting hubvault for the job {name}"))?;
        at_work.store(child.id(), Ordering::Release);
        let code = code_of(child, &cancel);
        at_work.store(NOBODY, Ordering::Release);
        let code = code?;
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
    let status = child.wait().context("waiting for the process")?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
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
