//! The programs of a throwaway server: `initdb`, and `postgres` in its sandbox, by a thread that waits for it.

use super::directory::ServerDirectory;
use super::nameless::{self, Name};
use super::options::{Isolation, ThrowawayOptions};
use super::reap::{Adoption, Mark, Server, own_network};
use super::sandbox::{self, Confinement, Namespaces, Sandbox};
use super::user::{ServerUser, as_user};
use crate::dump::tools::{self, Tool};
use crate::error::PgError;
use crate::memory_file::in_private_memory;
use hubvault_model::Cancel;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret, SecretString};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

/// The users of the programs when hubvault runs as root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Users {
    /// Creates the data: `initdb` requires a user that has a name.
    pub(super) makes: ServerUser,
    /// Runs the server.
    pub(super) runs: ServerUser,
}

fn set_environment(command: &mut Command, isolation: &Isolation) {
    match isolation.environment() {
        None => tools::bare(command),
        Some(environment) => sandbox::only(command, environment),
    }
}

/// Makes the data.
pub(super) fn initdb(
    bin: &Path,
    directory: &ServerDirectory,
    options: &ThrowawayOptions,
    password: Option<&SecretString>,
    users: Option<&Users>,
    cancel: &Cancel,
) -> Result<(), PgError> {
    let initdb = |locale: &str, name: &Name| {
        let mut command = Command::new(bin.join("initdb"));
        set_environment(&mut command, &options.isolation);
        command
            .arg("-D")
            .arg(directory.data())
            .current_dir(directory.path());
        command.args(["-U", &options.superuser, "-E", "UTF8", "--no-sync"]);
        command.arg(format!("--locale={locale}"));
        // A segment of zeros is copied with the cluster.
        command.arg("--wal-segsize=4");
        if let Some(users) = users {
            command.uid(users.makes.uid).gid(users.runs.gid);
        }
        name.apply(&mut command)?;
        let Some(password) = password else {
            command.args(["-A", "trust"]);
            return tools::run(command, &[], cancel);
        };
        let file = in_private_memory("hubvault-password", password.expose_secret().as_bytes())?;
        command.args(["-A", "scram-sha-256"]);
        command.arg(format!("--pwfile=/proc/self/fd/{}", file.as_raw_fd()));
        let number = file.as_raw_fd();
        // SAFETY: the descriptor stays open until the program has ended.
        unsafe {
            command.pre_exec(move || {
                let fd = std::os::fd::BorrowedFd::borrow_raw(number);
                Ok(fcntl_setfd(fd, FdFlags::empty())?)
            });
        }
        tools::run(command, &[], cancel)
    };
    // Older systems do not have C.UTF-8.
    let made = |name: &Name| initdb("C.UTF-8", name).or_else(|_| initdb("C", name));
    match made(&Name::Known) {
        Err(error) if nameless::is_cause(&error) => {
            let others = Name::others(directory.path());
            let is_made = others.iter().any(|name| made(name).is_ok());
            is_made.then_some(()).ok_or_else(nameless::error)
        }
        other => other.map(|_| ()),
    }
}

/// A running server; when dropped without [`Running::end`], its thread ends it.
#[derive(Debug)]
pub(super) struct Running {
    stop: Sender<()>,
    keeper: JoinHandle<Confinement>,
}

impl Running {
    /// Starts the server with `command`.
    pub(super) fn start(
        mut command: Command,
        sandbox: Option<Sandbox>,
        users: Option<Users>,
    ) -> Result<Self, String> {
        let (stop, stopped) = channel();
        let (started, result) = channel();
        // The kernel kills the server when the thread that forked it ends: it gets a thread of
        // its own, which lives as long as this value. Namespaces are that thread's, too.
        let keeper = std::thread::spawn(move || {
            let mut confined = match sandbox
                .map(|sandbox| Confined::prepare(sandbox, users, &mut command))
                .transpose()
            {
                Ok(confined) => confined,
                Err(error) => {
                    let _ = started.send(Err(error.to_string()));
                    return Confinement::default();
                }
            };
            match command.spawn() {
                Ok(child) => {
                    let pid = child.id();
                    let server = confined.as_mut().map(|confined| confined.started(pid));
                    let _ = started.send(Ok(()));
                    keep(child, &stopped);
                    drop(server);
                }
                Err(error) => {
                    let _ = started.send(Err(error.to_string()));
                }
            }
            confined.map(Confined::end).unwrap_or_default()
        });
        let outcome = result.recv().unwrap_or_else(|error| Err(error.to_string()));
        outcome.map(|()| Self { stop, keeper })
    }

    /// Ends the server from any thread, without waiting for it.
    pub(super) fn ender(&self) -> impl Fn() + Send + Sync + use<> {
        let stop = self.stop.clone();
        move || {
            // Without a receiver it has ended.
            let _ = stop.send(());
        }
    }

    /// Whether the server ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.keeper.is_finished()
    }

    /// Ends it, and everything that was started in it.
    pub(super) fn end(self) -> Confinement {
        // Without a receiver it has ended.
        let _ = self.stop.send(());
        // A panic of that thread has ended the server, too.
        self.keeper.join().unwrap_or_default()
    }
}

/// What confines the processes of a server.
struct Confined {
    missing: Vec<String>,
    mark: Option<Mark>,
    namespaces: Option<Namespaces>,
    adoption: Option<Adoption>,
}

impl Confined {
    /// Makes the namespaces for the calling thread and puts the sandbox around the command.
    fn prepare(
        mut sandbox: Sandbox,
        users: Option<Users>,
        command: &mut Command,
    ) -> io::Result<Self> {
        let mut namespaces = None;
        let mut mark = sandbox.filters_calls().then_some(Mark::Filters);
        if let Some(Users { makes, runs }) = users {
            match Namespaces::enter(runs.uid, runs.gid, &sandbox.environment) {
                Ok(entered) => namespaces = Some(entered),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    sandbox.missing.push(format!(
                        "no namespaces ({error}): the drill's server shares process ids and shared memory with the host"
                    ));
                }
                Err(error) => return Err(error),
            }
            let init = namespaces.as_ref().map(Namespaces::init);
            if makes != runs {
                mark = Some(Mark::User {
                    uid: runs.uid,
                    init,
                });
            }
        }
        let adoption = (namespaces.is_none() && mark.is_some()).then(Adoption::begin);
        let missing = std::mem::take(&mut sandbox.missing);
        sandbox.wrap(command);
        Ok(Self {
            missing,
            mark,
            namespaces,
            adoption,
        })
    }

    /// Runs as soon as the process exists.
    fn started(&mut self, pid: u32) -> Server {
        // The server is killed first when memory runs out. Without this file the kernel chooses as usual.
        let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), "500");
        if let (Some(Mark::Filters), Some(network)) = (&self.mark, own_network(pid)) {
            self.mark = Some(Mark::Network(network));
        }
        Server::running(pid)
    }

    /// Ends remaining processes after the server has ended.
    fn end(self) -> Confinement {
        let processes_left = self.mark.as_ref().map_or(0, Mark::reap);
        drop(self.namespaces);
        drop(self.adoption);
        Confinement {
            missing: self.missing,
            processes_left,
        }
    }
}

/// Waits until the server ends by itself or the other end of `stopped` is dropped.
fn keep(mut child: Child, stopped: &Receiver<()>) {
    loop {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        match stopped.recv_timeout(Duration::from_millis(200)) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => break,
        }
    }
    // Immediate shutdown ("Shutting Down the Server"): nothing in it is worth a checkpoint.
    signal(&child, Signal::QUIT);
    let begun = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if begun.elapsed() > Duration::from_secs(10) {
            signal(&child, Signal::KILL);
        }
        sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

/// The command that runs the server.
pub(super) fn postgres(
    program: &Tool,
    directory: &ServerDirectory,
    options: &ThrowawayOptions,
    users: Option<&Users>,
) -> io::Result<Command> {
    let mut command = Command::new(&program.path);
    set_environment(&mut command, &options.isolation);
    command
        .arg("-D")
        .arg(directory.data())
        .current_dir(directory.path())
        .process_group(0);
    let socket = directory.socket().display().to_string();
    let fixed = [
        ("listen_addresses", ""),
        ("unix_socket_directories", &socket),
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("full_page_writes", "off"),
        ("wal_level", "minimal"),
        ("max_wal_senders", "0"),
        ("shared_buffers", "128MB"),
        ("logging_collector", "off"),
        // After a crash it would go on with empty unlogged tables, as if nothing had happened.
        ("restart_after_crash", "off"),
    ];
    // A confined server does not reach /dev/shm, where other programs have theirs.
    let is_confined = options.isolation.environment().is_some();
    let own_memory = is_confined.then_some(("dynamic_shared_memory_type", "mmap"));
    let further = options
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in fixed.into_iter().chain(own_memory).chain(further) {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    as_user(&mut command, users.map(|users| &users.runs));
    // Killed, it would leave its shared memory behind for as long as the machine runs.
    tools::die_with_parent(&mut command, Signal::QUIT);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(directory.log()?);
    Ok(command)
}
