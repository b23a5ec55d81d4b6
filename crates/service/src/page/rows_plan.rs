//! What putting the missing rows of a table back would do. Nothing is changed: the page shows the plan and the command.

use super::Page;
use super::inside::{Inside, look, open, shell_word, table_frame, with_table};
use super::view::Visit;
use crate::http::auth::Audit;
use crate::http::error::ApiError;
use crate::logging::masked;
use axum::Extension;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hubvault_engine::restore::{PreviewTable, RestoreError, RowsPlan, plan_rows};
use hubvault_model::{Cancel, grouped, one_line};
use minijinja::{Value, context};
use serde::Deserialize;
use std::sync::Arc;

/// More rows than this are not loaded into the living database for a page, in bytes.
const MOST: u64 = 256 << 20;
/// So many sentences of a kind are shown.
const SENTENCES: usize = 50;

/// Whether rows that differ are overwritten, too.
#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    update: Option<String>,
}

/// Shows the plan.
pub(super) async fn show(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path((word, name)): Path<(String, String)>,
    Form(wish): Form<Wish>,
) -> Result<Response, ApiError> {
    let update = wish.update.is_some();
    let how = if update { "--upsert" } else { "--missing-rows" };
    look(page, visit, move |page, visit, cancel| {
        let commands = |id: &str| with_table("restore", id, &name, &format!(" {how}"));
        let inside = match open(page, visit, &word, commands, cancel)? {
            Ok(inside) => inside,
            Err(sealed) => return Ok(sealed),
        };
        let table = inside.table(&name)?;
        let settings = inside.of.job.settings();
        let to = &settings.job().database;
        let plan = plan_rows(&inside.archive, to, table, update, MOST, cancel);
        let plan = plan.map_err(|error| refused(&inside, error, cancel))?;
        let commands = command(visit, &inside, &plan, how);
        let values = context! {
            update,
            database => one_line(&to.dbname).into_owned(),
            role => one_line(&to.user).into_owned(),
            lines => lines(&plan),
            total => grouped(plan.preview.tables.iter().map(|it| it.inserted).sum()),
            notes => sentences(&plan.preview.notes),
            obstacles => sentences(&plan.preview.obstacles),
            commands_list => commands,
            ..table_frame(&inside, visit, table)
        };
        let html = page.views.render("plan.html", visit, values)?;
        let audit = format!("planned {how} of {name} of {}", inside.record.id);
        Ok((Extension(Audit(one_line(&audit).into_owned())), html).into_response())
    })
    .await
}

/// Why there is no plan.
fn refused(inside: &Inside, error: RestoreError, cancel: &Cancel) -> ApiError {
    match error {
        RestoreError::TooMuch { .. } | RestoreError::NotThere { .. } => {
            ApiError::new(StatusCode::CONFLICT, masked(&one_line(&error.to_string())))
        }
        error => inside.failed(error, cancel),
    }
}

fn lines(plan: &RowsPlan) -> Vec<Value> {
    let line = |table: &PreviewTable| {
        context! {
            table => one_line(&table.table).into_owned(),
            inserted => grouped(table.inserted),
            overwritten => grouped(table.overwritten),
        }
    };
    plan.preview.tables.iter().map(line).collect()
}

fn sentences(all: &[String]) -> Vec<String> {
    let shown = all.iter().take(SENTENCES);
    shown
        .map(|text| one_line(&masked(text)).into_owned())
        .collect()
}

/// The command that does it, and the one that only says what it would do; none where a name cannot be shown.
fn command(visit: &Visit, inside: &Inside, plan: &RowsPlan, how: &str) -> Vec<String> {
    let tables = plan
        .tables
        .iter()
        .map(|table| shell_word(&table.to_string()));
    let Some(tables) = tables.collect::<Option<Vec<String>>>() else {
        return Vec::new();
    };
    let tables = tables.join(" --table ");
    let program = super::inside::program(visit, &inside.of);
    let command = format!(
        "{program} restore {} --table {tables} {how}",
        inside.record.id.short()
    );
    vec![format!("{command} --dry-run"), command]
}
