//! What a page starts: the same that the API starts, by its own functions. What weakens something is not among it.

use super::Page;
use super::backup::{find, render};
use super::guard::see_other;
use super::shown::percent_encoded;
use super::view::Visit;
use super::wish::Wish;
use crate::http::audit::Caller;
use crate::http::auth::Audit;
use crate::http::blocking;
use crate::http::download;
use crate::http::error::ApiError;
use crate::http::of_job::{Which, choose};
use crate::http::operations::{Check, begin};
use crate::http::run;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hubvault_engine::catalog::Pin;
use hubvault_engine::retain;
use minijinja::context;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// The form that starts a run.
#[derive(Debug, Deserialize)]
pub(super) struct Start {
    #[serde(default)]
    job: Option<String>,
}

/// Starts a run, as `POST /backup/trigger` does.
pub(super) async fn start(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Form(form): Form<Start>,
) -> Result<Response, ApiError> {
    let (app, caller) = (Arc::clone(&page.app), caller(&visit)?);
    let of = blocking(move || choose(&app, Which { job: form.job }, None, false)).await?;
    let job = of.job.name();
    let (_, audit, _) = run::trigger(of, Extension(caller), Bytes::new()).await?;
    let to = if visit.jobs.len() > 1 {
        format!("{}?job={}", visit.root, percent_encoded(&job))
    } else {
        visit.root
    };
    Ok((audit, see_other(&to)).into_response())
}

/// The form that makes a link.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    #[serde(default = "a_day")]
    hours: i64,
}

fn a_day() -> i64 {
    24
}

/// Makes a link to an archive, as `POST /backup/{id}/link` does, and shows it.
pub(super) async fn link(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(word): Path<String>,
    Form(form): Form<Link>,
) -> Result<Response, ApiError> {
    let (known, caller) = (Arc::clone(&page), caller(&visit)?);
    let id = word.clone();
    let (of, _) = blocking(move || find(&known, &id)).await?;
    let body = json!({ "hours": form.hours }).to_string();
    let made = download::link(of, Extension(caller), Path(word.clone()), body.into()).await?;
    let (_, audit, axum::Json(link)) = made;
    let response = blocking(move || {
        let (of, record) = find(&page, &word)?;
        let said = context! {
            link => format!("{}{}", visit.root, link.path.trim_start_matches('/')),
            link_url => link.url,
            link_hours => form.hours,
        };
        render(&page, &visit, &of, &record, &Wish::default(), said)
    })
    .await?;
    Ok((StatusCode::CREATED, audit, response).into_response())
}

/// The form that verifies, drills or compares.
#[derive(Debug, Deserialize)]
pub(super) struct Operate {
    action: Check,
}

/// Verifies, drills or compares a backup, as `POST /backup/{id}/operation` does, and shows that.
pub(super) async fn operate(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(word): Path<String>,
    Form(form): Form<Operate>,
) -> Result<Response, ApiError> {
    let caller = caller(&visit)?;
    blocking(move || {
        let (of, record) = find(&page, &word)?;
        let operation = begin(&of, &caller, &record, form.action.into())?;
        let audit = Extension(Audit(format!("started {}", operation.in_words())));
        let to = format!("{}operations/{}", visit.root, operation.id);
        Ok((audit, see_other(&to)).into_response())
    })
    .await
}

/// Pins a backup: retention keeps it. To unpin it needs the host, as a stolen token must not make an archive removable.
pub(super) async fn pin(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(word): Path<String>,
) -> Result<Response, ApiError> {
    let caller = caller(&visit)?;
    blocking(move || {
        let (of, record) = find(&page, &word)?;
        if !record.is_kept() {
            let what = "this backup has no archive that could be kept";
            return Err(ApiError::new(StatusCode::CONFLICT, what));
        }
        let settings = of.job.settings();
        let who = caller
            .token
            .as_ref()
            .map_or("nobody", |token| token.name.as_str());
        let reason = Pin::now(&format!("the page, by {who}"));
        let unstored = retain::pin(settings.job(), &of.catalog()?, &record, Some(reason));
        for pin in unstored.map_err(anyhow::Error::new)? {
            let (destination, problem) = (&pin.destination, &pin.problem);
            tracing::warn!(
                "{destination}: {problem}; the next run or hubvault copies sync tries again"
            );
        }
        let audit = Extension(Audit(format!("pinned {}", record.id)));
        Ok((audit, see_other(&format!("../{}", record.id))).into_response())
    })
    .await
}

pub(super) fn caller(visit: &Visit) -> Result<Caller, ApiError> {
    visit
        .caller
        .clone()
        .ok_or_else(|| ApiError::new(StatusCode::UNAUTHORIZED, "log in first"))
}
