//! `POST /backup/{id}/link` and `GET /download/{id}`: an archive for whoever has a link, for a while.

use super::auth::Audit;
use super::backups::{find, id};
use super::error::{ApiError, ErrorBody};
use super::of_job::{OfJob, Which};
use super::{blocking, optional};
use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request};
use axum::http::header::CONTENT_DISPOSITION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use hubvault_engine::link::{LinkKey, MOST_HOURS};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tower_http::services::ServeFile;
use utoipa::{IntoParams, ToSchema};

/// How long a link opens; an empty body means `{}`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    /// 1 to 168.
    #[serde(default = "a_day")]
    #[schema(minimum = 1, maximum = 168, default = 24)]
    hours: i64,
}

fn a_day() -> i64 {
    24
}

/// A link.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Link {
    /// To be put after the address of this service. Whoever has it has the archive.
    path: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    bytes: Option<u64>,
    sealed: bool,
}

/// What a link carries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Signed {
    /// Seconds since 1970.
    expires: i64,
    /// HMAC-SHA256 over id and expiry, 64 hexadecimal digits.
    signature: String,
}

/// Makes a link that opens one archive for some hours, without a token.
#[utoipa::path(
    post,
    path = "/backup/{id}/link",
    params(("id" = String, Path, description = "UUID, or `latest`"), Which),
    request_body(content = Option<Wish>, content_type = "application/json"),
    security(("token" = ["operate"])),
    responses(
        (status = 201, description = "The link", body = Link),
        (status = 400, description = "Not understood", body = ErrorBody),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "The token's role is read", body = ErrorBody),
        (status = 404, description = "No such archive", body = ErrorBody),
    )
)]
pub(super) async fn link(
    app: OfJob,
    Path(word): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Extension<Audit>, Json<Link>), ApiError> {
    let wish: Wish = optional(&body)?;
    if !(1..=MOST_HOURS).contains(&wish.hours) {
        let hours = wish.hours;
        return Err(ApiError::bad(format!(
            "hours is 1 to {MOST_HOURS}, not {hours}"
        )));
    }
    blocking(move || {
        let (record, _) = archive(&app, &word)?;
        let expires_at = Timestamp::now() + SignedDuration::from_hours(wish.hours);
        let audit = format!("link to {} for {} hours", record.id, wish.hours);
        let link = Link {
            path: key(&app)?.path(record.id, expires_at),
            expires_at,
            bytes: record.bytes,
            sealed: !record.sealed_to.is_empty(),
        };
        Ok((StatusCode::CREATED, Extension(Audit(audit)), Json(link)))
    })
    .await
}

/// An archive, whole or a range of it. Needs a link, no token.
#[utoipa::path(
    get,
    path = "/download/{id}",
    params(("id" = String, Path, description = "UUID"), Signed, Which),
    security(()),
    responses(
        (status = 200, description = "The archive", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 206, description = "The range that was asked for", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 400, description = "Not a link", body = ErrorBody),
        (status = 403, description = "Not signed by this service", body = ErrorBody),
        (status = 404, description = "The archive is gone", body = ErrorBody),
        (status = 410, description = "The link is over", body = ErrorBody),
        (status = 416, description = "No such range", body = ErrorBody),
    )
)]
pub(super) async fn download(
    app: OfJob,
    Path(word): Path<String>,
    Query(signed): Query<Signed>,
    request: Request,
) -> Result<Response, ApiError> {
    let path = blocking(move || {
        id(&word)?;
        // Only who signed may say when it is over.
        if !key(&app)?.made(&word, signed.expires, &signed.signature) {
            let what = "this link was not made here, or it was changed; ask for a new one";
            return Err(ApiError::new(StatusCode::FORBIDDEN, what));
        }
        if signed.expires <= Timestamp::now().as_second() {
            let what = "this link is over; POST /backup/{id}/link makes a new one";
            return Err(ApiError::new(StatusCode::GONE, what));
        }
        let (record, path) = archive(&app, &word)?;
        tracing::info!("audit: download of {} began", record.id);
        Ok(path)
    })
    .await?;
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let served = ServeFile::new(&path).try_call(request).await;
    let mut response = served
        .with_context(|| format!("reading {}", path.display()))?
        .map(Body::new)
        .into_response();
    // Names of archives are plain, so that they need no quoting.
    let named = format!("attachment; filename=\"{}\"", name.unwrap_or_default());
    if let Ok(value) = HeaderValue::from_str(&named) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

type Record = hubvault_engine::catalog::BackupRecord;

/// A run whose archive is there.
fn archive(app: &OfJob, word: &str) -> Result<(Record, PathBuf), ApiError> {
    let record = find(app, word)?;
    let path = record.file.clone().filter(|path| path.is_file());
    let path = path.ok_or_else(|| {
        let what = format!("backup {} has no archive, or it is gone", record.id);
        ApiError::new(StatusCode::NOT_FOUND, what)
    })?;
    Ok((record, path))
}

fn key(app: &OfJob) -> Result<LinkKey, ApiError> {
    let key = LinkKey::of(&app.state()?);
    Ok(key.map_err(anyhow::Error::new)?)
}
