//! API tokens: listed, created and revoked by an administrator. Everybody who is notified of runs is notified of both: a
//! stolen token could make another one.

use super::Page;
use super::actions::caller;
use super::guard::see_other;
use super::shown::{Clock, When};
use super::view::Visit;
use super::wish::{Wish, one_of};
use crate::http::audit::Caller;
use crate::http::auth::{Audit, too_many};
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::http::notice::{Notice, facts};
use crate::http::of_job::all;
use crate::token::{Role, Token};
use anyhow::Context;
use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hubvault_engine::delivery::ChangedSetting;
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

const PATH: &str = "tokens";

/// One token, for a template.
#[derive(Debug, Serialize)]
struct TokenRow {
    name: String,
    role: &'static str,
    created: When,
    is_own: bool,
}

/// The list.
pub(super) async fn list(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Query(wish): Query<Wish>,
) -> Result<Response, ApiError> {
    blocking(move || render(&page, &visit, &wish, context! {})).await
}

fn render(page: &Page, visit: &Visit, wish: &Wish, said: Value) -> Result<Response, ApiError> {
    let jobs = page.app.daemon.jobs();
    let first = jobs.first().context("there is no job")?.settings();
    let clock = Clock::of(&first);
    let own = visit
        .caller
        .as_ref()
        .and_then(|caller| caller.token.as_ref());
    let own = own.map(Token::id);
    let mut tokens = page.app.tokens()?.list()?;
    tokens.reverse();
    one_of("state", &wish.state, &["read", "operate", "admin"])?;
    let find = wish.find.to_lowercase();
    tokens.retain(|token| {
        let is_of_role = wish.state.is_empty() || wish.state == token.role.as_str();
        is_of_role && token.name.to_lowercase().contains(&find)
    });
    one_of("sort", &wish.sort, &["name", "role"])?;
    wish.sort("", &mut tokens, |token| token.created_at);
    wish.sort("name", &mut tokens, |token| token.name.clone());
    wish.sort("role", &mut tokens, |token| token.role);
    let rows = tokens.iter().map(|token| TokenRow {
        name: token.name.clone(),
        role: token.role.as_str(),
        created: clock.when(token.created_at),
        is_own: Some(token.id()) == own,
    });
    let values = context! {
        at => PATH,
        rows => Value::from(Serde(rows.collect::<Vec<_>>())),
        ..wish.order(PATH, &["name", "role"])
    };
    let html = page
        .views
        .render("tokens.html", visit, context! { ..said, ..values })?;
    Ok(html.into_response())
}

/// What the forms send.
#[derive(Debug, Deserialize)]
pub(super) struct Create {
    name: String,
    role: Role,
}

/// Creates one and shows it, once.
pub(super) async fn create(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Form(form): Form<Create>,
) -> Result<Response, ApiError> {
    let caller = caller(&visit)?;
    blocking(move || {
        if let Err(seconds) = page.app.changes.take((), Instant::now()) {
            return Err(too_many(
                "too many changes; each is notified to the administrators",
                seconds,
            ));
        }
        let (tokens, role) = (page.app.tokens()?, form.role.as_str());
        let made = tokens.create(&form.name, form.role);
        let text = made.map_err(|error| ApiError::new(StatusCode::CONFLICT, error.to_string()))?;
        let change = change(&form.name, "none", &format!("role {role}"));
        if let Err(error) = notify(&page, &caller, &change) {
            tokens.revoke(&form.name)?;
            return Err(error
                .context("no token was created, as the messages about it could not be queued")
                .into());
        }
        let audit = Extension(Audit(format!("created the token {} ({role})", form.name)));
        let said = context! { made => form.name, text };
        let response = render(&page, &visit, &Wish::default(), said)?;
        Ok((StatusCode::CREATED, audit, response).into_response())
    })
    .await
}

/// The form that revokes.
#[derive(Debug, Deserialize)]
pub(super) struct Revoke {
    name: String,
}

/// Revokes one, effective at once. It is not held up by messages that cannot be queued.
pub(super) async fn revoke(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Form(form): Form<Revoke>,
) -> Result<Response, ApiError> {
    let caller = caller(&visit)?;
    blocking(move || {
        let tokens = page.app.tokens()?;
        let known = tokens
            .list()?
            .into_iter()
            .find(|token| token.name == form.name);
        let Some(known) = known else {
            let shown: String = form.name.chars().take(60).collect();
            let what = format!("there is no token {shown:?}; it may have been revoked already");
            return Err(ApiError::new(StatusCode::NOT_FOUND, what));
        };
        tokens.revoke(&form.name)?;
        let before = format!("role {}", known.role.as_str());
        if let Err(error) = notify(&page, &caller, &change(&form.name, &before, "revoked")) {
            tracing::error!("notifying of a revoked token: {error:#}");
        }
        let audit = Extension(Audit(format!("revoked the token {}", form.name)));
        Ok((audit, see_other(&format!("{}{PATH}", visit.root))).into_response())
    })
    .await
}

fn change(name: &str, from: &str, to: &str) -> ChangedSetting {
    ChangedSetting {
        key: format!("token {name}"),
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

/// Tokens are for all jobs, and so is the notice. A job whose messages cannot be queued holds up no other; an error if
/// none can.
fn notify(page: &Page, caller: &Caller, change: &ChangedSetting) -> anyhow::Result<()> {
    let mut error = None;
    let mut is_queued = false;
    for of in all(&page.app) {
        let facts = facts(vec![change.clone()], caller, false);
        match Notice::queue(&of, &of.job.settings(), facts) {
            Ok(notice) => {
                is_queued = true;
                notice.send();
            }
            Err(problem) => error = Some(problem),
        }
    }
    match error {
        Some(error) if !is_queued => Err(error),
        _ => Ok(()),
    }
}
