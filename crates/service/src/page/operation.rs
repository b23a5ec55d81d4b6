//! The page of an operation: how far it is, and its result.

use super::Page;
use super::actions::caller;
use super::guard::see_other;
use super::operation_row::{in_words, mark, title};
use super::restore_result;
use super::shown::{Clock, span};
use super::view::Visit;
use super::wish::{Wish, one_of};
use crate::http::backups::masked;
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::http::of_job::OfJob;
use crate::http::operations::{end, of_id};
use crate::http::restores::confirmable;
use crate::operation::{Action, Operation, Standing};
use crate::restore_request::RestoreRequest;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use hubvault_engine::progress::Stage;
use hubvault_engine::state::progress_file::RunProgress;
use hubvault_model::{ByteSize, grouped};
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde_json::Value as Json;
use std::sync::Arc;

/// So many tables are shown, those with something to say first.
const TABLES: usize = 200;
/// The orders of the tables of a result: of a comparison, of a restore, of what it drops.
const ORDERS: [&str; 7] = [
    "name", "missing", "changed", "extra", "inserted", "dropped", "lost",
];

/// The page of one.
pub(super) async fn show(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(word): Path<String>,
    Query(wish): Query<Wish>,
) -> Result<Response, ApiError> {
    blocking(move || {
        let (of, operation) = of_id(&page.app, &word)?;
        one_of("sort", &wish.sort, &ORDERS)?;
        let values = values(&of, &operation, &wish);
        let html = page.views.render("operation.html", &visit, values)?;
        Ok(html.into_response())
    })
    .await
}

/// Stops one.
pub(super) async fn stop(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(word): Path<String>,
) -> Result<Response, ApiError> {
    let caller = caller(&visit)?;
    blocking(move || {
        let (of, operation) = of_id(&page.app, &word)?;
        let audit = Extension(end(&of, &caller, &operation)?);
        let to = format!("{}operations/{}", visit.root, operation.id);
        Ok((audit, see_other(&to)).into_response())
    })
    .await
}

fn values(of: &OfJob, operation: &Operation, wish: &Wish) -> Value {
    let settings = of.job.settings();
    let clock = Clock::of(&settings);
    let standing = of.job.standing(operation);
    let mut ended = None;
    let mut running = None;
    match &standing {
        Standing::Ended(end) => {
            let took = end.at.duration_since(operation.requested_at);
            let answer = of.job.operations().answer(operation.id).map(masked);
            ended = Some(context! {
                at => Value::from(Serde(clock.when(end.at))),
                took => span(took.as_secs_f64()),
                error => end.error.clone(),
                result => answer.map(|answer| result(&operation.action, &answer, wish)),
            });
        }
        Standing::Running(progress) => {
            running = Some(progress.as_deref().map_or_else(|| context! {}, at_work));
        }
        Standing::Starting => running = Some(context! {}),
        Standing::Crashed => {}
    }
    context! {
        at => "operation",
        job => of.job.name(),
        id => operation.id.to_string(),
        action => operation.action.name(),
        title => title(&operation.action),
        by => operation.by.clone(),
        asked_at => Value::from(Serde(clock.when(operation.requested_at))),
        backup => operation.backup.to_string(),
        backup_short => operation.backup.short(),
        mark => mark(&standing),
        state_text => in_words(&standing),
        is_live => running.is_some(),
        is_restore => matches!(operation.action, Action::Restore(_)),
        running,
        ended,
        restore => operation.action.restore().map(|request| restore(of, operation, request)),
        command => operation.command(settings.job_name.as_deref()),
        confirm_command => operation.confirmed_command(settings.job_name.as_deref()),
        ..wish.order(&format!("operations/{}", operation.id), &ORDERS)
    }
}

/// What the page says of a restore beside its result.
fn restore(of: &OfJob, operation: &Operation, request: &RestoreRequest) -> Value {
    let settings = of.job.settings();
    let database = &settings.job().database;
    let confirm = confirmable(of, operation);
    context! {
        what => request.to_string(),
        is_into_living => request.is_into_living(),
        database => database.dbname.clone(),
        role => database.user.clone(),
        server => format!("{}:{}", database.host, database.port),
        may_confirm => confirm.is_ok(),
        why_not => confirm.err().map(|error| error.message().to_owned()),
        remedy => restore_result::remedy(request),
    }
}

fn at_work(progress: &RunProgress) -> Value {
    let expected = progress.expected_bytes.filter(|bytes| *bytes > 0);
    context! {
        stage => progress.stage.map(Stage::as_str),
        table => progress.table.clone(),
        percent => expected.map(|all| (progress.bytes.saturating_mul(100) / all).min(100)),
        rows => grouped(progress.rows),
        bytes => ByteSize(progress.bytes).to_string(),
    }
}

/// What the command answered, as the template takes it.
fn result(action: &Action, answer: &Json, wish: &Wish) -> Value {
    match action {
        Action::Verify => Value::from(Serde(answer)),
        Action::Drill => Value::from(Serde(answer.get(0))),
        Action::Compare => compared(answer, wish),
        Action::Preview(_) => restore_result::preview(answer, wish),
        Action::Restore(_) => restore_result::restored(answer, wish),
    }
}

/// The tables that differ first, where the address asks for no other order.
fn compared(answer: &Json, wish: &Wish) -> Value {
    let all = answer.as_array().map_or(&[] as &[Json], Vec::as_slice);
    let number = |table: &Json, name: &str| table[name].as_u64();
    let name = restore_result::name;
    let differs = |table: &Json| {
        let rows = ["missing", "changed", "extra"];
        let has_columns = table["columns"].as_object().is_some_and(|columns| {
            (columns.values()).any(|list| list.as_array().is_some_and(|list| !list.is_empty()))
        });
        !table["error"].is_null()
            || has_columns
            || rows.iter().any(|name| number(table, name) > Some(0))
    };
    let (mut first, equal): (Vec<&Json>, Vec<&Json>) = all.iter().partition(|it| differs(it));
    let differing = first.len();
    first.extend(equal);
    first.retain(|table| wish.finds(name(table)));
    wish.sort("name", &mut first, |table| name(table).to_owned());
    for key in ["missing", "changed", "extra"] {
        wish.sort(key, &mut first, |table| number(table, key));
    }
    let shown = |table: &&Json| {
        let rows = |name| number(table, name).map_or_else(|| "?".to_owned(), grouped);
        context! {
            name => name(table),
            missing => rows("missing"),
            changed => rows("changed"),
            extra => rows("extra"),
            error => table["error"].as_str(),
            columns => columns(&table["columns"]),
        }
    };
    context! {
        count => all.len(),
        differing,
        tables => first.iter().take(TABLES).map(shown).collect::<Vec<_>>(),
    }
}

/// The columns that differ, in a line each.
fn columns(columns: &Json) -> Vec<String> {
    let fields = columns.as_object().into_iter().flatten();
    let lines = fields.filter_map(|(name, list)| {
        let names: Vec<&str> = list.as_array()?.iter().filter_map(Json::as_str).collect();
        (!names.is_empty()).then(|| format!("{}: {}", name.replace('_', " "), names.join(", ")))
    });
    lines.collect()
}
