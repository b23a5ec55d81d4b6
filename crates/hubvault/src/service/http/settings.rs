//! `GET` and `PUT /backup/config`: what is configured, and what may be changed from afar.

use super::auth::Audit;
use super::blocking;
use super::error::{ApiError, ErrorBody};
use super::of_job::{OfJob, Which};
use crate::config::{CHANGEABLE, Changes, Settings, Value as Setting};
use axum::body::Bytes;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::{Mutex, PoisonError};
use utoipa::ToSchema;

/// One setting. A secret's value is never shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct One {
    key: String,
    /// Text, an array of texts, `********` for a secret, or null.
    #[schema(value_type = Object)]
    value: Value,
    /// Where it was said.
    origin: String,
    /// Where else something is said that does not hold.
    hides: Vec<String>,
    /// Whether PUT takes it.
    changeable: bool,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Config {
    settings: Vec<One>,
    /// What is set and has no effect, or looks like a mistake.
    notices: Vec<String>,
}

/// Every setting, with where it was said; secrets masked.
#[utoipa::path(
    get,
    path = "/backup/config",
    params(Which),
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "What holds", body = Config),
        (status = 401, description = "No token", body = ErrorBody),
    )
)]
pub(super) async fn show(app: OfJob) -> Json<Config> {
    Json(all(&app.job.settings()))
}

/// Changes some settings, `{"schedule.cron": "0 3 * * *"}`; null takes a change back.
///
/// They are kept in `overlay.toml` of the state directory and win over file and variables. The whole
/// configuration is tried with them first; if it is not right nothing changes.
#[utoipa::path(
    put,
    path = "/backup/config",
    params(Which),
    request_body(content = Object, content_type = "application/json"),
    security(("token" = ["admin"])),
    responses(
        (status = 200, description = "What holds now", body = Config),
        (status = 400, description = "Not right; `details` says what, by key", body = ErrorBody),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "The token's role is not admin", body = ErrorBody),
    )
)]
pub(super) async fn change(
    app: OfJob,
    body: Bytes,
) -> Result<(Extension<Audit>, Json<Config>), ApiError> {
    let wish: Map<String, Value> = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad(format!("the body is no JSON object: {error}")))?;
    if wish.is_empty() {
        return Err(ApiError::bad(
            "nothing to change; {\"schedule.cron\": \"0 3 * * *\"}",
        ));
    }
    blocking(move || {
        // Two at once would lose one's change.
        static CHANGING: Mutex<()> = Mutex::new(());
        let _one = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        let audit = Value::Object(wish.clone()).to_string();
        app.try_change(&wish)?;
        Ok((Extension(Audit(audit)), Json(all(&app.job.settings()))))
    })
    .await
}

impl OfJob {
    fn try_change(&self, wish: &Map<String, Value>) -> Result<(), ApiError> {
        let directory = self.state()?;
        let changes = Changes::merged(&directory, wish).map_err(|error| refused(&error))?;
        self.daemon
            .try_with(&self.job, &changes)
            .map_err(|error| refused(&error))?;
        changes.write(&directory)?;
        self.daemon.reload().map_err(|error| refused(&error))?;
        self.daemon.keeper_reloads();
        Ok(())
    }
}

fn refused(error: &crate::config::ConfigError) -> ApiError {
    let details: Map<String, Value> = error
        .problems
        .iter()
        .map(|problem| {
            (
                problem.key.clone(),
                json!(crate::logging::masked(&problem.what)),
            )
        })
        .collect();
    ApiError::bad("this configuration would not be right; nothing was changed")
        .with(Value::Object(details))
}

fn all(settings: &Settings) -> Config {
    let settings_of = settings.found.iter().map(|found| One {
        key: found.key.name.to_owned(),
        value: match &found.value {
            Setting::Unset => Value::Null,
            Setting::Secret(_) => json!("********"),
            Setting::Text(text) => json!(crate::logging::masked(text)),
            Setting::List(items) => json!(items),
        },
        origin: found.origin.clone(),
        hides: found.hidden.clone(),
        changeable: CHANGEABLE.contains(&found.key.name),
    });
    Config {
        settings: settings_of.collect(),
        notices: settings.notices.clone(),
    }
}
