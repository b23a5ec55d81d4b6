//! `POST /backup/{id}/operation`, `GET /operation/{id}` and `POST /operation/{id}/stop`: verify, drill or compare a backup.

use super::audit::Caller;
use super::auth::{Audit, too_many};
use super::backups::{find, id, masked};
use super::error::ApiError;
use super::of_job::{OfJob, all};
use super::{App, blocking};
use crate::operation::{Action, Operation, Outcome, Standing};
use crate::token::Role;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use hubvault_engine::catalog::BackupRecord;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
#[cfg(test)]
use utoipa::ToSchema;

/// What is to be done with a backup.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    action: Check,
}

/// An operation that changes nothing.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(ToSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Check {
    /// Read the archive back whole.
    Verify,
    /// Restore it into a throwaway server and compare every row.
    Drill,
    /// Compare it with the living database.
    Compare,
}

impl From<Check> for Action {
    fn from(check: Check) -> Self {
        match check {
            Check::Verify => Self::Verify,
            Check::Drill => Self::Drill,
            Check::Compare => Self::Compare,
        }
    }
}

/// An operation.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct OperationBody {
    /// UUID.
    id: String,
    /// `verify`, `drill`, `compare`, `preview` or `restore`.
    action: &'static str,
    backup_id: String,
    /// The name of the token that started it.
    by: String,
    #[cfg_attr(test, schema(value_type = String, format = DateTime))]
    requested_at: Timestamp,
    /// `starting`, `running`, `done`, `warnings`, `failed`, `stopped`, or `crashed` if its process ended without a result.
    state: &'static str,
    /// How far it is while it runs, in the fields of the events of a run.
    #[cfg_attr(test, schema(value_type = Option<Object>))]
    progress: Option<Value>,
    #[cfg_attr(test, schema(value_type = Option<String>, format = DateTime))]
    ended_at: Option<Timestamp>,
    /// Why it failed, or who stopped it.
    error: Option<String>,
    /// What the command printed with `--json` (docs/json.md); of `compare` numbers of rows instead of their keys.
    #[cfg_attr(test, schema(value_type = Option<Object>))]
    result: Option<Value>,
}

impl OperationBody {
    /// As it is now.
    pub(super) fn of(of: &OfJob, operation: &Operation) -> Self {
        let standing = of.job.standing(operation);
        let mut body = Self {
            id: operation.id.to_string(),
            action: operation.action.name(),
            backup_id: operation.backup.to_string(),
            by: operation.by.clone(),
            requested_at: operation.requested_at,
            state: word(&standing),
            progress: None,
            ended_at: None,
            error: None,
            result: None,
        };
        match standing {
            Standing::Running(progress) => body.progress = serde_json::to_value(progress).ok(),
            Standing::Ended(ended) => {
                body.ended_at = Some(ended.at);
                body.error = ended.error;
                body.result = of.job.operations().answer(operation.id).map(masked);
            }
            Standing::Starting | Standing::Crashed => {}
        }
        body
    }
}

/// Where an operation is, in a word.
pub(crate) fn word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Starting => "starting",
        Standing::Running(_) => "running",
        Standing::Crashed => "crashed",
        Standing::Ended(ended) => match ended.outcome {
            Outcome::Done => "done",
            Outcome::Warnings => "warnings",
            Outcome::Failed => "failed",
            Outcome::Stopped => "stopped",
        },
    }
}

/// The server and the database that a job is about now.
pub(crate) fn database_of(of: &OfJob) -> String {
    let settings = of.job.settings();
    let to = &settings.job().database;
    format!("{} at {}:{} as {}", to.dbname, to.host, to.port, to.user)
}

/// Starts an operation in a process of its own: one at a time that reads, and one that restores.
pub(crate) fn begin(
    of: &OfJob,
    caller: &Caller,
    record: &BackupRecord,
    action: Action,
) -> Result<Operation, ApiError> {
    let conflict = |what: String| ApiError::new(StatusCode::CONFLICT, what);
    if !record.was_published() {
        return Err(conflict("this backup has no archive".to_owned()));
    }
    let (token, name) = match &caller.token {
        Some(token) => (token.id(), token.name.as_str()),
        None => return Err(ApiError::new(StatusCode::UNAUTHORIZED, "log in first")),
    };
    let mut operation = Operation::new(record.id, action, name);
    operation.database = database_of(of);
    if !record.sealed_to.is_empty() && operation.action != Action::Verify {
        let command = operation.command(of.job.settings().job_name.as_deref());
        return Err(conflict(format!(
            "this backup is sealed, and the service has no key that opens it; on a host with the key, run: {command} \
             --identity FILE"
        )));
    }
    of.runs
        .take(token.clone(), Instant::now())
        .map_err(|seconds| too_many("too many runs and operations with this token", seconds))?;
    let other = of.job.start_operation(operation.clone())?;
    let Some(other) = other else {
        return Ok(operation);
    };
    of.runs.give_back(&token);
    let what = format!(
        "{} is in progress, and only one at a time can be; try again after its end",
        other.in_words()
    );
    Err(conflict(what).with(json!({"operation": other.id})))
}

/// Verifies, drills or compares a backup, in a process of its own. Nothing is changed but what is recorded as proven.
#[cfg_attr(test, utoipa::path(
    post,
    path = "/backup/{id}/operation",
    params(("id" = String, Path, description = "UUID, or `latest`"), super::of_job::Which),
    request_body(content = Asked, content_type = "application/json"),
    security(("token" = ["operate"])),
    responses(
        (status = 202, description = "It begins", body = OperationBody),
        (status = 400, description = "Not understood", body = super::error::ErrorBody),
        (status = 401, description = "No token", body = super::error::ErrorBody),
        (status = 403, description = "The token's role is read", body = super::error::ErrorBody),
        (status = 404, description = "No such backup", body = super::error::ErrorBody),
        (status = 409, description = "One is in progress (`details.operation`), there is no archive, or it is sealed", body = super::error::ErrorBody),
        (status = 429, description = "Too many with this token", body = super::error::ErrorBody),
    )
))]
pub(super) async fn start(
    of: OfJob,
    Extension(caller): Extension<Caller>,
    Path(word): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Extension<Audit>, Json<OperationBody>), ApiError> {
    let asked: Asked = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad(format!("the body is not what is taken: {error}")))?;
    blocking(move || {
        let record = find(&of, &word)?;
        let operation = begin(&of, &caller, &record, asked.action.into())?;
        let audit = Audit(format!("started {}", operation.in_words()));
        let body = OperationBody::of(&of, &operation);
        Ok((StatusCode::ACCEPTED, Extension(audit), Json(body)))
    })
    .await
}

/// The operation with this id, whichever job has it.
pub(crate) fn of_id(app: &Arc<App>, word: &str) -> Result<(OfJob, Operation), ApiError> {
    let id = id(word)?;
    let mut jobs = all(app).into_iter();
    let found = jobs.find_map(|of| {
        let operation = of.job.operations().find(id)?;
        Some((of, operation))
    });
    found.ok_or_else(|| {
        let what = "there is no operation with this id; the 50 last ones of a job are remembered";
        ApiError::new(StatusCode::NOT_FOUND, what)
    })
}

/// How far an operation is, or its result.
#[cfg_attr(test, utoipa::path(
    get,
    path = "/operation/{id}",
    params(("id" = String, Path, description = "UUID")),
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "The operation", body = OperationBody),
        (status = 400, description = "Not an id", body = super::error::ErrorBody),
        (status = 401, description = "No token", body = super::error::ErrorBody),
        (status = 404, description = "No such operation", body = super::error::ErrorBody),
    )
))]
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(word): Path<String>,
) -> Result<Json<OperationBody>, ApiError> {
    blocking(move || {
        let (of, operation) = of_id(&app, &word)?;
        Ok(Json(OperationBody::of(&of, &operation)))
    })
    .await
}

/// Asks an operation to end; what it returns is where it was. A restore can be stopped by whoever may start one.
pub(crate) fn end(of: &OfJob, caller: &Caller, operation: &Operation) -> Result<Audit, ApiError> {
    let Some(token) = &caller.token else {
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "log in first"));
    };
    let is_restore = matches!(operation.action, Action::Restore(_));
    if is_restore && token.role < Role::Admin {
        let what = "stopping a restore needs the role admin";
        return Err(ApiError::new(StatusCode::FORBIDDEN, what));
    }
    if !of.job.stop_operation(operation.id, &token.name) {
        let what = "this operation is not in progress";
        return Err(ApiError::new(StatusCode::CONFLICT, what));
    }
    Ok(Audit(format!("stopped {}", operation.in_words())))
}

/// Stops an operation. Its process ends what it does, removes what it made for itself, and says who stopped it.
#[cfg_attr(test, utoipa::path(
    post,
    path = "/operation/{id}/stop",
    params(("id" = String, Path, description = "UUID")),
    security(("token" = ["operate"])),
    responses(
        (status = 202, description = "It is asked to end", body = OperationBody),
        (status = 400, description = "Not an id", body = super::error::ErrorBody),
        (status = 401, description = "No token", body = super::error::ErrorBody),
        (status = 403, description = "The token's role is read, or it is a restore and the role is not admin", body = super::error::ErrorBody),
        (status = 404, description = "No such operation", body = super::error::ErrorBody),
        (status = 409, description = "It is not in progress", body = super::error::ErrorBody),
    )
))]
pub(super) async fn stop(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(word): Path<String>,
) -> Result<(StatusCode, Extension<Audit>, Json<OperationBody>), ApiError> {
    blocking(move || {
        let (of, operation) = of_id(&app, &word)?;
        let audit = end(&of, &caller, &operation)?;
        let body = OperationBody::of(&of, &operation);
        Ok((StatusCode::ACCEPTED, Extension(audit), Json(body)))
    })
    .await
}
