//! Children: this program once more, for one job, with the configuration that holds.

use hubvault_config::{STANDARD_INPUT, Settings};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The command line that this process was given, for one job, to be started by [`spawn`].
pub fn same_command(
    settings: &Settings,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Command {
    // Also after the program's file was replaced by a newer one.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("hubvault")
        .args(settings.job_name.iter().flat_map(|name| ["--job", name]))
        .args(arguments)
        .stdin(Stdio::piped());
    command
}

/// Starts it, with the configuration's text on its standard input: it may hold secrets.
pub fn spawn(mut command: Command, settings: &Settings) -> io::Result<Child> {
    let mut child = command.spawn()?;
    let input = child.stdin.take();
    let source = settings.source().clone();
    std::thread::spawn(move || {
        if let Some(mut input) = input {
            // A child that ended at once is judged by its exit code.
            let _ = input.write_all(source.expose_secret().as_bytes());
        }
    });
    Ok(child)
}

/// Starts `hubvault ARGUMENTS` for a job beside the service, and returns its process id.
pub(super) fn start(settings: &Settings, arguments: &[String]) -> io::Result<u32> {
    // A file that was changed meanwhile may be wrong.
    let mut command = same_command(settings, ["--config", STANDARD_INPUT]);
    command.args(arguments);
    command.stdout(Stdio::null());
    if settings.text("log.format") == "auto" && !io::stderr().is_terminal() {
        command
            .env("LOG_FORMAT", "json")
            .env_remove("LOG_FORMAT_FILE");
    }
    // Whoever collects processes waits for it.
    Ok(spawn(command, settings)?.id())
}

/// Asks a child to end: a run tidies up and ends within two seconds.
pub fn stop(process: u32) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::TERM);
    }
}
