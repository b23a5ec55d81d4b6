//! The service's HTTP: closed but for what is named, JSON, one shape of error.

mod error;
mod limit;
mod auth;
mod of_job;
mod openapi;
mod summary;
mod health;
mod status;
mod backups;
mod run;
mod events;
mod settings;
mod download;
mod numbers;
mod connections;
mod server;

pub(crate) use server::start;

use super::daemon::Daemon;
use super::token::Tokens;
use anyhow::{Context, Result};
use error::ApiError;
use hubvault_engine::backup::state_directory;
use hubvault_model::BackupId;
use limit::Limit;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// A person, a board and a watcher behind one address come nowhere near these.
const BURST: f64 = 120.0;
const EACH_SECOND: f64 = 20.0;
/// Wrong tokens: ten at once, then one in ten seconds.
const WRONG_BURST: f64 = 10.0;
const WRONG_EACH_SECOND: f64 = 0.1;

/// What every answer is made from.
pub(crate) struct App {
    daemon: Daemon,
    requests: Limit,
    failures: Limit,
    /// Runs that were asked for here, the last few, each with its job.
    triggered: Mutex<VecDeque<(String, BackupId)>>,
}

impl App {
    fn new(daemon: Daemon) -> Self {
        Self {
            daemon,
            requests: Limit::new(BURST, EACH_SECOND),
            failures: Limit::new(WRONG_BURST, WRONG_EACH_SECOND),
            triggered: Mutex::default(),
        }
    }

    /// Those who may ask are one list, whatever the jobs are.
    fn tokens(&self) -> Result<Tokens> {
        let jobs = self.daemon.jobs();
        let first = jobs.first().context("there is no job")?;
        let directory = &first.settings().service_directory;
        Ok(Tokens::of(&state_directory(directory)?))
    }

    /// A run that was asked for is known here before the catalog knows it.
    fn remember(&self, job: String, run: BackupId) {
        let mut triggered = self
            .triggered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        triggered.truncate(15);
        triggered.push_front((job, run));
    }

    /// The job for which it was asked for.
    fn triggered_in(&self, run: BackupId) -> Option<String> {
        let triggered = self
            .triggered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let of = triggered.iter().find(|(_, id)| *id == run);
        of.map(|(job, _)| job.clone())
    }
}

/// Runs what reads and writes files away from the thread that answers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(anyhow::Error::new(error).into()),
    }
}

/// A body that may be left out; then every field has its default.
fn optional<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = match body {
        b"" | b"null" => b"{}",
        bytes => bytes,
    };
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad(format!("the body is not what is taken: {error}")))
}
