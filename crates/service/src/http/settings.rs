//! `GET /backup/config`: what is configured.

use super::of_job::OfJob;
use axum::Json;
use hubvault_config::{
    SCHEDULE_ENABLED, Settings, Value as Held, is_changeable, is_number_or_yes_no, old_name,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
#[cfg(test)]
use utoipa::ToSchema;

/// One setting. A secret's value is never shown.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct One {
    key: String,
    /// Text, an array of texts, `********` for a secret, or null.
    #[cfg_attr(test, schema(value_type = Object))]
    value: Value,
    /// Where it was said.
    origin: String,
    /// Where else something is said that does not hold.
    hides: Vec<String>,
    /// Whether PUT takes it, where that makes it stricter.
    changeable: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct Config {
    settings: Vec<One>,
    /// The same values as tables, `{"retention": {"days": 60}}`, also by the names of the service before hubvault.
    #[cfg_attr(test, schema(value_type = Object))]
    #[serde(rename = "config")]
    tables: Value,
    /// What is set and has no effect, or looks like a mistake.
    notices: Vec<String>,
}

/// Every setting, with where it was said; secrets masked.
#[cfg_attr(test, utoipa::path(
    get,
    path = "/backup/config",
    params(super::of_job::Which),
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "The settings in effect", body = Config),
        (status = 401, description = "No token", body = super::error::ErrorBody),
    )
))]
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
    let settings_of: Vec<One> = settings_of.collect();
    Config {
        tables: tables(&settings_of),
        settings: settings_of,
        notices: settings.notices.clone(),
    }
}

/// Numbers, and true and false, as such.
fn tables(settings: &[One]) -> Value {
    let mut tables = Map::new();
    let mut put = |name: &str, value: &Value| {
        let (table, name) = name.split_once('.').unwrap_or(("", name));
        let table = tables.entry(table).or_insert_with(|| json!({}));
        table[name] = value.clone();
    };
    for setting in settings {
        let key = setting.key.as_str();
        let value = typed(key, &setting.value);
        put(key, &value);
        if let Some(alias) = old_name(key) {
            put(alias, &value);
        }
    }
    put(SCHEDULE_ENABLED, &json!(true));
    Value::Object(tables)
}

fn typed(key: &str, value: &Value) -> Value {
    let text = value.as_str().filter(|_| is_number_or_yes_no(key));
    let parsed = text.and_then(|text| serde_json::from_str(text).ok());
    parsed.unwrap_or_else(|| value.clone())
}
