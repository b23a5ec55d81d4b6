//! Which job a request is about: the one that `?job=` names, the one that has the backup of the path, or the
//! only one.

use super::error::ApiError;
use super::{App, blocking};
use crate::daemon::ServedJob;
use anyhow::Result;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use hubvault_engine::catalog;
use hubvault_engine::catalog::Catalog;
use hubvault_engine::overview::Overview;
use hubvault_engine::state::StateDir;
use hubvault_model::BackupId;
use serde::Deserialize;
use std::ops::Deref;
use std::sync::Arc;
#[cfg(test)]
use utoipa::IntoParams;

/// The job that is meant.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(crate) struct Which {
    /// The job; may be left out where there is one, or where the path has the id of a backup.
    pub(crate) job: Option<String>,
}

/// A job of the service, for an answer about it.
pub(crate) struct OfJob {
    /// The job.
    pub(crate) job: ServedJob,
    app: Arc<App>,
}

impl Deref for OfJob {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl OfJob {
    /// Its state directory.
    pub(crate) fn state(&self) -> Result<StateDir> {
        Ok(StateDir::open(self.job.settings().job().state_root())?)
    }

    /// Its catalog.
    pub(crate) fn catalog(&self) -> Result<Catalog> {
        Ok(catalog::current_or_new(self.job.settings().job())?)
    }

    /// What its catalog says of it.
    pub(crate) fn overview(&self) -> Result<Overview> {
        Ok(Overview::read(&self.catalog()?, &self.job.name())?)
    }

    fn knows(&self, id: BackupId) -> bool {
        let found = self.catalog().and_then(|it| Ok(it.find(&id.to_string())?));
        found.is_ok_and(|record| record.is_some())
    }
}

impl FromRequestParts<Arc<App>> for OfJob {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let which = which(parts)?;
        let mut segments = parts.uri.path().split('/');
        let id = segments.find_map(|segment| segment.parse().ok());
        let app = Arc::clone(app);
        let is_open = parts.uri.path().starts_with("/download/");
        blocking(move || choose(&app, which, id, is_open)).await
    }
}

/// All jobs, or the one that `?job=` names.
pub(crate) struct OfJobs(pub(crate) Vec<OfJob>);

impl FromRequestParts<Arc<App>> for OfJobs {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let which = which(parts)?;
        if which.job.is_some() {
            return Ok(Self(vec![choose(app, which, None, true)?]));
        }
        Ok(Self(all(app)))
    }
}

fn which(parts: &Parts) -> Result<Which, ApiError> {
    let query = Query::<Which>::try_from_uri(&parts.uri);
    let Query(which) = query.map_err(|error| ApiError::bad(error.body_text()))?;
    Ok(which)
}

/// All jobs.
pub(crate) fn all(app: &Arc<App>) -> Vec<OfJob> {
    let of = |job| OfJob {
        job,
        app: Arc::clone(app),
    };
    app.daemon.jobs().into_iter().map(of).collect()
}

/// The job that has this name, or this backup, or the only one.
pub(crate) fn choose(
    app: &Arc<App>,
    which: Which,
    id: Option<BackupId>,
    is_open: bool,
) -> Result<OfJob, ApiError> {
    let mut jobs = all(app);
    let names: Vec<String> = jobs.iter().map(|of| of.job.name()).collect();
    let names = names.join(", ");
    if let Some(name) = which.job {
        let found = jobs.into_iter().find(|of| of.job.name() == name);
        return found.ok_or_else(|| {
            let shown: String = name.chars().take(60).collect();
            ApiError::bad(format!("there is no job {shown:?}"))
        });
    }
    if let (1, Some(only)) = (jobs.len(), jobs.pop()) {
        return Ok(only);
    }
    let mut jobs = all(app);
    if id.is_none() && is_open {
        // No name is told to whoever has no token.
        return Ok(jobs.swap_remove(0));
    }
    let Some(id) = id else {
        let what = format!("there are several jobs; say ?job= with one of {names}");
        return Err(ApiError::bad(what));
    };
    let known = jobs
        .iter()
        .position(|of| of.triggered_in(id).as_deref() == Some(&of.job.name()) || of.knows(id));
    // The first one says as well as any other that it does not know it.
    Ok(jobs.swap_remove(known.unwrap_or_default()))
}
