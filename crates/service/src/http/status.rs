//! `GET /backup/status`: the last run, the next one, the rules, the disk.

use super::blocking;
use super::error::{ApiError, ErrorBody};
use super::of_job::{OfJob, Which};
use super::summary::{Summary, is_proven, is_there};
use axum::Json;
use hubvault_engine::disk::free_bytes;
use hubvault_engine::state::progress_file::running;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::ops::ControlFlow;
use utoipa::ToSchema;

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    job: String,
    last_backup: Option<Summary>,
    newest_proven: Option<Summary>,
    schedule: Schedule,
    retention: Retention,
    disk: Disk,
    /// What a run at work says of itself; null when none is.
    #[schema(value_type = Option<Object>)]
    running: Option<Value>,
    /// Messages that wait to be sent.
    outbox_waiting: usize,
}

/// When backups are taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Schedule {
    cron: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_run: Option<Timestamp>,
}

/// Which archives stay; 0 keeps none.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Retention {
    days: u32,
    keep_last: u32,
    daily: u32,
    weekly: u32,
    monthly: u32,
    yearly: u32,
    max_total_bytes: Option<u64>,
}

/// What the archives take and what is left.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Disk {
    directory: String,
    archives: usize,
    archives_bytes: u64,
    free_bytes: Option<u64>,
}

/// The last run, the next one, the retention rules, the disk, and what is at work.
#[utoipa::path(
    get,
    path = "/backup/status",
    params(Which),
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "What there is", body = Status),
        (status = 401, description = "No token", body = ErrorBody),
    )
)]
pub(super) async fn status(app: OfJob) -> Result<Json<Status>, ApiError> {
    blocking(move || Ok(Json(look(&app)?))).await
}

fn look(app: &OfJob) -> anyhow::Result<Status> {
    let settings = app.job.settings();
    let job = settings.job();
    let (mut last_backup, mut newest_proven) = (None, None);
    let (mut archives, mut archives_bytes) = (0, 0);
    app.each(|record| {
        last_backup.get_or_insert_with(|| Summary::of(&record));
        if newest_proven.is_none() && is_proven(&record) {
            newest_proven = Some(Summary::of(&record));
        }
        if is_there(&record) {
            archives += 1;
            archives_bytes += record.bytes.unwrap_or_default();
        }
        ControlFlow::Continue(())
    })?;
    let rules = job.retention;
    let messages = app.catalog()?.outbox_states()?;
    Ok(Status {
        last_backup,
        newest_proven,
        schedule: Schedule {
            cron: settings.text("schedule.cron").to_owned(),
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
            directory: job.directory.display().to_string(),
            archives,
            archives_bytes,
            free_bytes: free_bytes(&job.directory).ok(),
        },
        running: running(&app.state()?)
            .map(serde_json::to_value)
            .transpose()?,
        outbox_waiting: messages.iter().filter(|state| state.is_open()).count(),
        job: job.name,
    })
}
