//! The service's HTTP API: JSON, one form of error, no access without a token but to the paths that are named.

pub(crate) mod error;
pub(crate) mod limit;
pub(crate) mod permits;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod of_job;
mod summary;
mod health;
mod status;
pub(crate) mod backups;
pub(crate) mod run;
mod events;
pub(crate) mod operations;
pub(crate) mod restores;
mod settings;
pub(crate) mod notice;
pub(crate) mod change;
mod slots;
pub(crate) mod transfer;
pub(crate) mod download;
mod numbers;
mod openapi;
mod routes;
mod write_rate;
mod connections;
mod server;

pub(crate) use server::{Around, BODY_LIMIT, Handle, TIME_LIMIT, start};

use super::daemon::Daemon;
use super::token::Tokens;
use anyhow::{Context, Result};
use audit::Refusals;
use error::ApiError;
use health::HealthCache;
use hubvault_engine::state::StateDir;
use hubvault_model::BackupId;
use limit::Limit;
use permits::Permits;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Far more than a person, a dashboard and a monitoring system behind one address need.
const BURST: f64 = 120.0;
const EACH_SECOND: f64 = 20.0;
/// Wrong tokens: ten at once, then one in ten seconds.
const WRONG_BURST: f64 = 10.0;
const WRONG_EACH_SECOND: f64 = 0.1;
/// Changes of the configuration, of which each is notified: ten at once, then one a minute.
const CHANGES: (f64, f64) = (10.0, 1.0 / 60.0);
/// Runs that one token may start: each costs the database time, and disk space.
const RUNS: (f64, f64) = (1000.0, 1.0 / 60.0);
/// Downloads at once: in all, and to one address.
const DOWNLOADS: (usize, usize) = (48, 16);
/// Streams of events at once: in all, and with one token.
const FOLLOWERS: (usize, usize) = (64, 16);

/// What the handlers share.
pub(crate) struct App {
    pub(crate) daemon: Daemon,
    /// Those of a service that is not set up, and has no job.
    tokens_of_set_up: Option<Tokens>,
    pub(crate) requests: Limit,
    requests_for_health: Limit,
    pub(crate) requests_of_tokens: Limit<String>,
    pub(crate) failures: Limit,
    pub(crate) changes: Limit<()>,
    pub(crate) runs: Limit<String>,
    downloads: Permits<IpAddr>,
    followers: Permits<String>,
    pub(crate) refusals: Refusals,
    health: HealthCache,
    /// The last runs that were requested over HTTP, each with its job.
    triggered: Mutex<VecDeque<(String, BackupId)>>,
}

impl App {
    /// What a service starts with; `tokens` are those of one that has no job yet.
    pub(crate) fn new(daemon: Daemon, tokens: Option<Tokens>) -> Self {
        Self {
            daemon,
            tokens_of_set_up: tokens,
            requests: Limit::new(BURST, EACH_SECOND),
            requests_for_health: Limit::new(BURST, EACH_SECOND),
            requests_of_tokens: Limit::new(BURST, EACH_SECOND),
            changes: Limit::new(CHANGES.0, CHANGES.1),
            runs: Limit::new(RUNS.0, RUNS.1),
            downloads: Permits::new(DOWNLOADS.0, DOWNLOADS.1),
            followers: Permits::new(FOLLOWERS.0, FOLLOWERS.1),
            refusals: Refusals::default(),
            health: HealthCache::default(),
            failures: Limit::new(WRONG_BURST, WRONG_EACH_SECOND),
            triggered: Mutex::default(),
        }
    }

    /// The tokens, one list for all jobs.
    pub(crate) fn tokens(&self) -> Result<Tokens> {
        if let Some(tokens) = &self.tokens_of_set_up {
            return Ok(tokens.clone());
        }
        let jobs = self.daemon.jobs();
        let first = jobs.first().context("there is no job")?;
        let directory = &first.settings().service.directory;
        Ok(Tokens::of(&StateDir::open(directory)?))
    }

    /// Remembers a run that was requested, as the catalog does not have it yet.
    fn remember(&self, job: String, run: BackupId) {
        let mut triggered = self
            .triggered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        triggered.truncate(15);
        triggered.push_front((job, run));
    }

    /// The job for which a run was requested.
    fn triggered_in(&self, run: BackupId) -> Option<String> {
        let triggered = self
            .triggered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let of = triggered.iter().find(|(_, id)| *id == run);
        of.map(|(job, _)| job.clone())
    }
}

/// Runs file access on a thread for blocking work.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(anyhow::Error::new(error).into()),
    }
}

/// Parses an optional body; without one, every field has its default.
fn optional<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = match body {
        b"" | b"null" => b"{}",
        bytes => bytes,
    };
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad(format!("the body is not what is taken: {error}")))
}
