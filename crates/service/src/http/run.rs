//! `POST /backup/trigger`: a run now.

use super::audit::Caller;
use super::auth::{Audit, too_many};
use super::error::ApiError;
use super::of_job::OfJob;
use super::{blocking, optional};
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Instant;
#[cfg(test)]
use utoipa::ToSchema;

/// A call that is repeated because its answer was lost requests no second run.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// A request for a run; an empty body means `{}`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Trigger {
    /// Also when a backup was proven within the last minute.
    #[serde(default)]
    #[cfg_attr(test, schema(default = false))]
    force: bool,
    /// Whether the administrators are notified of the result.
    #[serde(default = "yes")]
    #[cfg_attr(test, schema(default = true))]
    notification: bool,
}

fn yes() -> bool {
    true
}

/// A run that was started.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct Triggered {
    backup_id: String,
    /// Estimated from the duration of the last runs; null before the first.
    #[cfg_attr(test, schema(value_type = Option<String>, format = DateTime))]
    estimated_completion: Option<Timestamp>,
    /// Where its events are.
    events: String,
}

/// Starts a backup in a process of its own.
#[cfg_attr(test, utoipa::path(
    post,
    path = "/backup/trigger",
    params(super::of_job::Which),
    request_body(content = Option<Trigger>, content_type = "application/json"),
    security(("token" = ["operate"])),
    responses(
        (status = 202, description = "It runs", body = Triggered),
        (status = 400, description = "Not understood", body = super::error::ErrorBody),
        (status = 401, description = "No token", body = super::error::ErrorBody),
        (status = 403, description = "The token's role is read", body = super::error::ErrorBody),
        (status = 429, description = "Too many runs with this token", body = super::error::ErrorBody),
        (status = 409, description = "One runs already (`details.progress`), or was just proven", body = super::error::ErrorBody),
    )
))]
pub(crate) async fn trigger(
    app: OfJob,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<(StatusCode, Extension<Audit>, Json<Triggered>), ApiError> {
    let wish: Trigger = optional(&body)?;
    blocking(move || {
        let now = Timestamp::now();
        let overview = app.overview()?;
        let recent = overview
            .newest_proven
            .filter(|record| record.finished_at.is_some_and(|at| at + AGAIN > now));
        if let Some(record) = recent.filter(|_| !wish.force) {
            let what =
                "a backup was proven within the last minute; {\"force\": true} takes another";
            let error = ApiError::new(StatusCode::CONFLICT, what);
            return Err(error.with(json!({"backup_id": record.id, "progress": null})));
        }
        let token = caller.token.map(|token| token.id()).unwrap_or_default();
        app.runs
            .take(token.clone(), Instant::now())
            .map_err(|seconds| {
                let what =
                    "too many runs with this token; each costs the database and room on the disk";
                too_many(what, seconds)
            })?;
        let id = app.job.trigger(wish.notification).map_err(|busy| {
            app.runs.give_back(&token);
            let error = ApiError::new(
                StatusCode::CONFLICT,
                "a backup runs already; /backup/{id}/events follows it",
            );
            error.with(json!({"progress": busy.progress}))
        })?;
        app.remember(app.job.name(), id);
        let usual = overview
            .durations
            .backup()
            .and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
        let audit = format!(
            "started {id} of {}, notification {}",
            app.job.name(),
            wish.notification
        );
        let answer = Triggered {
            backup_id: id.to_string(),
            estimated_completion: usual.and_then(|usual| now.checked_add(usual).ok()),
            events: format!("/backup/{id}/events"),
        };
        Ok((StatusCode::ACCEPTED, Extension(Audit(audit)), Json(answer)))
    })
    .await
}
