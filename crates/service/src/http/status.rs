//! `GET /backup/status`: the last run, the next run, the retention rules, the disk.

use super::blocking;
use super::error::ApiError;
use super::of_job::OfJob;
use super::summary::Summary;
use axum::Json;
use hubvault_engine::disk::free_bytes;
use hubvault_engine::monitor::{self, Look};
use hubvault_engine::state::lease_wait::waiting;
use hubvault_engine::state::progress_file::running;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
#[cfg(test)]
use utoipa::ToSchema;

/// The state of a job.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct Status {
    job: String,
    /// Nothing is at risk.
    safe: bool,
    /// What is at risk, in sentences.
    risks: Vec<String>,
    last_backup: Option<Summary>,
    newest_proven: Option<Summary>,
    schedule: Schedule,
    retention: Retention,
    disk: Disk,
    /// The progress of the current run; null if there is none.
    #[cfg_attr(test, schema(value_type = Option<Object>))]
    running: Option<Value>,
    /// The run that waits for the lease of another machine: its id, the destination, who holds it, since when; null if
    /// none does.
    #[cfg_attr(test, schema(value_type = Option<Object>))]
    waiting_for_lease: Option<Value>,
    /// Queued messages.
    outbox_waiting: usize,
}

/// When backups are taken.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct Schedule {
    cron: String,
    #[cfg_attr(test, schema(value_type = Option<String>, format = DateTime))]
    next_run: Option<Timestamp>,
}

/// Retention rules; a rule of 0 keeps nothing.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct Retention {
    days: u32,
    keep_last: u32,
    daily: u32,
    weekly: u32,
    monthly: u32,
    yearly: u32,
    max_total_bytes: Option<u64>,
}

/// The space that archives take, and free space.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(ToSchema))]
pub(crate) struct Disk {
    directory: String,
    archives: usize,
    archives_bytes: u64,
    free_bytes: Option<u64>,
}

/// The last run, the next run, the retention rules, the disk, and the progress of the current run.
#[cfg_attr(test, utoipa::path(
    get,
    path = "/backup/status",
    params(super::of_job::Which),
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "The state of the job", body = Status),
        (status = 401, description = "No token", body = super::error::ErrorBody),
    )
))]
pub(super) async fn status(app: OfJob) -> Result<Json<Status>, ApiError> {
    blocking(move || Ok(Json(look(&app)?))).await
}

fn look(app: &OfJob) -> anyhow::Result<Status> {
    let settings = app.job.settings();
    let job = settings.job();
    let catalog = app.catalog()?;
    let look = Look::new(job, &catalog, Timestamp::now(), &settings.zone)?;
    let risks = settings.with_weakened(monitor::risks(&look)?);
    let overview = look.overview;
    let messages = catalog.outbox_states()?;
    let rules = job.retention;
    Ok(Status {
        safe: risks.is_empty(),
        risks,
        last_backup: overview.last_run.as_ref().map(Summary::of),
        newest_proven: overview.newest_proven.as_ref().map(Summary::of),
        schedule: Schedule {
            cron: job.schedule.expression().to_owned(),
            next_run: app.job.next_run(),
        },
        retention: Retention {
            days: rules.days,
            keep_last: rules.keep_last,
            daily: rules.daily,
            weekly: rules.weekly,
            monthly: rules.monthly,
            yearly: rules.yearly,
            max_total_bytes: rules.max_total.map(|size| size.0),
        },
        disk: Disk {
            directory: job.local_directory().display().to_string(),
            archives: overview.archives,
            archives_bytes: overview.archives_bytes,
            free_bytes: free_bytes(job.spool()).ok(),
        },
        running: running(&app.state()?)
            .map(serde_json::to_value)
            .transpose()?,
        waiting_for_lease: waiting(&app.state()?)
            .map(serde_json::to_value)
            .transpose()?,
        outbox_waiting: messages.iter().filter(|state| state.is_open()).count(),
        job: job.name.clone(),
    })
}
