//! `GET /metrics`: the numbers, for Prometheus.

use super::blocking;
use super::error::{ApiError, ErrorBody};
use super::of_job::{OfJob, OfJobs, Which};
use crate::metrics::{self, Seen};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use hubvault_engine::catalog::{BackupRecord, Catalog, State};
use hubvault_engine::disk::free_bytes;
use hubvault_engine::state::progress_file::running;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Numbers about runs, archives, messages and the disk.
#[utoipa::path(
    get,
    path = "/metrics",
    params(Which),
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "Prometheus text, version 0.0.4", content_type = "text/plain", body = String),
        (status = 401, description = "No token", body = ErrorBody),
    )
)]
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
        let checks = catalog.alerts(&job.name)?;
        Ok((runs(&catalog)?, catalog.outbox_states()?, checks))
    };
    let (readable, (records, outbox, checks)) = match read() {
        Ok(all) => (true, all),
        Err(error) => {
            tracing::error!("http: the numbers of {}: {error:#}", job.name);
            (false, Default::default())
        }
    };
    Seen {
        readable,
        records,
        outbox,
        checks,
        free_bytes: free_bytes(&job.directory).ok(),
        started_at: of.daemon.started_at(),
        next_run: of.job.next_run(),
        running: running(&of.job.state()).is_some(),
        max_age_hours: settings
            .text("monitor.max_age_hours")
            .parse()
            .unwrap_or(25.0),
        job: job.name,
    }
}

/// Every run, newest first; of all but the newest published one of each job only what is counted.
fn runs(catalog: &Catalog) -> anyhow::Result<Vec<BackupRecord>> {
    let mut published: BTreeSet<String> = BTreeSet::new();
    let mut runs = Vec::new();
    catalog.each(|mut record| {
        let is_published = matches!(record.state, State::Proven | State::Unproven);
        if !is_published || !published.insert(record.job.clone()) {
            record = BackupRecord {
                state: record.state,
                finished_at: record.finished_at,
                file: record.file,
                bytes: record.bytes,
                proof: record.proof,
                pinned: record.pinned,
                removed_at: record.removed_at,
                gone: record.gone,
                snapshot: record.snapshot,
                ..BackupRecord::begun(record.id, &record.job, record.started_at)
            };
        }
        runs.push(record);
        ControlFlow::Continue(())
    })?;
    Ok(runs)
}
