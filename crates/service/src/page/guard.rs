//! Who may see a page: a session that stands for a token. The token is looked up at each request, so that revoking it
//! ends its sessions at once.

use super::Page;
use super::origin::{address, is_from_elsewhere, is_same_origin, is_secure, session, set_cookie};
use super::session::{Holder, form_token};
use super::view::{Visit, root};
use crate::daemon::ServedJob;
use crate::http::BODY_LIMIT;
use crate::http::audit::{Caller, Origin};
use crate::http::auth::{audited, may, refused, too_many};
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::oidc::role;
use crate::token::{Role, Token, same};
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Form, FromRequest, Request, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// A page that loads itself anew: that request is ours, and has the cookie.
const ONCE_MORE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>hubvault</title>\
                         <meta http-equiv=\"refresh\" content=\"0\"><p><a href=\"\">Go on</a>";

/// What each form carries beside its own fields.
#[derive(Deserialize)]
struct FormToken {
    #[serde(default)]
    form_token: String,
}

/// Lets whoever is logged in through, and everybody else to the login.
pub(super) async fn guard(
    State(page): State<Arc<Page>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let public_url = page.public_url();
    let headers = request.headers();
    let uri = request.uri();
    let secure = is_secure(headers, peer.ip(), public_url.as_deref());
    let mut visit = Visit {
        root: root(uri.path()),
        here: uri
            .path_and_query()
            .map_or("/".to_owned(), ToString::to_string),
        caller: None,
        origin: Origin::of(peer.ip(), headers),
        address: address(headers, secure, public_url.as_deref()),
        secure,
        form_token: String::new(),
        jobs: Vec::new(),
    };
    let (method, path) = (request.method().clone(), uri.path().to_owned());
    let is_change = method != Method::GET && method != Method::HEAD;
    let passed = if is_change && !is_same_origin(headers, public_url.as_deref()) {
        Err(foreign_form())
    } else {
        pass(&page, &mut visit, request).await
    };
    let mut response = match passed {
        Ok(Pass::Through(through)) => {
            request = through;
            request.extensions_mut().insert(visit.clone());
            match visit
                .caller
                .clone()
                .filter(|_| is_change || is_inside(&path))
            {
                Some(caller) => audited(caller, request, next).await,
                None => next.run(request).await,
            }
        }
        Ok(Pass::Elsewhere(response)) => response,
        Err(error) => refused(&page.app, &error, &method, &path, &visit.origin),
    };
    response.extensions_mut().insert(visit);
    response
}

/// Where a request goes.
enum Pass {
    /// To its handler.
    Through(Request),
    /// To the login, and back after that.
    Elsewhere(Response),
}

/// Finds out whose request it is, and whether it may go on.
async fn pass(page: &Arc<Page>, visit: &mut Visit, request: Request) -> Result<Pass, ApiError> {
    let now = Instant::now();
    let cookie = session(request.headers(), visit.secure).map(str::to_owned);
    let token = match &cookie {
        Some(cookie) => visitor(page, cookie.clone(), now).await?,
        None => None,
    };
    let path = request.uri().path();
    let is_open =
        path == "/login" || path.starts_with("/login/oidc") || path.starts_with("/assets/");
    let is_change = request.method() != Method::GET && request.method() != Method::HEAD;
    let (Some(cookie), Some(token)) = (&cookie, token) else {
        if let Err(seconds) = page.app.requests.take(visit.origin.network(), now) {
            return Err(too_many("too many requests from this address", seconds));
        }
        if is_open {
            return Ok(Pass::Through(request));
        }
        return Ok(Pass::Elsewhere(to_login(
            visit,
            request.headers(),
            is_change,
            cookie.is_some(),
        )));
    };
    let allowed = may(&page.app, &token, Some(needed(path, is_change)), now);
    visit.form_token = form_token(cookie);
    visit.caller = Some(Caller {
        token: Some(token),
        origin: visit.origin,
    });
    visit.jobs = page.app.daemon.jobs().iter().map(ServedJob::name).collect();
    allowed?;
    if is_change && !is_open {
        return with_form_token(request, &visit.form_token)
            .await
            .map(Pass::Through);
    }
    Ok(Pass::Through(request))
}

/// The role that a page, or a form, needs.
fn needed(path: &str, is_change: bool) -> Role {
    let pages_of_admin = ["/tokens", "/audit", "/set-up", "/checks/resolved"];
    let is_unmasked = path.starts_with("/backups/") && path.ends_with("/file/unmasked");
    let is_of_admin = is_unmasked || pages_of_admin.iter().any(|page| path.starts_with(page));
    match path {
        "/login" | "/logout" => Role::Read,
        _ if is_of_admin || is_restore(path) => Role::Admin,
        _ if is_change && path.starts_with("/settings") => Role::Admin,
        _ if is_change || is_inside(path) => Role::Operate,
        _ => Role::Read,
    }
}

/// Whether a page shows what is inside an archive: whoever may see that may download the archive, and leaves a line.
fn is_inside(path: &str) -> bool {
    let is_one = path.ends_with("/file") || path.ends_with("/manifest");
    path.starts_with("/backups/") && (path.contains("/tables/") || is_one)
}

/// Whether a page is a step of a restore; a table of a backup may have the name `restore`.
fn is_restore(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts.as_slice(),
        ["", "backups" | "operations", _, "restore"]
    )
}

/// The token that the session of this cookie stands for; `None` if either ended.
async fn visitor(
    page: &Arc<Page>,
    cookie: String,
    now: Instant,
) -> Result<Option<Token>, ApiError> {
    let Some(holder) = page.sessions.of(&cookie, now) else {
        return Ok(None);
    };
    let page = Arc::clone(page);
    blocking(move || {
        let token = match &holder {
            Holder::Token(id) => page.app.tokens()?.with_id(id)?,
            // What the configuration says of the groups now.
            Holder::Person(person) => page.oidc().and_then(|oidc| {
                let role = role(&oidc, person)?;
                Some(Token::of_person(&person.name, role, &person.id))
            }),
        };
        if token.is_none() {
            page.sessions.end(&cookie);
        }
        Ok(token)
    })
    .await
}

fn foreign_form() -> ApiError {
    let what =
        "this form was not sent by a page of this service; open the page again and repeat it there";
    ApiError::new(StatusCode::FORBIDDEN, what)
}

/// The same request, if its form has the session's token.
async fn with_form_token(request: Request, wanted: &str) -> Result<Request, ApiError> {
    let (parts, body) = request.into_parts();
    let too_large = |_| {
        let what = "a form may measure 64 KiB";
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, what)
    };
    let bytes = to_bytes(body, BODY_LIMIT).await.map_err(too_large)?;
    let again = |bytes| Request::from_parts(parts.clone(), Body::from(bytes));
    let form = Form::<FormToken>::from_request(again(bytes.clone()), &()).await;
    let given = form.map(|Form(form)| form.form_token).unwrap_or_default();
    if !same(given.as_bytes(), wanted.as_bytes()) {
        return Err(foreign_form());
    }
    Ok(again(bytes))
}

/// To the login, with the way back to the page that was asked for, or to the one whose form was sent.
fn to_login(visit: &Visit, headers: &HeaderMap, is_change: bool, had_cookie: bool) -> Response {
    if !is_change && !had_cookie && is_from_elsewhere(headers) {
        return Html(ONCE_MORE).into_response();
    }
    let mut back = visit.here.as_str();
    if is_change {
        back = back.split('?').next().unwrap_or_default();
        back = back.rsplit_once('/').map_or("/", |(page, _)| page);
    }
    let mut query = String::new();
    for byte in back.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'/' => query.push(char::from(byte)),
            other => query += &format!("%{other:02X}"),
        }
    }
    let ended = if had_cookie { "&ended=1" } else { "" };
    let mut response = see_other(&format!("{}login?next={query}{ended}", visit.root));
    if had_cookie && let Ok(value) = HeaderValue::from_str(&set_cookie(None, visit.secure)) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
    response
}

/// To another page of ours, by a relative address.
pub(super) fn see_other(to: &str) -> Response {
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("./"));
    (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_a_restore_are_known_by_their_paths() {
        assert!(is_restore("/backups/x/restore") && is_restore("/operations/x/restore"));
        for other in [
            "/backups/x/tables/restore",
            "/backups/restore",
            "/restore",
            "/backups/x",
        ] {
            assert!(!is_restore(other), "{other}");
        }
    }
}
