//! Every setting with its origin, and those that may be made stricter over HTTP. Secrets are never shown.

use super::Page;
use super::actions::caller;
use super::guard::see_other;
use super::shown::percent_encoded;
use super::view::Visit;
use super::wish::{Wish, one_of};
use crate::http::blocking;
use crate::http::change;
use crate::http::error::ApiError;
use crate::http::of_job::{Which, choose};
use crate::logging::masked;
use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Response};
use hubvault_config::{Setting, change_rule, is_number_or_yes_no};
use hubvault_model::excerpt;
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

const PATH: &str = "settings";
/// So much of a value is shown, in characters.
const LONGEST: usize = 1_000;
/// The orders: of settings, of the tables of the file.
const ORDERS: [&str; 4] = ["key", "origin", "table", "says"];
/// The origin of what nobody set.
const DEFAULT: &str = "default";

/// One setting, for a template.
#[derive(Debug, Serialize)]
struct SettingRow {
    key: &'static str,
    value: String,
    origin: String,
    hides: String,
    /// What may be done with it over HTTP.
    rule: Option<String>,
}

impl SettingRow {
    fn of(setting: &Setting) -> Self {
        Self {
            key: setting.key.name,
            value: excerpt(&masked(&setting.shown("")), LONGEST),
            origin: setting.origin.clone(),
            hides: setting.hidden.join(", "),
            rule: change_rule(setting.key.name),
        }
    }
}

/// All settings of a job.
pub(super) async fn list(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Query(mut wish): Query<Wish>,
) -> Result<Response, ApiError> {
    blocking(move || {
        let of = wish.choose(&page, &visit)?;
        one_of("state", &wish.state, &["set", "default", "changeable"])?;
        one_of("sort", &wish.sort, &ORDERS)?;
        let settings = of.job.settings();
        let fits = |row: &SettingRow| {
            let is_of_state = match wish.state.as_str() {
                "set" => row.origin != DEFAULT,
                "default" => row.origin == DEFAULT,
                "changeable" => row.rule.is_some(),
                _ => true,
            };
            is_of_state && wish.finds(row.key)
        };
        let rows = settings.values.iter().map(SettingRow::of);
        let mut rows: Vec<SettingRow> = rows.filter(fits).collect();
        wish.sort("key", &mut rows, |row| row.key);
        wish.sort("origin", &mut rows, |row| row.origin.clone());
        // What is masked is not found either.
        let tables = settings.tables.iter().map(|entry| (entry, masked(&entry.text)));
        let mut tables: Vec<_> = tables
            .filter(|(entry, text)| wish.finds(entry.table) || wish.finds(text))
            .collect();
        wish.sort("table", &mut tables, |(entry, _)| entry.table);
        wish.sort("says", &mut tables, |(_, text)| text.clone());
        let tables = tables.iter().map(|(entry, text)| {
            context! { table => entry.table, text => excerpt(text, LONGEST), origin => entry.origin.clone() }
        });
        let notices = settings.notices.iter().map(|notice| masked(notice));
        let values = context! {
            at => PATH,
            job => of.job.name(),
            file => settings.file.as_ref().map(|path| path.display().to_string()),
            rows => Value::from(Serde(rows)),
            tables => tables.collect::<Vec<_>>(),
            notices => notices.collect::<Vec<_>>(),
            ..wish.order(PATH, &ORDERS)
        };
        let html = page.views.render("settings.html", &visit, values)?;
        Ok(html.into_response())
    })
    .await
}

/// The form of one setting.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    #[serde(default)]
    job: Option<String>,
    key: String,
    #[serde(default)]
    value: String,
    /// Takes a change back.
    #[serde(default)]
    undo: String,
}

/// Makes one setting stricter, or takes that back, as `PUT /backup/config` does.
pub(super) async fn change(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Form(form): Form<Change>,
) -> Result<Response, ApiError> {
    let (app, caller) = (Arc::clone(&page.app), caller(&visit)?);
    let job = form.job.clone();
    let of = blocking(move || choose(&app, Which { job }, None, false)).await?;
    let name = of.job.name();
    let text = form.value.trim();
    let number = is_number_or_yes_no(&form.key).then(|| serde_json::from_str(text).ok());
    let value = match number.flatten() {
        _ if !form.undo.is_empty() || text.is_empty() => serde_json::Value::Null,
        Some(number) => number,
        None => json!(text),
    };
    let body = json!({ (form.key.as_str()): value }).to_string();
    let (audit, _) = change::change(of, Extension(caller), body.into()).await?;
    let job = if visit.jobs.len() > 1 {
        format!("&job={}", percent_encoded(&name))
    } else {
        String::new()
    };
    let to = format!(
        "{}{PATH}?find={}{job}",
        visit.root,
        percent_encoded(&form.key)
    );
    Ok((audit, see_other(&to)).into_response())
}
