//! A service at work under a clock that the test sets.

use crate::hub::Hub;
use jiff::Timestamp;
use serde_json::Value;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take that the service is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// A wall clock (libfaketime) that stands where the test puts it and goes on from there.
pub(crate) struct Clock {
    file: PathBuf,
}

impl Clock {
    /// Every command of this hub goes by it from now on.
    pub(crate) fn of(hub: &mut Hub, at: &str) -> Self {
        let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|place| format!("/usr/lib/{place}/faketime/libfaketimeMT.so.1"))
            .into_iter()
            .find(|path| fs::exists(path).unwrap())
            .unwrap_or_else(|| panic!("libfaketime is needed: make tools installs it"));
        let clock = Self {
            file: hub.config().join("clock"),
        };
        clock.set(at);
        hub.set("LD_PRELOAD", library);
        hub.set("FAKETIME_TIMESTAMP_FILE", clock.file.display().to_string());
        hub.set("FAKETIME_NO_CACHE", "1");
        // What is waited for is waited for really.
        hub.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        hub.set("NO_FAKE_STAT", "1");
        clock
    }

    pub(crate) fn set(&self, at: &str) {
        let at: Timestamp = at.parse().unwrap();
        let ahead = at.as_second() - Timestamp::now().as_second();
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{ahead:+}\n")).unwrap();
        fs::rename(next, &self.file).unwrap();
    }
}

/// `hubvault serve` of a hub, ended with the test.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub(crate) fn start(hub: &Hub) -> Self {
        let log = hub.config().join("service.log");
        let child = hub
            .command(&["serve"])
            .stdout(Stdio::null())
            .stderr(
                File::options()
                    .create(true)
                    .append(true)
                    .open(&log)
                    .unwrap(),
            )
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log has `count` lines with `words`.
    pub(crate) fn says(&self, words: &str, count: usize) {
        wait_for(
            || {
                self.log()
                    .lines()
                    .filter(|line| line.contains(words))
                    .count()
                    >= count
            },
            || format!("{words:?} {count} times in the log:\n{}", self.log()),
        );
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Ends it with SIGTERM; its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }

    /// What it answers over HTTP: the status, and the text.
    pub(crate) fn get(&self, path: &str, token: &str) -> (u16, String) {
        self.says("listening on http://", 1);
        let log = self.log();
        let (_, address) = log.rsplit_once("listening on http://").unwrap();
        let end = address
            .find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)))
            .unwrap();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let mut answer = agent
            .get(format!("http://{}{path}", &address[..end]))
            .header("authorization", format!("Bearer {token}"))
            .call()
            .unwrap();
        (
            answer.status().as_u16(),
            answer.body_mut().read_to_string().unwrap(),
        )
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal("TERM");
            let _ = self.child.wait();
        }
    }
}

/// Waits until something holds; `what` says what did not.
pub(crate) fn wait_for(holds: impl Fn() -> bool, what: impl Fn() -> String) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {}", what());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The runs that ended, newest first.
pub(crate) fn runs(hub: &Hub) -> Vec<Value> {
    let output = hub.run(&["list", "--json"]);
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
    all.into_iter()
        .filter(|run| run["finished_at"].is_string())
        .collect()
}

/// Waits until `count` runs ended, and gives them, newest first.
pub(crate) fn wait_for_runs(hub: &Hub, daemon: &Daemon, count: usize) -> Vec<Value> {
    wait_for(
        || runs(hub).len() >= count,
        || {
            format!(
                "{count} runs, there are {}; the log:\n{}",
                runs(hub).len(),
                daemon.log()
            )
        },
    );
    let runs = runs(hub);
    assert_eq!(runs.len(), count, "{}", daemon.log());
    runs
}
