//! At the door: every error becomes a page, every answer gets its headers.

use super::Page;
use super::view::Visit;
use crate::http::error::ApiError;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use minijinja::context;
use std::sync::Arc;

/// Nothing inline, nothing from elsewhere, in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// `Referrer-Policy: same-origin`, not `no-referrer`: with that, browsers send `Origin: null` with our own forms.
const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// An address without a page.
pub(super) async fn nothing_here() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "there is no page at this address")
}

/// Shapes errors and adds headers.
pub(super) async fn shape(State(page): State<Arc<Page>>, request: Request, next: Next) -> Response {
    // What was sent is not sent again by a link.
    let may_repeat = request.method() == Method::GET;
    let mut response = next.run(request).await;
    let status = response.status();
    let is_page = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if (status.is_client_error() || status.is_server_error()) && !is_page {
        response = error_page(&page, response, may_repeat);
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn error_page(page: &Page, mut response: Response, may_repeat: bool) -> Response {
    let status = response.status();
    let ours = response.extensions_mut().remove::<ApiError>();
    let visit = response.extensions_mut().remove::<Visit>();
    let Some(visit) = visit else {
        // Nothing got as far as the guard within the time limit.
        return (status, meaning(status)).into_response();
    };
    let message = match &ours {
        Some(error) => error.message().to_owned(),
        None => meaning(status).to_owned(),
    };
    let retry_after = ours.as_ref().and_then(ApiError::retry_after);
    let details = ours.as_ref().map(ApiError::sentences);
    let values = context! {
        details,
        status => status.as_u16(),
        title => title(status),
        message,
        retry_after,
        may_repeat => may_repeat && (status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS),
    };
    let mut shaped = match page.views.render("error.html", &visit, values) {
        Ok(html) => (status, html).into_response(),
        Err(error) => (status, error.message().to_owned()).into_response(),
    };
    for (name, value) in response.headers() {
        if name != CONTENT_TYPE && name.as_str() != "content-length" {
            shaped.headers_mut().insert(name, value.clone());
        }
    }
    if let Some(seconds) = retry_after {
        shaped.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    shaped
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::CONFLICT => "Not done",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        status if status.is_server_error() => "This could not be read",
        _ => "This was not understood",
    }
}

/// What a status of a library means, which has no sentence of ours.
fn meaning(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "there is no page at this address",
        StatusCode::METHOD_NOT_ALLOWED => "this address does not take what was sent",
        StatusCode::PAYLOAD_TOO_LARGE => "a form may measure 64 KiB",
        StatusCode::SERVICE_UNAVAILABLE => {
            "it took longer than 30 s; the log of the service may say why"
        }
        status if status.is_client_error() => {
            "the form or the address has a value that is not valid"
        }
        _ => "the service could not answer; its log says why",
    }
}
