//! `GET /metrics`: the numbers, for Prometheus.

use super::error::{ApiError, ErrorBody};
use super::{App, blocking};
use crate::progress::file::running;
use crate::service::metrics::{self, Seen};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use hubvault_engine::disk::free_bytes;
use std::sync::Arc;

/// Numbers about runs, archives, messages and the disk.
#[utoipa::path(
    get,
    path = "/metrics",
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "Prometheus text, version 0.0.4", content_type = "text/plain", body = String),
        (status = 401, description = "No token", body = ErrorBody),
    )
)]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, ApiError> {
    let text = blocking(move || {
        let settings = app.daemon.settings();
        let hours = settings
            .text("monitor.max_age_hours")
            .parse()
            .unwrap_or(25.0);
        let job = settings.job();
        let catalog = app.catalog()?;
        let outbox = catalog.outbox().map_err(anyhow::Error::new)?;
        let checks = catalog.alerts(&job.name).map_err(anyhow::Error::new)?;
        Ok(metrics::text(&Seen {
            records: app.records()?,
            outbox,
            checks,
            free_bytes: free_bytes(&job.directory).ok(),
            started_at: app.daemon.started_at(),
            next_run: app.daemon.next_run(),
            running: running(&app.state()?).is_some(),
            max_age_hours: hours,
        }))
    })
    .await?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
