//! `hubvault serve` in a process of its own: its log, its signals, its answers over HTTP, and the runs that it made.

use crate::hub::Hub;
use hmac::{Hmac, KeyInit, Mac};
use hubvault_testkit::{PATIENCE, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::Sha256;
use std::cell::{OnceCell, RefCell};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::http::Request;

/// Before the address in the log line of a service that answers.
const LISTENING: &str = "listening on http://";

/// What a service answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A service; stopped with the test.
pub(crate) struct ServiceProcess {
    child: Child,
    /// Where it and its children work.
    directory: PathBuf,
    log: PathBuf,
    base: OnceCell<String>,
    agent: Agent,
}

impl ServiceProcess {
    /// Starts it as the hub's settings say.
    pub(crate) fn start(hub: &Hub) -> Self {
        Self::start_with(hub, &[])
    }

    /// Starts it on a free port of this machine, and waits until it answers there.
    pub(crate) fn start_http(hub: &Hub) -> Self {
        let service = Self::start_with(hub, &[("HTTP_ADDR", "127.0.0.1:0"), ("TZ", "UTC")]);
        service.base();
        service
    }

    fn start_with(hub: &Hub, variables: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let log = hub.config().join(format!("service-{number}.log"));
        let mut command = hub.command(&["serve"]);
        command.envs(variables.iter().copied());
        Self::of_command(command, log)
    }

    /// Starts what `command` is, with its log in a file.
    pub(crate) fn of_command(mut command: Command, log: PathBuf) -> Self {
        let directory = command.get_current_dir().unwrap().to_owned();
        let child = command
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect is an answer like any other.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(PATIENCE))
            // After a body that was too large the service closes the connection.
            .max_idle_connections(0)
            .build()
            .into();
        Self {
            child,
            directory,
            log,
            base: OnceCell::new(),
            agent,
        }
    }

    /// Everything that it logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log has `count` lines with `words`.
    pub(crate) fn wait_for_log(&self, words: &str, count: usize) {
        wait_for(
            || self.lines_with(words) >= count,
            || format!("{words:?} {count} times in the log:\n{}", self.log()),
        );
    }

    fn lines_with(&self, words: &str) -> usize {
        let log = self.log();
        log.lines().filter(|line| line.contains(words)).count()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal; it may have ended by itself.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Makes it reload its configuration, and waits until it has.
    pub(crate) fn reload(&self) {
        let reloaded = "configuration reloaded";
        let before = self.lines_with(reloaded);
        self.signal(Signal::HUP);
        self.wait_for_log(reloaded, before + 1);
    }

    /// Stops it as an init system does; its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let stopping = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            if stopping.elapsed() > PATIENCE {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Checks that it began may take longer than it, and write into a directory that is about to be removed. Nobody
    /// promises that they end, so that nothing depends on it.
    fn wait_for_orphans(&self) {
        let is_at_work = |process: &Path| {
            let name = fs::read(process.join("cmdline")).unwrap_or_default();
            let place = fs::read_link(process.join("cwd"));
            name.starts_with(b"hubvault") && place.is_ok_and(|at| at.starts_with(&self.directory))
        };
        let begun = Instant::now();
        let processes = || fs::read_dir("/proc").unwrap().flatten();
        while processes().any(|process| is_at_work(&process.path()))
            && begun.elapsed().as_secs() < 10
        {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it ended by itself; its exit code.
    pub(crate) fn wait_for_end(&mut self) -> Option<i32> {
        let log = self.log.clone();
        let mut ended = None;
        wait_for(
            || {
                ended = self.child.try_wait().unwrap();
                ended.is_some()
            },
            || fs::read_to_string(&log).unwrap(),
        );
        ended.and_then(|status| status.code())
    }

    /// Stops it; everything that it logged.
    pub(crate) fn stop_and_log(mut self) -> String {
        self.stop();
        self.log()
    }

    /// Where it answers: `http://127.0.0.1:40123`.
    pub(crate) fn base(&self) -> &str {
        self.base.get_or_init(|| {
            self.wait_for_log(LISTENING, 1);
            let log = self.log();
            let (_, address) = log.split_once(LISTENING).unwrap();
            let end = address.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)));
            format!("http://{}", &address[..end.unwrap_or(address.len())])
        })
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let uri = format!("{}{path}", self.base());
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_owned()).unwrap();
        let mut response = self.agent.run(request).unwrap();
        let headers = response.headers().iter().map(|(name, value)| {
            let value = value.to_str().unwrap_or_default();
            (name.to_string(), value.to_owned())
        });
        let headers = headers.collect();
        let mut bytes = Vec::new();
        let mut reader = response.body_mut().as_reader();
        reader.read_to_end(&mut bytes).unwrap();
        Answer {
            status: response.status().as_u16(),
            headers,
            body: bytes,
        }
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Answer {
        match token {
            "" => self.get_with(path, &[]),
            token => self.get_with(path, &[("authorization", &format!("Bearer {token}"))]),
        }
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request("GET", path, headers, "")
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.request("POST", path, &[("authorization", &bearer)], body)
    }

    pub(crate) fn put(&self, path: &str, token: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        self.request(
            "PUT",
            path,
            &[("authorization", &bearer)],
            &body.to_string(),
        )
    }

    /// Repeats a request until its answer meets `condition`.
    pub(crate) fn wait_for_answer(
        &self,
        path: &str,
        token: &str,
        mut condition: impl FnMut(&Value) -> bool,
    ) -> Value {
        let last = RefCell::new(Value::Null);
        let is_met = || {
            // More requests than a few a second of one token are refused.
            std::thread::sleep(Duration::from_millis(100));
            last.replace(self.get(path, token).json());
            condition(&last.borrow())
        };
        wait_for(is_met, || format!("{path}: {}", last.borrow()));
        last.into_inner()
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
        self.wait_for_orphans();
    }
}

/// A link as the service makes it, for any expiry.
pub(crate) fn signed(key: &[u8], id: &str, expires: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("download\n{id}\n{expires}").as_bytes());
    let bytes = mac.finalize().into_bytes();
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = digits.concat();
    format!("/download/{id}?expires={expires}&signature={signature}")
}

/// The runs that ended, newest first.
pub(crate) fn runs(hub: &Hub) -> Vec<Value> {
    let output = hub.run(&["list", "--json"]);
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
    all.into_iter()
        .filter(|run| run["finished_at"].is_string())
        .collect()
}

/// Waits until `count` runs ended, no more, and gives them, newest first.
pub(crate) fn wait_for_runs(hub: &Hub, service: &ServiceProcess, count: usize) -> Vec<Value> {
    let log = || {
        format!(
            "{count} runs, not {}; the log:\n{}",
            runs(hub).len(),
            service.log()
        )
    };
    wait_for(|| runs(hub).len() >= count, log);
    let runs = runs(hub);
    assert_eq!(runs.len(), count, "{}", service.log());
    runs
}
