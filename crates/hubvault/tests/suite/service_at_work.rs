//! `hubvault serve` in a process of its own, asked over HTTP.

use crate::hub::Hub;
use hmac::{Hmac, KeyInit, Mac};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::Sha256;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::http::Request;

const PATIENCE: Duration = Duration::from_mins(1);

/// What came back.
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

/// The service at work.
pub(crate) struct Service {
    child: Child,
    lines: Receiver<String>,
    said: String,
    base: String,
    agent: Agent,
}

impl Service {
    /// Starts it on a port of its own, and waits until it listens.
    pub(crate) fn start(hub: &Hub) -> Self {
        let mut command = hub.command(&["serve"]);
        command.env("HTTP_ADDR", "127.0.0.1:0").env("TZ", "UTC");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut said = String::new();
        let base = loop {
            let line = lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("{error}: {said}"));
            said += &format!("{line}\n");
            if let Some((_, address)) = line.split_once("listening on http://") {
                let end = address.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)));
                break format!("http://{}", &address[..end.unwrap_or(address.len())]);
            }
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            // After a body that was too large the service closes the connection.
            .max_idle_connections(0)
            .build()
            .into();
        Self {
            child,
            lines,
            said,
            base,
            agent,
        }
    }

    /// Where it answers: `http://127.0.0.1:40123`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Has it read its configuration again, and waits until it has.
    pub(crate) fn reload(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            kill_process(pid, Signal::HUP).unwrap();
        }
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("{error}: {}", self.said));
            self.said += &format!("{line}\n");
            if line.contains("the configuration was read again") {
                return;
            }
        }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self
            .agent
            .run(request.body(body.to_owned()).unwrap())
            .unwrap();
        let mut bytes = Vec::new();
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| {
            let value = value.to_str().unwrap_or_default();
            (name.to_string(), value.to_owned())
        });
        let headers = headers.collect();
        response
            .body_mut()
            .as_reader()
            .read_to_end(&mut bytes)
            .unwrap();
        Answer {
            status,
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
        self.ask("GET", path, headers, "")
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.ask("POST", path, &[("authorization", &bearer)], body)
    }

    pub(crate) fn put(&self, path: &str, token: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        self.ask(
            "PUT",
            path,
            &[("authorization", &bearer)],
            &body.to_string(),
        )
    }

    /// Asks until the answer is as wished.
    pub(crate) fn until(&self, path: &str, token: &str, wished: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.get(path, token).json();
            if wished(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "still {answer}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends it as an init system does; everything that it said.
    pub(crate) fn stop(mut self) -> String {
        self.end();
        let mut said = std::mem::take(&mut self.said);
        self.lines
            .iter()
            .for_each(|line| said += &format!("{line}\n"));
        said
    }

    /// Sends it a signal; it may have ended by itself.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, signal);
        }
    }

    fn end(&mut self) {
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if begun.elapsed() > PATIENCE {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
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
