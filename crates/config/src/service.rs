//! What a service has once, whatever its jobs are: where it answers, what it logs.

use super::address::listen_address;
use super::oidc::{Oidc, oidc};
use super::setting::Values;
use std::path::PathBuf;
use std::time::Duration;
use tracing::Level;

/// The settings of the service and of the process.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where HTTP listens, as a host and a port; `None` for nowhere.
    pub http_address: Option<String>,
    /// Whether the web page is served there, too.
    pub http_page: bool,
    /// Whether a backup can be restored from the page.
    pub http_restore: bool,
    /// Whether that may change the living database.
    pub http_restore_living: bool,
    /// The file with the text of the first token, where no token was ever made.
    pub first_token_file: Option<PathBuf>,
    /// How people log in with an identity provider.
    pub oidc: Option<Oidc>,
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

pub(crate) fn service(values: &Values, directory: PathBuf) -> Service {
    Service {
        http_address: listen_address(values.text("http.address")).ok(),
        http_page: values.flag("http.page"),
        http_restore: values.flag("http.restore"),
        http_restore_living: values.flag("http.restore_living"),
        first_token_file: values.path("http.first_token_file"),
        oidc: oidc(values),
        log: LogOptions {
            level: values.number("log.level").unwrap_or(Level::INFO),
            format: match values.text("log.format") {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => LogFormat::Auto,
            },
            file: values.path("log.file"),
            max_bytes: values.parsed::<u64>("log.max_size_mb") << 20,
        },
        stop_grace: values.duration("service.stop_grace"),
        directory,
    }
}
