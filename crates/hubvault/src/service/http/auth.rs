//! Who asks, and whether they may: everything is closed but what is named here.

use super::App;
use super::error::ApiError;
use crate::service::token::{Role, Token};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// What the audit line says beside who, what and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Audit(pub(crate) String);

/// The least role for a request; `None` where none is needed.
fn needed(method: &Method, path: &str) -> Option<Role> {
    let open = matches!(path, "/health" | "/openapi.json") || path.starts_with("/download/");
    match *method {
        Method::GET | Method::HEAD if open => None,
        Method::GET | Method::HEAD => Some(Role::Read),
        Method::POST => Some(Role::Operate),
        _ => Some(Role::Admin),
    }
}

/// Lets in whom it may, and writes down who changed what.
pub(crate) async fn guard(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let address = client(peer.ip(), request.headers());
    let now = Instant::now();
    if let Err(seconds) = app.requests.take(address, now) {
        return too_many("too many requests from this address", seconds);
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let Some(least) = needed(&method, &path) else {
        return next.run(request).await;
    };
    let token = match admit(&app, address, request.headers(), least) {
        Ok(token) => token,
        Err(error) => return refused(&error, &method, &path, address),
    };
    let mut response = next.run(request).await;
    if least > Role::Read {
        let detail = response.extensions_mut().remove::<Audit>();
        let detail = detail.map_or_else(String::new, |Audit(text)| format!(" {text}"));
        let (name, role, status) = (&token.name, token.role.as_str(), response.status().as_u16());
        tracing::info!("audit: {name} ({role}) {method} {path}{detail} from {address}: {status}");
    }
    response
}

fn admit(app: &App, address: IpAddr, headers: &HeaderMap, least: Role) -> Result<Token, ApiError> {
    let Some(text) = bearer(headers) else {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "a token is needed: Authorization: Bearer TOKEN (hubvault token create makes one)",
        ));
    };
    if let Err(seconds) = app.failures.check(address, Instant::now()) {
        let what = "too many wrong tokens from this address";
        return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, what).after(seconds));
    }
    let Some(token) = app.tokens()?.whose(text)? else {
        // That it was the last one is said by the next answer.
        let _ = app.failures.take(address, Instant::now());
        let what = "this token is not known; it was revoked, or never made";
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, what));
    };
    if token.role < least {
        let (name, role, least) = (&token.name, token.role.as_str(), least.as_str());
        let what = format!("{name} has the role {role}; this needs {least}");
        return Err(ApiError::new(StatusCode::FORBIDDEN, what));
    }
    Ok(token)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Behind a proxy on this host, the address that it saw; nobody else is believed.
fn client(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let said = headers.get("x-forwarded-for").and_then(|value| {
        let last = value.to_str().ok()?.rsplit(',').next()?;
        last.trim().parse().ok()
    });
    said.filter(|_| peer.is_loopback()).unwrap_or(peer)
}

fn refused(error: &ApiError, method: &Method, path: &str, address: IpAddr) -> Response {
    let mut response = error.clone().into_response();
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        let asks = HeaderValue::from_static("Bearer");
        response.headers_mut().insert("www-authenticate", asks);
    }
    let path: String = path.chars().take(100).collect();
    tracing::info!(
        "audit: refused {method} {path:?} from {address}: {}",
        status.as_u16()
    );
    response
}

fn too_many(what: &str, seconds: u64) -> Response {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, what)
        .after(seconds)
        .into_response()
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
        assert_eq!(needed(&Method::DELETE, "/health"), Some(Role::Admin));
    }

    #[test]
    fn only_a_proxy_on_this_host_is_believed() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-forwarded-for",
            HeaderValue::from_static("1.1.1.1, 2.2.2.2"),
        );
        let (local, remote) = ("127.0.0.1".parse().unwrap(), "9.9.9.9".parse().unwrap());
        assert_eq!(client(local, &headers).to_string(), "2.2.2.2");
        assert_eq!(client(remote, &headers), remote);
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
