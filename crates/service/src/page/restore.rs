//! Restores a backup in steps: what and where to, what it would do, a confirmation, the run. Each step is a form; what was
//! asked for is kept by the service, so that what was confirmed is what was shown.

use super::Page;
use super::actions;
use super::backup::find;
use super::guard::see_other;
use super::view::Visit;
use crate::http::audit::Caller;
use crate::http::auth::Audit;
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::http::of_job::OfJob;
use crate::http::operations::{begin, of_id};
use crate::http::restores::{asked, permitted, restore as confirmed};
use crate::operation::{Action, Operation};
use crate::restore_request::{OFF, RestoreForm};
use crate::token::Role;
use axum::Extension;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hubvault_engine::catalog::BackupRecord;
use hubvault_engine::command::shell_word;
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::Deserialize;
use std::sync::Arc;

/// So many tables of the backup are named beside the form.
const TABLES: usize = 500;

/// The first step: what is to be restored, and where to.
pub(super) async fn form(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(word): Path<String>,
) -> Result<Response, ApiError> {
    blocking(move || {
        let (of, record) = find(&page, &word)?;
        let form = RestoreForm::first(&of.job.settings().job().database.dbname);
        render(&page, &visit, &of, &record, &form, None)
    })
    .await
}

fn render(
    page: &Page,
    visit: &Visit,
    of: &OfJob,
    record: &BackupRecord,
    form: &RestoreForm,
    problem: Option<String>,
) -> Result<Response, ApiError> {
    let settings = of.job.settings();
    if !settings.service.http_restore {
        return Err(ApiError::new(StatusCode::FORBIDDEN, OFF));
    }
    let database = &settings.job().database;
    let is_wrong = problem.is_some();
    let names = record.tables.iter().map(|table| table.name.clone());
    let job = settings.job_name.as_deref();
    let job = job.map(|name| format!("{} ", shell_word(&format!("--job={name}"))));
    let values = context! {
        at => "backup",
        job => of.job.name(),
        id => record.id.to_string(),
        short => record.id.short(),
        sealed => !record.sealed_to.is_empty(),
        has_archive => record.was_published(),
        has_files => !record.files.is_empty(),
        form => Value::from(Serde(form)),
        problem,
        database => database.dbname.clone(),
        role => database.user.clone(),
        server => format!("{}:{}", database.host, database.port),
        may_be_living => settings.service.http_restore_living,
        tables => names.take(TABLES).collect::<Vec<_>>(),
        table_count => record.tables.len(),
        commands_list => commands(of, record, form),
        prefix => format!("hubvault {}", job.unwrap_or_default()),
    };
    let html = page.views.render("restore.html", visit, values)?;
    let status = if is_wrong {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    Ok((status, html).into_response())
}

/// The commands that show what the form can be asked for.
fn commands(of: &OfJob, record: &BackupRecord, form: &RestoreForm) -> Vec<String> {
    let settings = of.job.settings();
    let job = settings.job_name.as_deref();
    let requests = form
        .of_every_kind()
        .filter_map(|form| asked(of, &form, record).ok());
    let permitted = requests.filter(|request| permitted(of, request).is_ok());
    let preview = |request| Operation::new(record.id, Action::Preview(request), "").command(job);
    permitted.map(preview).collect()
}

/// The second step: finds out what the restore would do, and changes nothing.
pub(super) async fn preview(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(word): Path<String>,
    Form(form): Form<RestoreForm>,
) -> Result<Response, ApiError> {
    let caller = admin(&visit)?;
    blocking(move || {
        let (of, record) = find(&page, &word)?;
        let request = match asked(&of, &form, &record) {
            Ok(request) => request,
            Err(problem) => return render(&page, &visit, &of, &record, &form, Some(problem)),
        };
        permitted(&of, &request)?;
        let operation = begin(&of, &caller, &record, Action::Preview(request))?;
        Ok(begun(&visit, &operation))
    })
    .await
}

/// What confirms a restore.
#[derive(Debug, Deserialize)]
pub(super) struct Confirmed {
    #[serde(default)]
    database: String,
}

/// The last step: does what a preview showed.
pub(super) async fn restore(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(word): Path<String>,
    Form(form): Form<Confirmed>,
) -> Result<Response, ApiError> {
    let caller = admin(&visit)?;
    blocking(move || {
        let (of, shown) = of_id(&page.app, &word)?;
        let operation = confirmed(&of, &caller, &shown, &form.database)?;
        Ok(begun(&visit, &operation))
    })
    .await
}

/// Whoever restores; the guard has asked for the role, too.
fn admin(visit: &Visit) -> Result<Caller, ApiError> {
    let caller = actions::caller(visit)?;
    let role = caller.token.as_ref().map(|token| token.role);
    if role < Some(Role::Admin) {
        let what = "restoring needs the role admin";
        return Err(ApiError::new(StatusCode::FORBIDDEN, what));
    }
    Ok(caller)
}

fn begun(visit: &Visit, operation: &Operation) -> Response {
    let audit = Extension(Audit(format!("started {}", operation.in_words())));
    let to = format!("{}operations/{}", visit.root, operation.id);
    (audit, see_other(&to)).into_response()
}
