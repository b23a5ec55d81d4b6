//! Children: this program once more, with the configuration that holds.

use super::daemon::Daemon;
use crate::config::STANDARD_INPUT;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Starts `hubvault ARGUMENTS` and returns its process id. The configuration's text goes through a pipe, as it may
/// hold secrets, and as a file that was changed meanwhile may be wrong.
pub(super) fn start(daemon: &Daemon, arguments: &[String]) -> io::Result<u32> {
    let settings = daemon.settings();
    // Also after the program's file was replaced by a newer one.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("hubvault")
        .args(["--config", STANDARD_INPUT])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    if settings.text("log.format") == "auto" && !io::stderr().is_terminal() {
        command
            .env("LOG_FORMAT", "json")
            .env_remove("LOG_FORMAT_FILE");
    }
    // Whoever collects processes waits for it.
    let mut child = command.spawn()?;
    let process = child.id();
    std::thread::spawn(move || {
        if let Some(mut input) = child.stdin.take() {
            let text = settings.source().expose_secret();
            // A child that ended at once is judged by its exit code.
            let _ = input.write_all(text.as_bytes());
        }
    });
    Ok(process)
}

/// Asks a child to end: a run tidies up and ends within two seconds.
pub(super) fn stop(process: u32) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::TERM);
    }
}
