//! `POST /backup/{id}/restore` and `POST /operation/{id}/restore`: what a restore would do, and the restore that was shown.

use super::audit::Caller;
use super::auth::Audit;
use super::backups::find;
use super::error::ApiError;
use super::of_job::OfJob;
use super::operations::{OperationBody, begin, database_of, of_id};
use super::{App, blocking, optional};
use crate::operation::{Action, Operation, Outcome};
use crate::restore_request::{RestoreForm, RestoreRequest};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use hubvault_engine::catalog::BackupRecord;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::sync::Arc;
#[cfg(test)]
use utoipa::ToSchema;

/// A preview that is older says too little of what there is now.
const FRESH: SignedDuration = SignedDuration::from_hours(1);

/// What is to be restored, and where to.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// `new-database`, `new-schema`, `files`; where the configuration permits it also `missing-rows`, `different-rows`,
    /// `all-rows` and `living`.
    what: String,
    /// The name of the new database.
    #[serde(default)]
    database: String,
    /// The name of the new schema.
    #[serde(default)]
    schema: String,
    /// Tables, as names or patterns.
    #[serde(default)]
    tables: Vec<String>,
    /// With a whole database: everything belongs to the role that restores.
    #[serde(default)]
    no_owner: bool,
}

/// What confirms a restore.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(ToSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Confirmed {
    /// The name of the living database, where that is changed.
    database: String,
}

type Begun = (StatusCode, Extension<Audit>, Json<OperationBody>);

fn begun(of: &OfJob, operation: &Operation) -> Begun {
    let audit = Audit(format!("started {}", operation.in_words()));
    let body = OperationBody::of(of, operation);
    (StatusCode::ACCEPTED, Extension(audit), Json(body))
}

/// Finds out what a restore would do, in a process of its own. Nothing is changed.
#[cfg_attr(test, utoipa::path(
    post,
    path = "/backup/{id}/restore",
    params(("id" = String, Path, description = "UUID, or `latest`"), super::of_job::Which),
    request_body(content = Wanted, content_type = "application/json"),
    security(("token" = ["admin"])),
    responses(
        (status = 202, description = "It begins; its result says what the restore would do", body = OperationBody),
        (status = 400, description = "Not understood, or not possible", body = super::error::ErrorBody),
        (status = 401, description = "No token", body = super::error::ErrorBody),
        (status = 403, description = "The token's role is not admin, or the configuration does not permit it", body = super::error::ErrorBody),
        (status = 404, description = "No such backup", body = super::error::ErrorBody),
        (status = 409, description = "One is in progress (`details.operation`), there is no archive, or it is sealed", body = super::error::ErrorBody),
        (status = 429, description = "Too many with this token", body = super::error::ErrorBody),
    )
))]
pub(super) async fn preview(
    of: OfJob,
    Extension(caller): Extension<Caller>,
    Path(word): Path<String>,
    body: Bytes,
) -> Result<Begun, ApiError> {
    let wanted: Wanted = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad(format!("the body is not what is taken: {error}")))?;
    let form = RestoreForm::of(
        &wanted.what,
        &wanted.database,
        &wanted.schema,
        &wanted.tables,
        wanted.no_owner,
    );
    let form = form.map_err(ApiError::bad)?;
    blocking(move || {
        let record = find(&of, &word)?;
        let request = asked(&of, &form, &record).map_err(ApiError::bad)?;
        permitted(&of, &request)?;
        let operation = begin(&of, &caller, &record, Action::Preview(request))?;
        Ok(begun(&of, &operation))
    })
    .await
}

/// Does what a preview showed, once, within an hour.
#[cfg_attr(test, utoipa::path(
    post,
    path = "/operation/{id}/restore",
    params(("id" = String, Path, description = "The preview's UUID")),
    request_body(content = Confirmed, content_type = "application/json"),
    security(("token" = ["admin"])),
    responses(
        (status = 202, description = "It begins", body = OperationBody),
        (status = 400, description = "Not an id, or not the name of the living database", body = super::error::ErrorBody),
        (status = 401, description = "No token", body = super::error::ErrorBody),
        (status = 403, description = "The token's role is not admin, or the configuration does not permit it", body = super::error::ErrorBody),
        (status = 404, description = "No such operation", body = super::error::ErrorBody),
        (status = 409, description = "No preview that can be confirmed, or one is in progress", body = super::error::ErrorBody),
        (status = 429, description = "Too many with this token", body = super::error::ErrorBody),
    )
))]
pub(super) async fn confirm(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(word): Path<String>,
    body: Bytes,
) -> Result<Begun, ApiError> {
    let confirmed: Confirmed = optional(&body)?;
    blocking(move || {
        let (of, shown) = of_id(&app, &word)?;
        let operation = restore(&of, &caller, &shown, &confirmed.database)?;
        Ok(begun(&of, &operation))
    })
    .await
}

/// The restore that a form asks for, or what is wrong with it.
pub(crate) fn asked(
    of: &OfJob,
    form: &RestoreForm,
    record: &BackupRecord,
) -> Result<RestoreRequest, String> {
    let settings = of.job.settings();
    let job = settings.job();
    form.request(&job.database.dbname, job.local_directory(), record.id)
}

/// Starts the restore that a preview showed; `database` is what was typed to confirm it.
pub(crate) fn restore(
    of: &OfJob,
    caller: &Caller,
    shown: &Operation,
    database: &str,
) -> Result<Operation, ApiError> {
    let request = confirmable(of, shown)?;
    let living = of.job.settings().job().database.dbname.clone();
    if request.is_into_living() && database.trim() != living {
        let what = "what was typed is not the name of the database whose tables are changed; nothing was done. Go \
                    back and type its name";
        return Err(ApiError::bad(what));
    }
    let record = find(of, &shown.backup.to_string())?;
    begin(of, caller, &record, Action::Restore(request))
}

/// The restore that a preview showed, if it still may be begun.
pub(crate) fn confirmable(of: &OfJob, shown: &Operation) -> Result<RestoreRequest, ApiError> {
    let conflict = |what: &str| Err(ApiError::new(StatusCode::CONFLICT, what));
    let Action::Preview(request) = &shown.action else {
        return conflict("this is no preview of a restore");
    };
    permitted(of, request)?;
    if shown.database != database_of(of) {
        return conflict(
            "the configuration names another database since this preview; make a new one, and confirm that",
        );
    }
    let all = of.job.operations();
    let is_later = |one: &Operation| {
        matches!(one.action, Action::Restore(_)) && one.requested_at > shown.requested_at
    };
    let known = all.list();
    if known.iter().any(is_later) {
        return conflict(
            "a restore began after this preview, which says too little now; make a new one, and confirm that",
        );
    }
    let is_newer = |one: &Operation| {
        one.shows(shown.backup, Some(request)) && one.requested_at > shown.requested_at
    };
    if known.iter().any(is_newer) {
        return conflict("there is a newer preview of the same restore; confirm that");
    }
    match all.ended(shown.id) {
        Some(ended) if ended.at + FRESH < Timestamp::now() => {
            conflict("this preview is older than an hour; make a new one, and confirm that")
        }
        Some(ended) if ended.outcome == Outcome::Done => Ok(request.clone()),
        Some(_) => conflict("the preview says why this restore would not succeed"),
        None => conflict("the preview has not ended yet"),
    }
}

/// Whether the configuration permits it.
pub(crate) fn permitted(of: &OfJob, request: &RestoreRequest) -> Result<(), ApiError> {
    let permitted = request.permitted(&of.job.settings().service);
    permitted.map_err(|what| ApiError::new(StatusCode::FORBIDDEN, what))
}
