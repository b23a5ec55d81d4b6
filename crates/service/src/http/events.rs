//! `GET /backup/{id}/events`: the progress of a run, as server-sent events.

use super::audit::Caller;
use super::auth::too_many;
use super::backups::id;
use super::blocking;
use super::error::ApiError;
use super::of_job::OfJob;
use super::summary::Summary;
use axum::Extension;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use hubvault_engine::catalog::State as RunState;
use hubvault_engine::state::progress_file::running;
use hubvault_model::BackupId;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(500);
/// How long a process may take to report that it runs; one that reports nothing has crashed.
const REPORT_TIMEOUT: Duration = Duration::from_secs(30);

/// What is sent next.
enum Update {
    Progress(Value),
    /// Not started yet, or not recorded yet.
    Pending,
    Ended(Value),
}

/// `progress` twice a second while it runs, then `ended` with the run in a few fields.
#[cfg_attr(test, utoipa::path(
    get,
    path = "/backup/{id}/events",
    params(("id" = String, Path, description = "UUID"), super::of_job::Which),
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "Events until the run ended", content_type = "text/event-stream", body = String),
        (status = 400, description = "Not an id", body = super::error::ErrorBody),
        (status = 401, description = "No token", body = super::error::ErrorBody),
        (status = 404, description = "No such run", body = super::error::ErrorBody),
        (status = 429, description = "Too many follow runs with this token", body = super::error::ErrorBody),
    )
))]
pub(super) async fn events(
    app: OfJob,
    Extension(caller): Extension<Caller>,
    Path(word): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let run = id(&word)?;
    let app = Arc::new(app);
    let asked = Arc::clone(&app);
    blocking(move || exists(&asked, run)).await?;
    let token = caller.token.map(|token| token.id()).unwrap_or_default();
    let permit = app.followers.take(token.clone());
    let permit = permit.ok_or_else(|| too_many("too many follow runs with this token", 5))?;
    let begin = Some((app, Duration::ZERO, Instant::now(), permit));
    let stream = unfold(begin, move |state| {
        let token = token.clone();
        async move {
            let (app, pause, seen, permit) = state?;
            tokio::time::sleep(pause).await;
            let asked = Arc::clone(&app);
            let may_start = seen.elapsed() < REPORT_TIMEOUT;
            let update = blocking(move || {
                // A revoked token ends at once.
                if asked.tokens()?.with_id(&token)?.is_none() {
                    return Ok(Update::Ended(unknown(run, "the token was revoked")));
                }
                Ok(next_update(&asked, run, may_start)?)
            })
            .await;
            // The connection ends with what went wrong, which the log says, too.
            let update = update
                .unwrap_or_else(|_| Update::Ended(unknown(run, "the catalog cannot be read")));
            Some(match update {
                Update::Progress(value) => (
                    Ok(event("progress", &value)),
                    Some((app, INTERVAL, Instant::now(), permit)),
                ),
                Update::Pending => (
                    Ok(Event::default().comment("waiting")),
                    Some((app, INTERVAL, seen, permit)),
                ),
                Update::Ended(value) => (Ok(event("ended", &value)), None),
            })
        }
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

fn event(name: &str, value: &Value) -> Event {
    Event::default().event(name).data(value.to_string())
}

/// A run that was just triggered is known to the daemon before the catalog knows it.
fn exists(app: &OfJob, run: BackupId) -> Result<(), ApiError> {
    let recorded = app.catalog()?.knows(run).map_err(anyhow::Error::new)?;
    let is_running = running(&app.state()?).is_some_and(|progress| progress.id == run);
    if recorded || is_running || app.triggered_in(run).is_some() {
        return Ok(());
    }
    let what = format!("there is no backup {run}; /backup/history lists them");
    Err(ApiError::new(StatusCode::NOT_FOUND, what))
}

fn next_update(app: &OfJob, run: BackupId, may_start: bool) -> anyhow::Result<Update> {
    if let Some(progress) = running(&app.state()?).filter(|progress| progress.id == run) {
        return Ok(Update::Progress(serde_json::to_value(progress)?));
    }
    let record = app.catalog()?.find(&run.to_string())?;
    let ended = record.filter(|record| record.state != RunState::Running);
    Ok(match ended {
        Some(record) => Update::Ended(serde_json::to_value(Summary::of(&record))?),
        None if may_start => Update::Pending,
        None => Update::Ended(unknown(run, "its process crashed and left no result")),
    })
}

fn unknown(run: BackupId, reason: &str) -> Value {
    json!({"id": run, "state": "unknown", "reason": reason})
}
