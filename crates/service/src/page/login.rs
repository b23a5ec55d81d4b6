//! Logging in with a token, and out.

use super::Page;
use super::guard::see_other;
use super::origin::{local_path, session, set_cookie};
use super::session::Holder;
use super::view::Visit;
use crate::http::auth::too_many;
use crate::http::blocking;
use crate::http::error::ApiError;
use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use minijinja::context;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use std::sync::Arc;
use std::time::Instant;

/// Where to go after the login.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Way {
    #[serde(default)]
    pub(super) next: String,
    #[serde(default)]
    ended: String,
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Login {
    #[serde(default, deserialize_with = "secret")]
    token: SecretString,
    #[serde(default)]
    next: String,
}

fn secret<'de, D: Deserializer<'de>>(text: D) -> Result<SecretString, D::Error> {
    String::deserialize(text).map(SecretString::from)
}

/// The form. It says nothing about this installation.
pub(super) async fn show(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Query(way): Query<Way>,
) -> Result<Response, ApiError> {
    if visit.caller.is_some() {
        return Ok(onward(&visit, &way.next));
    }
    let notice = (way.ended == "1").then_some("Your session has ended. Log in to go on.");
    form(&page, &visit, &way.next, notice, None)
}

/// The form, with what there is to say.
pub(super) fn form(
    page: &Page,
    visit: &Visit,
    next: &str,
    notice: Option<&str>,
    problem: Option<&str>,
) -> Result<Response, ApiError> {
    let next = local_path(next).map_or("/".to_owned(), |path| format!("/{path}"));
    let html = page.views.render(
        "login.html",
        visit,
        context! { next, notice, problem, sso => page.oidc().is_some() },
    )?;
    let status = match problem {
        Some(_) => StatusCode::UNAUTHORIZED,
        None => StatusCode::OK,
    };
    Ok((status, html).into_response())
}

/// Begins a session for a valid token. A wrong one counts as in the API, and a valid one is never refused for others' wrong ones.
pub(super) async fn login(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    Form(login): Form<Login>,
) -> Result<Response, ApiError> {
    let now = Instant::now();
    let known = Arc::clone(&page);
    let text = login.token;
    let token =
        blocking(move || Ok(known.app.tokens()?.whose(text.expose_secret().trim())?)).await?;
    let Some(token) = token else {
        let counted = page.app.failures.take(visit.origin.network(), now);
        let why = "wrong token";
        page.app
            .refusals
            .line("POST \"/login\"", &visit.origin, why);
        counted.map_err(|seconds| too_many("too many wrong tokens from this address", seconds))?;
        let problem = "This token is not known. It was revoked, or mistyped.";
        return form(&page, &visit, &login.next, None, Some(problem));
    };
    if let Some(before) = session(&headers, visit.secure) {
        page.sessions.end(before);
    }
    let session = page.sessions.begin(Holder::Token(token.id()), now)?;
    let (name, role, origin) = (&token.name, token.role.as_str(), visit.origin);
    tracing::info!("audit: {name} ({role}) POST /login began a session from {origin}: 303");
    Ok(with_cookie(
        onward(&visit, &login.next),
        Some(&session),
        &visit,
    ))
}

/// Ends the session.
pub(super) async fn logout(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Response {
    if let Some(session) = session(&headers, visit.secure) {
        page.sessions.end(session);
    }
    with_cookie(see_other("./login"), None, &visit)
}

/// To the page that was asked for before the login.
pub(super) fn onward(visit: &Visit, next: &str) -> Response {
    let path = local_path(next).unwrap_or_default();
    see_other(&format!("{}{path}", visit.root))
}

/// With the session's cookie; without a session, one that removes it.
pub(super) fn with_cookie(
    mut response: Response,
    session: Option<&str>,
    visit: &Visit,
) -> Response {
    if let Ok(value) = HeaderValue::from_str(&set_cookie(session, visit.secure)) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
    response
}
