//! `GET /health`: whether there is a recent proven backup. For load balancers and people alike.

use super::blocking;
use super::error::ApiError;
use super::of_job::{OfJob, OfJobs};
use anyhow::Context;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hubvault_engine::catalog::BackupRecord;
use hubvault_engine::overview::{Disproved, age_risk, disproved, newest_proven};
use hubvault_engine::state::restore_mark::unfinished;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
#[cfg(test)]
use utoipa::ToSchema;

/// How long an answer is cached: anybody may ask, and each look reads the catalog.
const FRESH: Duration = Duration::from_secs(1);
/// How old a cached answer may be while another request looks.
const USABLE: Duration = Duration::from_secs(30);

/// Cached answers by jobs.
#[derive(Debug, Default)]
pub(super) struct HealthCache {
    known: Mutex<HashMap<Vec<String>, (Instant, Health)>>,
    looking: Mutex<()>,
}

impl HealthCache {
    /// The answer for these jobs: a cached one, or what `look` finds. One request looks at a time; others get the answer
    /// before, so that a slow disk does not take all threads.
    fn of(
        &self,
        jobs: &[String],
        look: impl FnOnce() -> Result<Health, ApiError>,
    ) -> Result<Health, ApiError> {
        if let Some(health) = self.younger(jobs, FRESH) {
            return Ok(health);
        }
        let _looking = match self.looking.try_lock() {
            Ok(looking) => looking,
            Err(_) => match self.younger(jobs, USABLE) {
                Some(health) => return Ok(health),
                None => self.looking.lock().unwrap_or_else(PoisonError::into_inner),
            },
        };
        // Another request may have looked meanwhile.
        if let Some(health) = self.younger(jobs, FRESH) {
            return Ok(health);
        }
        let health = look()?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Answers about removed jobs go.
        known.retain(|_, (at, _)| at.elapsed() < USABLE);
        known.insert(jobs.to_vec(), (Instant::now(), health.clone()));
        Ok(health)
    }

    fn younger(&self, jobs: &[String], than: Duration) -> Option<Health> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, health) = known.get(jobs)?;
        (at.elapsed() < than).then(|| health.clone())
    }
}

/// The health of a job.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct Health {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    /// The job that this is about: of several, the one in the worst state.
    job: Option<String>,
    /// When the newest proven backup was taken.
    #[cfg_attr(test, schema(value_type = Option<String>, format = DateTime))]
    last_backup: Option<Timestamp>,
    last_backup_size_mb: Option<f64>,
    last_backup_age_hours: Option<f64>,
    uptime_seconds: u64,
    /// How many stored backups a later drill did not prove; `hubvault status` names them.
    disproved_backups: usize,
    /// Why it is unhealthy.
    error: Option<String>,
}

/// Healthy while a proven backup is recent enough, no newer one was disproved, and no restore was left unfinished.
///
/// The only answer about backups that needs no token; it names no table, file or host.
#[cfg_attr(test, utoipa::path(
    get,
    path = "/health",
    params(super::of_job::Which),
    security(()),
    responses(
        (status = 200, description = "A proven backup is recent enough", body = Health),
        (status = 503, description = "No proven backup is recent enough, a newer one was disproved, or a restore did not end well", body = Health),
        (status = 429, description = "Too many requests", body = super::error::ErrorBody),
    )
))]
pub(super) async fn health(OfJobs(jobs): OfJobs) -> Result<Response, ApiError> {
    let names: Vec<String> = jobs.iter().map(|of| of.job.name()).collect();
    let known = jobs.first().and_then(|of| of.health.younger(&names, FRESH));
    let health = if let Some(health) = known {
        health
    } else {
        blocking(move || {
            let first = jobs.first().context("there is no job")?;
            let all = || worst(jobs.iter().map(look).collect());
            first.health.of(&names, all)
        })
        .await?
    };
    let status = match health.error {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((status, Json(health)).into_response())
}

fn look(app: &OfJob) -> Health {
    let settings = app.job.settings();
    let job = settings.job();
    let max_age = job.monitor.max_age_hours;
    let now = Timestamp::now();
    let uptime = now.duration_since(app.daemon.started_at()).as_secs();
    let known = app.catalog().and_then(|catalog| {
        let newest = newest_proven(&catalog, &job.name)?;
        Ok((newest, disproved(&catalog, &job.name)?))
    });
    let health = match known {
        Ok((newest, disproved)) => judge((newest.as_ref(), &disproved), max_age, now, uptime),
        Err(error) => {
            // Anybody may ask: paths and causes are for the log.
            tracing::error!("http: {error:#}");
            let what = "could not read the catalog; see the log";
            Health {
                error: Some(what.to_owned()),
                status: "unhealthy",
                ..judge((None, &[]), max_age, now, uptime)
            }
        }
    };
    let left = "a restore into the living database did not end well; see hubvault status";
    let health = match unfinished(&app.job.state()) {
        Ok(all) if all.iter().any(|(_, is_at_work)| !is_at_work) => health.with(left),
        Ok(_) => health,
        Err(error) => {
            tracing::error!("http: could not look for unfinished restores: {error}");
            health.with("could not look for unfinished restores; see the log")
        }
    };
    Health {
        job: settings.job_name.clone(),
        ..health
    }
}

impl Health {
    /// The living database may lack what a restore was to bring back.
    fn with(self, left: &str) -> Self {
        let error = self
            .error
            .map_or_else(|| left.to_owned(), |error| format!("{error}; {left}"));
        Self {
            status: "unhealthy",
            error: Some(error),
            ..self
        }
    }
}

/// An unhealthy job before a healthy one, then the one with the oldest backup.
fn worst(all: Vec<Health>) -> Result<Health, ApiError> {
    let rank = |health: &Health| (health.error.is_none(), health.last_backup);
    let worst = all.into_iter().min_by_key(rank);
    Ok(worst.context("there is no job")?)
}

fn judge(
    (newest, disproved): (Option<&BackupRecord>, &[Disproved]),
    max_age: u32,
    now: Timestamp,
    uptime: i64,
) -> Health {
    let began = newest.map(|record| record.started_at);
    let age = began.map(|at| now.duration_since(at).as_secs_f64().max(0.0) / 3600.0);
    let is_newer = |it: &&Disproved| began.is_none_or(|at| it.started_at > at);
    let error = age_risk(newest, max_age, now).map(|risk| risk.to_string());
    let error = error.or_else(|| {
        disproved.iter().find(is_newer)?;
        Some("a drill did not prove a backup that is newer; see hubvault status".to_owned())
    });
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    Health {
        status: if error.is_none() {
            "healthy"
        } else {
            "unhealthy"
        },
        job: None,
        last_backup: began,
        last_backup_size_mb: newest
            .and_then(|record| record.bytes)
            .map(|bytes| rounded(bytes as f64 / 1024.0 / 1024.0)),
        last_backup_age_hours: age.map(rounded),
        uptime_seconds: uptime.max(0) as u64,
        disproved_backups: disproved.len(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_model::BackupId;

    #[test]
    fn a_proven_backup_is_good_until_it_is_too_old() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let record = BackupRecord::begun(BackupId::random(), "hub", at(0));
        let young = judge((Some(&record), &[]), 26, at(26 * 3600), 5);
        assert_eq!((young.status, young.error), ("healthy", None));
        let old = judge((Some(&record), &[]), 26, at(26 * 3600 + 1), 5);
        assert!(old.status == "unhealthy" && old.error.unwrap().contains("more than the 26 hours"));
        let disproved = |started_at| Disproved {
            backup: BackupId::random(),
            started_at: at(started_at),
            at: None,
            machine: Some("db2".to_owned()),
            reason: "rows of users differ".to_owned(),
        };
        let with = |other: Disproved| judge((Some(&record), &[other]), 26, at(0), 5);
        let older = with(disproved(-1));
        assert_eq!((older.status, older.disproved_backups), ("healthy", 1));
        let newer = with(disproved(1));
        assert_eq!(newer.status, "unhealthy");
        let error = newer.error.unwrap();
        assert!(
            !error.contains("db2") && !error.contains("users"),
            "{error}"
        );
        assert_eq!(judge((None, &[]), 26, at(0), 5).status, "unhealthy");
    }
}
