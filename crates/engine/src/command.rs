//! A user's command: run with a time limit, its output bounded, nothing of it left behind.

use hubvault_model::Cancel;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, set_parent_process_death_signal, waitid,
};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much of what a command writes is kept: its end says what went wrong.
const KEPT: usize = 4 << 10;
/// How long the output is waited for once all of the group is killed: somebody outside of it may hold
/// the other end for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program, and what it is given.
    pub argv: Vec<String>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it, ours on timeout and on a cancelled run included.
    pub code: Option<i32>,
    /// Whether its time was up.
    pub timed_out: bool,
    /// The last 4 KiB of what it wrote on standard output and standard error, or on standard error
    /// alone where standard output went into a file.
    pub output: String,
    /// How long it ran.
    pub seconds: f64,
}

impl Ended {
    /// Whether it ended by itself with exit code 0.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

/// By its program alone: arguments, and all of a text for the shell, may hold a password.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.argv.as_slice() {
            [] => Ok(()),
            [shell, flag, text] if shell == "sh" && flag == "-c" => f.write_str(&first_word(text)),
            [program] => f.write_str(&shell_word(program)),
            [program, ..] => write!(f, "{} ...", shell_word(program)),
        }
    }
}

/// The program that a text for the shell begins with; the shell where it begins with anything else, such as a variable.
fn first_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        None if text.chars().all(plain) => text.to_owned(),
        Some((program, _)) if program.chars().all(plain) => format!("{program} ..."),
        _ => "sh ...".to_owned(),
    }
}

/// A word as it is typed into a shell.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

impl CommandLine {
    /// A text for `sh -c`.
    pub fn shell(text: &str) -> Self {
        Self::of(["sh", "-c", text])
    }

    /// A program with its arguments, run without a shell.
    pub fn of<T: Into<String>>(argv: impl IntoIterator<Item = T>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
        }
    }

    /// Runs it to its end, with nothing on standard input and `environment` added to ours. After
    /// `limit`, or when the run is cancelled, it is killed with its whole process group; what it
    /// started in the background and left in its group is killed at its end, too.
    pub fn run(
        &self,
        environment: &[(String, String)],
        limit: Duration,
        cancel: &Cancel,
    ) -> io::Result<Ended> {
        self.start(Vec::new(), None, environment, limit, cancel)
    }

    /// The same with this on standard input.
    pub fn run_with(
        &self,
        input: Vec<u8>,
        environment: &[(String, String)],
        limit: Duration,
        cancel: &Cancel,
    ) -> io::Result<Ended> {
        self.start(input, None, environment, limit, cancel)
    }

    /// The same with its standard output in a file.
    pub fn run_into(
        &self,
        stdout: File,
        environment: &[(String, String)],
        limit: Duration,
        cancel: &Cancel,
    ) -> io::Result<Ended> {
        self.start(Vec::new(), Some(stdout), environment, limit, cancel)
    }

    fn start(
        &self,
        input: Vec<u8>,
        stdout: Option<File>,
        environment: &[(String, String)],
        limit: Duration,
        cancel: &Cancel,
    ) -> io::Result<Ended> {
        let (program, arguments) = self
            .argv
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
        let (output, end) = io::pipe()?;
        let begun = Instant::now();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(if input.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(match stdout {
                Some(file) => Stdio::from(file),
                None => Stdio::from(end.try_clone()?),
            })
            .stderr(end)
            .process_group(0);
        // SAFETY: the closure makes one system call and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let mut child = command.spawn()?;
        // It holds our ends of the pipe.
        drop(command);
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read it is judged by how it ends.
            std::thread::spawn(move || drop(stdin.write_all(&input)));
        }
        let tail = Tail::read(output);
        let timed_out = wait(&child, limit, cancel);
        // The child is not reaped yet, so that its group is still its own.
        if let Some(group) = pid(&child) {
            // It may be gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let status = child.wait()?;
        Ok(Ended {
            code: status.code(),
            timed_out,
            output: tail.text(),
            seconds: begun.elapsed().as_secs_f64(),
        })
    }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// Waits for the end of a child without reaping it; true when its time was up first.
fn wait(child: &Child, limit: Duration, cancel: &Cancel) -> bool {
    let (sender, over) = channel();
    let cancelled = sender.clone();
    let _wake = cancel.on_request(move || {
        // Nobody listens once it is over.
        let _ = cancelled.send(());
    });
    if let Some(pid) = pid(child) {
        std::thread::spawn(move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(
                waitid(WaitId::Pid(pid), options),
                Err(rustix::io::Errno::INTR)
            ) {}
            let _ = sender.send(());
        });
    }
    over.recv_timeout(limit) == Err(RecvTimeoutError::Timeout)
}

/// The end of an output that is read by a thread.
struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    over: Receiver<()>,
}

impl Tail {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (sender, over) = channel();
        let shared = Arc::clone(&kept);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..read]);
                let surplus = kept.len().saturating_sub(KEPT);
                kept.drain(..surplus);
            }
            let _ = sender.send(());
        });
        Self { kept, over }
    }

    fn text(self) -> String {
        // Whoever else holds the pipe is not waited for.
        let _ = self.over.recv_timeout(LAST_WORDS);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn run(command: &CommandLine, limit: Duration) -> Ended {
        command.run(&[], limit, &Cancel::new()).unwrap()
    }

    #[test]
    fn the_end_of_both_outputs_and_the_code_are_known() {
        let ended = run(
            &CommandLine::shell("seq 100000; echo \"bad $WHY\" >&2; exit 3"),
            LONG,
        );
        assert_eq!((ended.code, ended.timed_out), (Some(3), false));
        assert!(ended.output.ends_with("bad \n") && ended.output.contains("99999"));
        assert!(ended.output.len() <= KEPT && !ended.is_success());
        let environment = [("WHY".to_owned(), "luck".to_owned())];
        let command = CommandLine::of(["sh", "-c", "echo $WHY"]);
        let ended = command.run(&environment, LONG, &Cancel::new()).unwrap();
        assert_eq!(ended.output, "luck\n");
        assert!(ended.is_success());
    }

    #[test]
    fn a_group_is_killed_when_its_time_is_up_and_when_the_run_is_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let text = format!(
            "sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait",
            pids.display()
        );
        let ended = run(&CommandLine::shell(&text), Duration::from_secs(2));
        assert_eq!((ended.code, ended.timed_out), (None, true));
        let sleeper = std::fs::read_to_string(&pids).unwrap();
        // Gone, or waiting for its reaper; a kill takes its moment.
        let is_over = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", sleeper.trim()));
            stat.map_or(true, |stat| stat.contains(" Z "))
        };
        let deadline = Instant::now() + LONG;
        while !is_over() {
            assert!(Instant::now() < deadline, "it is still there");
            std::thread::yield_now();
        }

        let cancel = Cancel::new();
        cancel.request();
        let ended = CommandLine::shell("sleep 1000")
            .run(&[], LONG, &cancel)
            .unwrap();
        assert_eq!((ended.code, ended.timed_out), (None, false));
    }

    #[test]
    fn standard_output_goes_into_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let command = CommandLine::shell("echo data; echo words >&2");
        let ended = command.run_into(file.reopen().unwrap(), &[], LONG, &Cancel::new());
        assert_eq!(ended.unwrap().output, "words\n");
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "data\n");
    }

    #[test]
    fn what_cannot_be_started_is_an_error() {
        let run = |command: CommandLine| command.run(&[], LONG, &Cancel::new());
        assert!(run(CommandLine::of(["/nowhere/at-all"])).is_err());
        assert!(run(CommandLine { argv: Vec::new() }).is_err());
    }

    #[test]
    fn it_is_printed_without_its_arguments() {
        let typed = |argv: &[&str]| CommandLine::of(argv.iter().copied()).to_string();
        assert_eq!(typed(&["df", "-phunter2"]), "df ...");
        assert_eq!(typed(&["/opt/my dump"]), "'/opt/my dump'");
        assert_eq!(CommandLine::shell("PW=hunter2 dump").to_string(), "sh ...");
        assert_eq!(CommandLine::shell("'hunter2'").to_string(), "sh ...");
        assert_eq!(
            CommandLine::shell("dump -p hunter2").to_string(),
            "dump ..."
        );
        assert_eq!(CommandLine::shell("true").to_string(), "true");
    }
}
