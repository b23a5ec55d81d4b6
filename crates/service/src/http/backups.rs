//! `GET /backup/history` and `GET /backup/{id}`: what ran.

use super::blocking;
use super::error::ApiError;
use super::of_job::OfJob;
use super::summary::Summary;
use crate::logging;
use axum::Json;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use hubvault_engine::catalog::BackupRecord;
use hubvault_engine::catalog::sidecar::Sidecar;
use hubvault_model::BackupId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
#[cfg(test)]
use utoipa::{IntoParams, ToSchema};

const MOST: u64 = 100;
/// So much of a run's log is shown, from its end.
const LOG_BYTES: u64 = 64 * 1024;
const LOG_LINES: usize = 200;

/// Which part of the history.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct Page {
    /// How many, 1 to 100.
    #[serde(default = "thirty")]
    #[cfg_attr(test, param(minimum = 1, maximum = 100, default = 30))]
    limit: u64,
    /// How many newer ones are passed over.
    #[serde(default)]
    #[cfg_attr(test, param(default = 0))]
    offset: u64,
}

fn thirty() -> u64 {
    30
}

/// The answer.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct History {
    /// All that there are.
    total: usize,
    limit: u64,
    offset: u64,
    /// Newest first.
    backups: Vec<Summary>,
}

/// One run with everything that is known about it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct One {
    /// As `hubvault list --json` prints it (docs/json.md), with what was proven.
    #[cfg_attr(test, schema(value_type = Object))]
    backup: Value,
    /// The archive's table of contents; null if its archive is missing.
    #[cfg_attr(test, schema(value_type = Option<Object>))]
    manifest: Option<Value>,
    /// The last lines of the run's log; null where none was kept.
    log: Option<Vec<String>>,
}

/// Runs, newest first.
#[cfg_attr(test, utoipa::path(
    get,
    path = "/backup/history",
    params(Page, super::of_job::Which),
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "A page of them", body = History),
        (status = 400, description = "No such page", body = super::error::ErrorBody),
        (status = 401, description = "No token", body = super::error::ErrorBody),
    )
))]
pub(super) async fn history(
    app: OfJob,
    Query(page): Query<Page>,
) -> Result<Json<History>, ApiError> {
    if !(1..=MOST).contains(&page.limit) {
        let limit = page.limit;
        return Err(ApiError::bad(format!("limit is 1 to {MOST}, not {limit}")));
    }
    blocking(move || {
        let mut history = History {
            total: 0,
            limit: page.limit,
            offset: page.offset,
            backups: Vec::new(),
        };
        let end = page.offset.saturating_add(page.limit);
        let catalog = app.catalog()?;
        let read = catalog.each_summary(None, |run| {
            if (page.offset..end).contains(&(history.total as u64)) {
                history.backups.push(Summary::of_run(&run));
            }
            history.total += 1;
            Ok(ControlFlow::Continue(()))
        });
        read.map_err(anyhow::Error::new)?;
        Ok(Json(history))
    })
    .await
}

/// One run: its record with the proof, its manifest, the end of its log.
#[cfg_attr(test, utoipa::path(
    get,
    path = "/backup/{id}",
    params(("id" = String, Path, description = "UUID, or `latest`"), super::of_job::Which),
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "The run", body = One),
        (status = 400, description = "Not an id", body = super::error::ErrorBody),
        (status = 401, description = "No token", body = super::error::ErrorBody),
        (status = 404, description = "No such run", body = super::error::ErrorBody),
    )
))]
pub(super) async fn one(app: OfJob, Path(id): Path<String>) -> Result<Json<One>, ApiError> {
    blocking(move || {
        let record = find(&app, &id)?;
        let sidecar = record.file().and_then(Sidecar::beside);
        let ours = sidecar.filter(|sidecar| sidecar.manifest.id == record.id);
        let manifest = ours.map(|sidecar| serde_json::to_value(sidecar.manifest));
        let log = app.state()?.run_log(record.id);
        let one = || -> anyhow::Result<One> {
            Ok(One {
                manifest: manifest.transpose()?,
                log: last_lines(&log),
                backup: masked(serde_json::to_value(&record)?),
            })
        };
        Ok(Json(one()?))
    })
    .await
}

/// The run that an id or `latest` means.
pub(crate) fn find(app: &OfJob, word: &str) -> Result<BackupRecord, ApiError> {
    if word != "latest" {
        id(word)?;
    }
    let found = app.catalog()?.find(word).map_err(anyhow::Error::new)?;
    found.ok_or_else(|| {
        let what = format!("there is no backup {word}; /backup/history lists them");
        ApiError::new(StatusCode::NOT_FOUND, what)
    })
}

/// A whole id, as prefixes may come to mean another run.
pub(crate) fn id(word: &str) -> Result<BackupId, ApiError> {
    let id: Option<BackupId> = word.parse().ok();
    id.filter(|id| id.to_string() == word).ok_or_else(|| {
        let shown: String = word.chars().take(60).collect();
        ApiError::bad(format!(
            "{shown:?} is no id of a backup: a UUID in lower case"
        ))
    })
}

/// What the database said may hold what it was asked with.
pub(crate) fn masked(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(logging::masked(&text)),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::Object(fields) => fields.into_iter().map(|(k, v)| (k, masked(v))).collect(),
        other => other,
    }
}

/// The end of a file, line by line, masked.
pub(crate) fn last_lines(path: &std::path::Path) -> Option<Vec<String>> {
    let read = || {
        let mut file = std::fs::File::open(path)?;
        let from = file.metadata()?.len().saturating_sub(LOG_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(LOG_BYTES).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    let bytes = read().ok()?;
    let text = logging::masked(&String::from_utf8_lossy(&bytes));
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    Some(
        lines[from..]
            .iter()
            .map(|line| (*line).to_owned())
            .collect(),
    )
}
