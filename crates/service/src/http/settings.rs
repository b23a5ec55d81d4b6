//! `GET /backup/config`: what is configured.

use super::error::ErrorBody;
use super::of_job::{OfJob, Which};
use axum::Json;
use hubvault_config::{Settings, Value as Held, is_changeable};
use serde::Serialize;
use serde_json::{Value, json};
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
    /// Whether PUT takes it, where that makes it stricter.
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
        (status = 200, description = "The settings in effect", body = Config),
        (status = 401, description = "No token", body = ErrorBody),
    )
)]
pub(super) async fn show(app: OfJob) -> Json<Config> {
    Json(all(&app.job.settings()))
}

pub(super) fn all(settings: &Settings) -> Config {
    let settings_of = settings.values.iter().map(|setting| One {
        key: setting.key.name.to_owned(),
        value: match &setting.value {
            Held::Unset => Value::Null,
            Held::Secret(_) => json!("********"),
            Held::Text(text) => json!(crate::logging::masked(text)),
            Held::List(items) => json!(items),
        },
        origin: setting.origin.clone(),
        hides: setting.hidden.clone(),
        changeable: is_changeable(setting.key.name),
    });
    Config {
        settings: settings_of.collect(),
        notices: settings.notices.clone(),
    }
}
