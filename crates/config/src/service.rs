//! What a service has once, whatever its jobs are: where it answers, what it logs.

use super::address::listen_address;
use super::keys;
use super::resolve::Found;
use super::text;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tracing::Level;

/// The settings of the service and of the process.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where HTTP listens, as a host and a port; `None` for nowhere.
    pub http_address: Option<String>,
    /// What is logged, and how.
    pub log: LogOptions,
    /// How long a run at work may take to end by itself when the service is stopped.
    pub stop_grace: Duration,
    /// The archive directory of all jobs, where the service keeps its own state.
    pub directory: PathBuf,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The least important level that is logged.
    pub level: Level,
    /// How a line is written.
    pub format: LogFormat,
    /// A file that gets every line, too.
    pub file: Option<PathBuf>,
    /// The size at which that file is rotated.
    pub max_bytes: u64,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people in a command; in a service for people on a terminal and JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// JSON.
    Json,
}

pub(super) fn service(found: &BTreeMap<&'static str, Found>, directory: PathBuf) -> Service {
    Service {
        http_address: listen_address(text(found, "http.address")).ok(),
        log: LogOptions {
            level: text(found, "log.level").parse().unwrap_or(Level::INFO),
            format: match text(found, "log.format") {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => LogFormat::Auto,
            },
            file: super::delivery::path(found, "log.file"),
            max_bytes: text(found, "log.max_size_mb").parse().unwrap_or(10) << 20,
        },
        stop_grace: keys::duration(text(found, "service.stop_grace")).unwrap_or_default(),
        directory,
    }
}
