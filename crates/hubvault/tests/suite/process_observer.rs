//! Observes the arguments and environments of the processes that a command starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// What was seen of the processes that a process started: by their program's name, arguments and environment.
#[derive(Default)]
pub(crate) struct Processes {
    pub(crate) arguments: BTreeSet<String>,
    pub(crate) environments: BTreeMap<String, BTreeSet<String>>,
}

/// Looks at all descendants of a process again and again.
pub(crate) struct ProcessObserver {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Processes>,
}

impl ProcessObserver {
    pub(crate) fn of(root: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Processes::default();
            while !stopped.load(Ordering::Relaxed) {
                for pid in descendants(root) {
                    seen.observe(pid);
                }
                std::thread::yield_now();
            }
            seen
        });
        Self { stop, thread }
    }

    pub(crate) fn end(self) -> Processes {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn descendants(root: u32) -> Vec<u32> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid: Option<u32> = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // `pid (name) state parent`; a name may hold anything.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if let (Some(pid), Some(Ok(parent))) = (pid, parent.map(str::parse::<u32>)) {
            parents.insert(pid, parent);
        }
    }
    let is_ours = |pid: &u32| {
        let mut at = *pid;
        std::iter::from_fn(|| {
            at = *parents.get(&at)?;
            Some(at)
        })
        .take(parents.len())
        .any(|parent| parent == root)
    };
    let mut ours: Vec<u32> = parents.keys().copied().filter(is_ours).collect();
    ours.push(root);
    ours
}

impl Processes {
    fn observe(&mut self, pid: u32) {
        let read = |what: &str| {
            let bytes = fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', "\n")
        };
        let program = || fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let (before, arguments, environment) = (program(), read("cmdline"), read("environ"));
        // One that turned into another program meanwhile is seen again as that.
        if before == program() {
            let name = before.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            self.arguments.insert(arguments);
            self.environments
                .entry(name)
                .or_default()
                .insert(environment);
        }
    }
}
