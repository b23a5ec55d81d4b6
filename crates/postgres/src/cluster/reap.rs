//! Finds and ends processes that code of a database left behind in a confined server.

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What identifies the processes of a server; a process cannot remove it.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    /// A user of its own, but for the process that holds its process namespace.
    User { uid: u32, init: Option<u32> },
    /// A network namespace of its own.
    Network(PathBuf),
    /// More system call filters than ours, on a descendant of ours that is of no other server.
    Filters,
}

/// The network namespace of a process, where it is not ours.
pub(super) fn own_network(pid: u32) -> Option<PathBuf> {
    let ours = fs::read_link("/proc/self/ns/net").ok()?;
    network(pid).filter(|its| *its != ours)
}

fn network(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// What `/proc/[pid]/status` says of a process.
#[derive(Debug, Default)]
struct Status {
    pid: u32,
    parent: u32,
    uid: u32,
    filters: u32,
    is_dead: bool,
}

fn status(pid: u32) -> Option<Status> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mut status = Status {
        pid,
        ..Status::default()
    };
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let mut values = value.split_whitespace();
        let first = values.next().unwrap_or_default();
        let number = first.parse().unwrap_or_default();
        match name {
            "State" => status.is_dead = matches!(first, "Z" | "X"),
            "PPid" => status.parent = number,
            "Uid" => status.uid = number,
            // Kernels before 5.9 do not count them.
            "Seccomp" | "Seccomp_filters" => status.filters = status.filters.max(number),
            _ => {}
        }
    }
    Some(status)
}

fn all() -> Vec<Status> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(status).collect()
}

/// The users of all processes.
pub(super) fn users() -> Vec<u32> {
    all().iter().map(|process| process.uid).collect()
}

impl Mark {
    /// The running processes that have it.
    fn processes(&self) -> Vec<u32> {
        let all = all();
        let me = getpid().as_raw_nonzero().get() as u32;
        let own = status(me).unwrap_or_default().filters;
        let bears = |process: &&Status| match self {
            Self::User { uid, init } => process.uid == *uid && Some(process.pid) != *init,
            Self::Network(its) => network(process.pid).as_ref() == Some(its),
            Self::Filters => process.filters > own && descends(process, me, &all),
        };
        all.iter()
            .filter(|process| !process.is_dead)
            .filter(bears)
            .map(|process| process.pid)
            .collect()
    }

    /// Kills the processes that remain when the server has ended, until there are none; returns their number. The
    /// server's own get a moment to end.
    pub(super) fn reap(&self) -> usize {
        const MOMENT: Duration = Duration::from_millis(300);
        const LONGEST: Duration = Duration::from_secs(10);
        let begun = Instant::now();
        let mut found: Vec<u32> = Vec::new();
        loop {
            let processes = self.processes();
            if processes.is_empty() || begun.elapsed() > LONGEST {
                break;
            }
            if begun.elapsed() > MOMENT {
                for pid in &processes {
                    if !found.contains(pid) {
                        found.push(*pid);
                    }
                    end(*pid);
                }
            }
            sleep(Duration::from_millis(5));
        }
        found.len()
    }
}

/// Whether a process is `ancestor`'s child, or the child of one, and of no server that still runs.
fn descends(process: &Status, ancestor: u32, all: &[Status]) -> bool {
    let running = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut parent = process.parent;
    if running.contains(&process.pid) {
        return false;
    }
    for _ in 0..all.len() {
        if parent == ancestor {
            return true;
        }
        if running.contains(&parent) {
            return false;
        }
        match all.iter().find(|other| other.pid == parent) {
            Some(next) => parent = next.parent,
            None => return false,
        }
    }
    false
}

fn end(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself, and is waited for where it was adopted.
        let _ = kill_process(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// The confined servers of this process that still run.
static SERVERS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A confined server that runs; dropped when it has ended.
pub(super) struct Server(u32);

impl Server {
    pub(super) fn running(pid: u32) -> Self {
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        servers.push(pid);
        Self(pid)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|pid| *pid != self.0);
    }
}

/// While one of these exists, orphans of our servers become our children, so that they can be found.
pub(super) struct Adoption;

static ADOPTING: Mutex<usize> = Mutex::new(0);

impl Adoption {
    pub(super) fn begin() -> Self {
        Self::count(|number| number + 1);
        Self
    }

    fn count(change: impl FnOnce(usize) -> usize) {
        let mut number = ADOPTING.lock().unwrap_or_else(PoisonError::into_inner);
        *number = change(*number);
        let adopts = (*number > 0).then(getpid);
        if let Err(error) = set_child_subreaper(adopts) {
            tracing::warn!("could not adopt the processes of the drill's server: {error}");
        }
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        Self::count(|number| number.saturating_sub(1));
    }
}
