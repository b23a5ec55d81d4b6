//! The first page: am I safe? One job in full, several as a list.

use super::Page;
use super::job_facts::{Running, Waiting};
use super::view::Visit;
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::http::of_job::{Which, all, choose};
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use minijinja::value::Serde;
use minijinja::{Value, context};
use std::sync::Arc;

/// The page of one job, or the list of all.
pub(super) async fn show(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Query(which): Query<Which>,
) -> Result<Response, ApiError> {
    blocking(move || {
        let jobs = match &which.job {
            Some(_) => vec![choose(&page.app, which, None, false)?],
            None => all(&page.app),
        };
        if let [only] = jobs.as_slice() {
            let facts = page.facts.of(only)?;
            let values = context! {
                at => "overview",
                running => Running::now(only).map(|running| Value::from(Serde(running))),
                waiting => Waiting::now(only).map(|waiting| Value::from(Serde(waiting))),
                calendar => facts.picture(),
                timeline => facts.timeline(),
                job => Value::from(Serde(&*facts)),
            };
            let html = page.views.render("overview.html", &visit, values)?;
            return Ok(html.into_response());
        }
        // A job whose catalog cannot be read hides nothing of the others.
        let one = |of| match page.facts.of(of) {
            Ok(facts) => context! {
                name => of.job.name(),
                facts => Value::from(Serde(&*facts)),
                running => Running::now(of).map(|running| Value::from(Serde(running))),
            },
            Err(error) => {
                let problem = ApiError::from(error).message().to_owned();
                context! { name => of.job.name(), problem }
            }
        };
        let all: Vec<Value> = jobs.iter().map(one).collect();
        let html = page
            .views
            .render("jobs.html", &visit, context! { all, at => "overview" })?;
        Ok(html.into_response())
    })
    .await
}
