//! Authentication and authorization: every path that is not named here is closed.
//!
//! A valid token is recognized first: wrong tokens and too many requests from others do not lock out its owner.

use super::App;
use super::audit::{Caller, Origin};
use super::error::ApiError;
use crate::token::{Role, Token};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// What the audit log adds to caller, request and status.
#[derive(Clone, Debug)]
pub(crate) struct Audit(pub(crate) String);

/// The role that a request needs; `None` if it needs none.
fn needed(method: &Method, path: &str) -> Option<Role> {
    let open = matches!(path, "/health" | "/openapi.json") || path.starts_with("/download/");
    match *method {
        Method::GET | Method::HEAD if open => None,
        Method::GET | Method::HEAD => Some(Role::Read),
        Method::POST if is_restore(path) => Some(Role::Admin),
        Method::POST => Some(Role::Operate),
        _ => Some(Role::Admin),
    }
}

/// Whether a path is a step of a restore.
fn is_restore(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts.as_slice(), ["", "backup" | "operation", _, "restore"])
}

/// Lets authorized requests in, and logs changes.
pub(crate) async fn guard(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let origin = Origin::of(peer.ip(), request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let least = needed(&method, &path);
    let caller = match admit(&app, origin, request.headers(), &path, least) {
        Ok(token) => Caller { token, origin },
        Err(error) => return refused(&app, &error, &method, &path, &origin),
    };
    request.extensions_mut().insert(caller.clone());
    if least <= Some(Role::Read) {
        return next.run(request).await;
    }
    audited(caller, request, next).await
}

/// Answers a request that may change something, and logs that.
pub(crate) async fn audited(caller: Caller, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let origin = caller.origin;
    // Whoever hangs up at once has changed something all the same, and that leaves its line.
    let audited = tokio::spawn(async move {
        let mut response = next.run(request).await;
        let detail = response.extensions_mut().remove::<Audit>();
        let detail = detail.map_or_else(String::new, |Audit(text)| format!(" {text}"));
        let status = response.status().as_u16();
        tracing::info!("audit: {caller} {method} {path}{detail} from {origin}: {status}");
        response
    });
    audited
        .await
        .unwrap_or_else(|error| ApiError::from(anyhow::Error::new(error)).into_response())
}

/// The token that was sent, if it is valid. Requests with one count for the token, all others for their address.
fn admit(
    app: &App,
    origin: Origin,
    headers: &HeaderMap,
    path: &str,
    least: Option<Role>,
) -> Result<Option<Token>, ApiError> {
    let now = Instant::now();
    let text = bearer(headers);
    let shown = match text {
        Some(text) => app.tokens()?.whose(text)?,
        None => None,
    };
    if let Some(token) = shown {
        may(app, &token, least, now)?;
        return Ok(Some(token));
    }
    // Its answer costs no more than a refusal, and a load balancer may share this host with a stranger.
    let is_free = path == "/health" && origin.is_this_host();
    let requests = match path {
        "/health" => &app.requests_for_health,
        _ => &app.requests,
    };
    if !is_free && let Err(seconds) = requests.take(origin.network(), now) {
        return Err(too_many("too many requests from this address", seconds));
    }
    if least.is_none() {
        return Ok(None);
    }
    if text.is_none() {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "a token is needed: Authorization: Bearer TOKEN (hubvault token create makes one)",
        ));
    }
    if let Err(seconds) = app.failures.take(origin.network(), now) {
        let what = "too many wrong tokens from this address";
        return Err(too_many(what, seconds));
    }
    let what = "this token is not known; it was revoked, or never made";
    Err(ApiError::new(StatusCode::UNAUTHORIZED, what))
}

/// Whether a token may send a request now, and one that needs this role.
pub(crate) fn may(
    app: &App,
    token: &Token,
    least: Option<Role>,
    now: Instant,
) -> Result<(), ApiError> {
    if let Err(seconds) = app.requests_of_tokens.take(token.id(), now) {
        return Err(too_many("too many requests with this token", seconds));
    }
    if Some(token.role) < least {
        let (name, role) = (&token.name, token.role.as_str());
        let least = least.map_or("", Role::as_str);
        let what = format!("{name} has the role {role}; this needs {least}");
        return Err(ApiError::new(StatusCode::FORBIDDEN, what));
    }
    Ok(())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

pub(crate) fn refused(
    app: &App,
    error: &ApiError,
    method: &Method,
    path: &str,
    origin: &Origin,
) -> Response {
    let mut response = error.clone().into_response();
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        let asks = HeaderValue::from_static("Bearer");
        response.headers_mut().insert("www-authenticate", asks);
    }
    let path: String = path.chars().take(100).collect();
    let why = format!("{} {}", status.as_u16(), error.message());
    app.refusals
        .line(&format!("{method} {path:?}"), origin, &why);
    response
}

/// 429, with the time after which to retry.
pub(crate) fn too_many(what: &str, seconds: u64) -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, what).after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_closed_but_what_is_named() {
        assert_eq!(needed(&Method::GET, "/health"), None);
        assert_eq!(needed(&Method::GET, "/download/x"), None);
        for closed in [
            "/",
            "/health/",
            "//health",
            "/metrics",
            "/backup/config",
            "/nothing",
        ] {
            assert_eq!(needed(&Method::GET, closed), Some(Role::Read), "{closed}");
        }
        assert_eq!(
            needed(&Method::POST, "/backup/trigger"),
            Some(Role::Operate)
        );
        assert_eq!(needed(&Method::PUT, "/backup/config"), Some(Role::Admin));
        for restore in ["/backup/x/restore", "/operation/x/restore"] {
            assert_eq!(needed(&Method::POST, restore), Some(Role::Admin));
        }
        assert_eq!(needed(&Method::DELETE, "/health"), Some(Role::Admin));
    }

    #[test]
    fn a_bearer_token_is_taken_from_its_header() {
        let with = |text| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(text));
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(with("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(with("bearer  abc").as_deref(), Some("abc"));
        assert_eq!(
            (with("Basic abc"), with("Bearer "), with("abc")),
            (None, None, None)
        );
    }
}
