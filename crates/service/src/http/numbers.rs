//! `GET /metrics`: the metrics, for Prometheus.

use super::blocking;
use super::error::ApiError;
use super::of_job::{OfJob, OfJobs};
use crate::metrics::{self, Seen};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use hubvault_engine::disk::free_bytes;
use hubvault_engine::monitor::{self, Look};
use hubvault_engine::overview::Overview;
use hubvault_engine::state::progress_file::running;
use jiff::Timestamp;

/// Metrics about runs, archives, messages and the disk.
#[cfg_attr(test, utoipa::path(
    get,
    path = "/metrics",
    params(super::of_job::Which),
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "Prometheus text, version 0.0.4", content_type = "text/plain", body = String),
        (status = 401, description = "No token", body = super::error::ErrorBody),
    )
))]
pub(super) async fn metrics(OfJobs(jobs): OfJobs) -> Result<impl IntoResponse, ApiError> {
    let text = blocking(move || {
        let seen: Vec<Seen> = jobs.iter().map(look).collect();
        Ok(metrics::text(&seen))
    })
    .await?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}

/// A job whose catalog cannot be read hides nothing of the others.
fn look(of: &OfJob) -> Seen {
    let settings = of.job.settings();
    let job = settings.job();
    let read = || -> anyhow::Result<_> {
        let catalog = of.catalog()?;
        let overviews = Overview::read_all(&catalog)?;
        let look = Look::new(job, &catalog, Timestamp::now(), &settings.zone)?;
        Ok((
            overviews,
            catalog.outbox_states()?,
            catalog.alerts(&job.name)?,
            settings.with_weakened(monitor::risks(&look)?),
        ))
    };
    let (readable, (overviews, outbox, checks, risks)) = match read() {
        Ok(all) => (true, all),
        Err(error) => {
            tracing::error!("http: the metrics of {}: {error:#}", job.name);
            (false, Default::default())
        }
    };
    Seen {
        readable,
        overviews,
        outbox,
        checks,
        risks: risks.len(),
        free_bytes: free_bytes(job.spool()).ok(),
        started_at: of.daemon.started_at(),
        next_run: of.job.next_run(),
        running: running(&of.job.state()).is_some(),
        max_age_hours: job.monitor.max_age_hours,
        job: job.name.clone(),
    }
}
