//! What went wrong, in one shape whatever it was: our own errors, and those that the libraries
//! below answer with by themselves.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
#[cfg(test)]
use utoipa::ToSchema;

/// So much of a library's own words is read.
const WORDS: usize = 4096;

/// The one shape of every error.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct ErrorBody {
    /// A short word for programs, such as `not_found`.
    error: String,
    /// What was wrong and what to do, for people.
    message: String,
    /// When.
    #[cfg_attr(test, schema(format = DateTime))]
    timestamp: String,
    /// Of the request.
    path: String,
    /// What is wrong with each key, with 400 of `/backup/config`; the progress of the running backup, with 409.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<Object>))]
    details: Option<Value>,
}

/// An error on its way out; the path is put to it at the door.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
    details: Option<Value>,
    retry_after: Option<u64>,
}

impl ApiError {
    /// An error with a sentence.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            details: None,
            retry_after: None,
        }
    }

    /// What was asked for cannot be understood.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// With more for programs.
    pub(crate) fn with(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Its sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The sentences of its details, each with its key.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let details = self.details.as_ref().and_then(Value::as_object);
        let one = |(key, what): (&String, &Value)| Some(format!("{key}: {}", what.as_str()?));
        details.into_iter().flatten().filter_map(one).collect()
    }

    /// After how many seconds it may go better, where that is known.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// Not before so many seconds.
    pub(crate) fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

/// Something of ours cannot be read or written: that passes, or the log says what to do.
impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        let said = crate::logging::masked(&crate::logging::chain(&error));
        tracing::error!("http: {said}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, said)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// At the door: every error gets its shape, every answer its headers.
pub(crate) async fn shape(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if is_error && !is_json {
        response = in_shape(response, path).await;
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn in_shape(response: Response, path: String) -> Response {
    let (mut parts, body) = response.into_parts();
    // A value that the libraries call unprocessable is a bad request like any other here.
    if parts.status == StatusCode::UNPROCESSABLE_ENTITY {
        parts.status = StatusCode::BAD_REQUEST;
    }
    let ours = parts.extensions.remove::<ApiError>();
    let (message, details, retry_after) = match ours {
        Some(ours) => (ours.message, ours.details, ours.retry_after),
        None => (words(parts.status, body).await, None, None),
    };
    let error = ErrorBody {
        error: code(parts.status),
        message,
        timestamp: Timestamp::now().to_string(),
        path,
        details,
    };
    let mut shaped = (parts.status, axum::Json(error)).into_response();
    // `Allow` and the like stay; what spoke of the old body does not.
    for (name, value) in &parts.headers {
        if name.as_str() != "content-length" && name != CONTENT_TYPE {
            shaped.headers_mut().insert(name, value.clone());
        }
    }
    if let Some(seconds) = retry_after {
        shaped.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    *shaped.extensions_mut() = parts.extensions;
    shaped
}

/// What the library said, or what the status means.
async fn words(status: StatusCode, body: Body) -> String {
    let bytes = to_bytes(body, WORDS).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&bytes).trim().to_owned();
    if !said.is_empty() {
        return said;
    }
    let meaning = match status {
        StatusCode::NOT_FOUND => "there is nothing here; /openapi.json lists what there is",
        StatusCode::METHOD_NOT_ALLOWED => "this method is not for this path; see Allow",
        StatusCode::PAYLOAD_TOO_LARGE => "a body may measure 64 KiB",
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "it took longer than 30 s",
        other => other.canonical_reason().unwrap_or("no reason known"),
    };
    meaning.to_owned()
}

/// `Not Found` as `not_found`.
fn code(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or("error");
    reason.to_ascii_lowercase().replace([' ', '-'], "_")
}
