//! `POST /backup/{id}/link` and `GET /download/{id}`: an archive for whoever has a link, for a while.

use super::audit::Caller;
use super::auth::{Audit, too_many};
use super::backups::{find, id};
use super::error::ApiError;
use super::of_job::OfJob;
use super::transfer::{self, Download};
use super::{blocking, optional};
use crate::token::Role;
use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use hubvault_engine::overview;
use hubvault_engine::state::link::{LinkKey, MOST_HOURS, Maker};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Instant;
use tower_http::services::ServeFile;
#[cfg(test)]
use utoipa::{IntoParams, ToSchema};

/// How long a link opens; an empty body means `{}`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    /// 1 to 168.
    #[serde(default = "a_day")]
    #[cfg_attr(test, schema(minimum = 1, maximum = 168, default = 24))]
    hours: i64,
}

fn a_day() -> i64 {
    24
}

/// A link.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct Link {
    /// To be put after the address of this service. Whoever has it has the archive.
    pub(crate) path: String,
    /// The whole link, where `http.public_url` says at which address people reach the service.
    pub(crate) url: Option<String>,
    /// How to get a whole link, where there is none.
    hint: Option<&'static str>,
    #[cfg_attr(test, schema(value_type = String, format = DateTime))]
    expires_at: Timestamp,
    bytes: Option<u64>,
    sealed: bool,
}

const HOW_TO_LINK: &str = "put the path after the address at which people reach the service; with that address in \
                           http.public_url (HTTP_PUBLIC_URL), url is the whole link";

/// What a link carries.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct Signed {
    /// Seconds since 1970.
    expires: i64,
    /// Who made it: `message`, or a token, with which it ends. Links of earlier versions name nobody.
    by: Option<String>,
    /// HMAC-SHA256 over id, expiry and maker, 64 hexadecimal digits.
    signature: String,
}

/// Makes a link that opens one archive for some hours, without a token. It ends with the token that made it.
#[cfg_attr(test, utoipa::path(
    post,
    path = "/backup/{id}/link",
    params(("id" = String, Path, description = "UUID, or `latest`"), super::of_job::Which),
    request_body(content = Option<Wish>, content_type = "application/json"),
    security(("token" = ["operate"])),
    responses(
        (status = 201, description = "The link", body = Link),
        (status = 400, description = "Not understood", body = super::error::ErrorBody),
        (status = 401, description = "No token", body = super::error::ErrorBody),
        (status = 403, description = "The token's role is read", body = super::error::ErrorBody),
        (status = 404, description = "No such archive", body = super::error::ErrorBody),
    )
))]
pub(crate) async fn link(
    app: OfJob,
    Extension(caller): Extension<Caller>,
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
        let sealed = if record.sealed_to.is_empty() {
            ""
        } else {
            ", sealed"
        };
        let bytes = record.bytes.unwrap_or_default();
        let (id, hours) = (record.id, wish.hours);
        let audit = format!("link to {id} ({bytes} bytes{sealed}) for {hours} hours");
        let token = caller.token.context("a link is made by a token")?;
        if token.is_person() {
            let what = "a link ends with the token that made it, and this session has none; log in with a token";
            return Err(ApiError::new(StatusCode::CONFLICT, what));
        }
        let path = key(&app)?.path(record.id, expires_at, &Maker::Token(token.id()));
        let settings = app.job.settings();
        let links = settings.job().delivery.links.as_ref();
        let url = links.map(|links| format!("{}{path}", links.base));
        let link = Link {
            path,
            hint: url.is_none().then_some(HOW_TO_LINK),
            url,
            expires_at,
            bytes: record.bytes,
            sealed: !record.sealed_to.is_empty(),
        };
        Ok((StatusCode::CREATED, Extension(Audit(audit)), Json(link)))
    })
    .await
}

/// An archive, whole or a range of it. Needs a link, no token.
#[cfg_attr(test, utoipa::path(
    get,
    path = "/download/{id}",
    params(("id" = String, Path, description = "UUID"), Signed, super::of_job::Which),
    security(()),
    responses(
        (status = 200, description = "The archive", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 206, description = "The range that was asked for", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 400, description = "Not a link", body = super::error::ErrorBody),
        (status = 403, description = "Not signed by this service", body = super::error::ErrorBody),
        (status = 404, description = "The archive is missing", body = super::error::ErrorBody),
        (status = 410, description = "The link is over, or its maker's token was revoked", body = super::error::ErrorBody),
        (status = 416, description = "No such range", body = super::error::ErrorBody),
        (status = 429, description = "Too many downloads at once, or wrong links", body = super::error::ErrorBody),
    )
))]
pub(super) async fn download(
    app: OfJob,
    Extension(caller): Extension<Caller>,
    Path(word): Path<String>,
    Query(signed): Query<Signed>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = caller.origin;
    let Some(permit) = app.downloads.take(origin.network()) else {
        return Err(too_many("too many downloads at once to this address", 30));
    };
    let (path, what) = blocking(move || {
        let backup = id(&word)?;
        let maker = opened(&app, &word, &signed).map_err(|error| {
            let why = format!("{}, {}", error.status().as_u16(), error.message());
            app.refusals
                .line(&format!("link to {backup}"), &origin, &why);
            guessing(&app, &caller).err().unwrap_or(error)
        })?;
        let (record, path) = archive(&app, &word)?;
        Ok((path, format!("{} to {origin}, link of {maker}", record.id)))
    })
    .await?;
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let is_head = request.method() == Method::HEAD;
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
    if is_head || !response.status().is_success() {
        let status = response.status().as_u16();
        tracing::info!("audit: download of {what}: {status}, nothing sent");
        return Ok(response);
    }
    let length = response.headers().get(CONTENT_LENGTH);
    let wanted = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let wanted: u64 = wanted.unwrap_or_default();
    tracing::info!("audit: download of {what} began: {wanted} bytes");
    let download = Download {
        what,
        wanted,
        _permit: permit,
    };
    Ok(transfer::logged(response, download))
}

/// Who made a link that opens, by name; `Err` says why it does not open.
fn opened(app: &OfJob, word: &str, signed: &Signed) -> Result<String, ApiError> {
    let changed = || {
        let what = "this link was not made here, or it was changed; ask for a new one";
        ApiError::new(StatusCode::FORBIDDEN, what)
    };
    let maker = match &signed.by {
        Some(by) => Some(Maker::parse(by).ok_or_else(changed)?),
        None => None,
    };
    // Only who signed may say when it is over.
    if !key(app)?.made(word, signed.expires, maker.as_ref(), &signed.signature) {
        return Err(changed());
    }
    if signed.expires <= Timestamp::now().as_second() {
        let what = "this link is over; POST /backup/{id}/link makes a new one";
        return Err(ApiError::new(StatusCode::GONE, what));
    }
    match maker {
        Some(Maker::Token(id)) => {
            let token = app.tokens()?.with_id(&id)?;
            // Whoever may make no links any more has none that open.
            let token = token.filter(|token| token.role >= Role::Operate);
            let token = token.ok_or_else(|| {
                let what = "the token that made this link was revoked, and the link ended with it; ask for a new one";
                ApiError::new(StatusCode::GONE, what)
            })?;
            Ok(token.name)
        }
        Some(Maker::Message) => Ok("a message".to_owned()),
        None => Ok("an earlier version".to_owned()),
    }
}

/// Wrong links count as wrong tokens do; a right one is never kept out by them.
fn guessing(app: &OfJob, caller: &Caller) -> Result<(), ApiError> {
    let taken = app.failures.take(caller.origin.network(), Instant::now());
    taken.map_err(|seconds| too_many("too many wrong links or tokens from this address", seconds))
}

type Record = hubvault_engine::catalog::BackupRecord;

/// A run whose archive is there.
fn archive(app: &OfJob, word: &str) -> Result<(Record, PathBuf), ApiError> {
    let record = find(app, word)?;
    let path = overview::archive(&record).map(std::path::Path::to_owned);
    let path = path.ok_or_else(|| {
        let what = format!("backup {} has no archive, or it is missing", record.id);
        ApiError::new(StatusCode::NOT_FOUND, what)
    })?;
    Ok((record, path))
}

fn key(app: &OfJob) -> Result<LinkKey, ApiError> {
    let key = LinkKey::of(&app.state()?);
    Ok(key.map_err(anyhow::Error::new)?)
}
