//! Child processes: this program again, for one job. The request and the configuration in effect travel through a pipe
//! to the child's standard input; the result of a run comes back on its standard output.

use super::operation::{Operation, Operations};
use super::set_up::{Found, SetUp};
use anyhow::{Context, Result, bail};
use hubvault_config::{Environment, Inputs, LogFormat, Settings};
use hubvault_engine::run::RunRequest;
use hubvault_engine::state::StateDir;
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// The name of the child process of the set-up page, which has no job.
pub const SET_UP: &str = "set-up";

/// What the service starts a child process for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// A backup run.
    Backup(RunRequest),
    /// Run all checks, send the notifications of what changed.
    Check,
    /// Send the messages in the queue.
    RetryMail,
    /// Try copies again, and look for those that are at their destinations.
    Copies,
    /// Send the digest.
    Digest,
    /// What a person started.
    Operation(Operation),
    /// Run all checks and notify nobody; the answer is what they found.
    Examine,
    /// Plan a run and write nothing; the answer is what it would take.
    Plan,
}

impl Task {
    /// Its name in the log and in the list of processes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Backup(_) => "backup",
            Self::Check => "check",
            Self::RetryMail => "mail-retry",
            Self::Copies => "copies",
            Self::Digest => "digest",
            Self::Operation(operation) => operation.action.name(),
            Self::Examine => "examine",
            Self::Plan => "plan",
        }
    }
}

/// How a run ended, as the child process reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunResult {
    /// Published, proven, without a warning.
    Proven,
    /// Published, with warnings or unproven.
    Warnings,
    /// A run that began since the due time replaces this one.
    AlreadyDone,
    /// Another run holds the lock.
    Locked,
    /// Nothing was published.
    Failed,
}

/// A child process that the service started. Whoever collects processes waits for it.
pub(super) struct Process {
    pub(super) id: u32,
    stdout: Option<ChildStdout>,
}

impl Process {
    /// The result of a run, once the process has ended; `None` if it crashed.
    pub(super) fn result(self) -> Option<RunResult> {
        let mut stdout = self.stdout?;
        // A process that the run left behind may hold the pipe open: read what is there, wait for nothing.
        ioctl_fionbio(&stdout, true).ok()?;
        let mut answer = Vec::new();
        let _ = stdout.read_to_end(&mut answer);
        // The answer is the last line: a program that the run started may have written before it.
        let last = answer
            .trim_ascii_end()
            .rsplit(|byte| *byte == b'\n')
            .next()?;
        serde_json::from_slice(last).ok()
    }
}

/// This program, without arguments.
pub fn this_program() -> Command {
    // Also after the program's file was replaced by a newer one.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("hubvault");
    command
}

/// This program with these arguments, for one job, to be started by [`spawn`].
pub fn same_command(
    settings: &Settings,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Command {
    let mut command = this_program();
    command
        .args(settings.job_name.iter().flat_map(|name| ["--job", name]))
        .args(arguments)
        .stdin(Stdio::piped());
    command
}

/// Starts it, with the configuration's text on its standard input: it may hold secrets.
pub fn spawn(command: Command, settings: &Settings) -> io::Result<Child> {
    spawn_with(command, String::new(), settings.source().clone())
}

fn spawn_with(mut command: Command, request: String, source: SecretString) -> io::Result<Child> {
    let mut child = command.spawn()?;
    let input = child.stdin.take();
    std::thread::spawn(move || {
        if let Some(mut input) = input {
            // A child that ended early is judged by its result or exit code.
            let _ = input
                .write_all(request.as_bytes())
                .and_then(|()| input.write_all(source.expose_secret().as_bytes()));
        }
    });
    Ok(child)
}

/// Starts a task for a job. Its configuration is the one in effect: the file may be invalid meanwhile.
pub(super) fn start(settings: &Settings, task: &Task) -> io::Result<Process> {
    let request = serde_json::to_string(task)? + "\n";
    let mut command = same_command(settings, ["child", task.name()]);
    command.stdout(match task {
        Task::Backup(_) | Task::Examine | Task::Plan => Stdio::piped(),
        Task::Operation(operation) => {
            let state = StateDir::of(settings.job().state_root());
            Operations::of(state).answer_file(operation.id)?.into()
        }
        _ => Stdio::null(),
    });
    if settings.service.log.format == LogFormat::Auto && !io::stderr().is_terminal() {
        command
            .env("LOG_FORMAT", "json")
            .env_remove("LOG_FORMAT_FILE");
    }
    let mut child = spawn_with(command, request, settings.source().clone())?;
    Ok(Process {
        id: child.id(),
        stdout: child.stdout.take(),
    })
}

/// So much of an answer is read, in bytes.
const LONGEST_ANSWER: u64 = 32 << 20;

/// How a task ended that answers: the only line on its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskAnswer {
    /// What it found.
    Found(Value),
    /// Why it could not look.
    Failed(String),
}

/// Starts a task that answers, and waits for that. One that takes longer than `limit` is stopped.
pub(super) fn ask(settings: &Settings, task: &Task, limit: Duration) -> Result<Value> {
    let name = task.name();
    let process = start(settings, task).with_context(|| format!("starting {name}"))?;
    answer_of(process, name, limit)
}

/// Does a step of the set-up page; its secrets travel on the standard input.
pub(super) fn set_up(asked: &SetUp, limit: Duration) -> Result<Found> {
    let mut command = this_program();
    command.args(["child", SET_UP]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let request = SecretString::from(serde_json::to_string(asked)?);
    let child = spawn_with(command, String::new(), request).context("starting a process")?;
    let process = Process {
        id: child.id(),
        stdout: child.stdout,
    };
    let found = answer_of(process, "this step", limit)?;
    Ok(serde_json::from_value(found)?)
}

fn answer_of(process: Process, name: &str, limit: Duration) -> Result<Value> {
    let (id, mut stdout) = (
        process.id,
        process
            .stdout
            .context("it has no output")?
            .take(LONGEST_ANSWER),
    );
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut answer = Vec::new();
        let read = stdout.read_to_end(&mut answer);
        // Nobody waits for it after the time limit.
        let _ = sender.send(read.map(|_| answer));
    });
    let Ok(answer) = receiver.recv_timeout(limit) else {
        stop(id);
        bail!(
            "{name} took longer than {} s and was stopped",
            limit.as_secs()
        );
    };
    let answer = answer.with_context(|| format!("reading the answer of {name}"))?;
    match serde_json::from_slice(&answer) {
        Ok(TaskAnswer::Found(found)) => Ok(found),
        Ok(TaskAnswer::Failed(why)) => bail!("{why}"),
        Err(_) => bail!("{name} ended without an answer; the log of the service says why"),
    }
}

/// Reads, in the child process, the task and the configuration from standard input.
pub fn receive() -> Result<(Task, Inputs)> {
    let mut input = io::stdin().lock();
    let (mut task, mut source) = (String::new(), String::new());
    input
        .read_line(&mut task)
        .and_then(|_| input.read_to_string(&mut source))
        .context("reading the service's request from standard input")?;
    let task = serde_json::from_str(&task)
        .context("only hubvault serve starts this command; its request is not on standard input")?;
    let inputs = Inputs::with_text(Environment::of_process(), SecretString::from(source));
    Ok((task, inputs))
}

/// Reads, in the child process of the set-up page, what is asked.
pub fn receive_set_up() -> Result<SetUp> {
    let input = io::read_to_string(io::stdin().lock());
    serde_json::from_str(&input.context("reading the request from standard input")?)
        .context("only hubvault serve starts this command; its request is not on standard input")
}

/// Asks a child process to end: a run removes what it has written and ends within two seconds.
pub fn stop(process: u32) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::TERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_model::BackupId;

    #[test]
    fn a_request_arrives_as_it_was_sent_in_one_line() {
        let request = RunRequest {
            due: Some("2026-01-05T02:00:00Z".parse().unwrap()),
            failed_attempts: vec![BackupId::random()],
            retry_after: Some(Duration::from_mins(5)),
            notify: false,
            ..RunRequest::by_hand()
        };
        for task in [Task::Backup(request), Task::Check, Task::Digest] {
            let text = serde_json::to_string(&task).unwrap();
            assert!(!text.contains('\n'), "{text}");
            assert_eq!(serde_json::from_str::<Task>(&text).unwrap(), task);
        }
    }

    #[test]
    fn a_result_is_read_although_a_process_still_holds_the_pipe_open() {
        let script = "sleep 60 & echo $! >&2; echo noise; echo '\"locked\"'";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.wait().unwrap();
        let mut left = String::new();
        let mut stderr = io::BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut left).unwrap();
        let process = Process {
            id: child.id(),
            stdout: child.stdout.take(),
        };
        assert_eq!(process.result(), Some(RunResult::Locked));
        stop(left.trim().parse().unwrap());
    }
}
