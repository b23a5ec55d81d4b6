//! What a task found that somebody asked for on the page. It is remembered for a while, so that the page can be loaded
//! again.

use crate::child::{Task, ask};
use crate::http::error::ApiError;
use crate::http::of_job::OfJob;
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A page has to be answered within 30 s.
const LIMIT: Duration = Duration::from_secs(25);
/// So long it is remembered.
const FRESH: SignedDuration = SignedDuration::from_mins(15);

/// When it was found, and what: JSON.
type Found = (Timestamp, String);

/// By job and task.
#[derive(Default)]
pub(super) struct Asked {
    found: Mutex<HashMap<(String, &'static str), Found>>,
    asking: Mutex<()>,
}

impl Asked {
    /// Asks now. One at a time: each costs the database something.
    pub(super) fn ask(&self, of: &OfJob, task: &Task) -> Result<(), ApiError> {
        let Ok(_asking) = self.asking.try_lock() else {
            let what = "somebody else looks just now; try again in a moment";
            return Err(ApiError::new(StatusCode::CONFLICT, what).after(5));
        };
        let found = ask(&of.job.settings(), task, LIMIT)?;
        let found = (Timestamp::now(), found.to_string());
        self.lock().insert((of.job.name(), task.name()), found);
        Ok(())
    }

    /// What was found last, and when.
    pub(super) fn latest<T: DeserializeOwned>(
        &self,
        of: &OfJob,
        task: &Task,
    ) -> Option<(Timestamp, T)> {
        let mut all = self.lock();
        let now = Timestamp::now();
        all.retain(|_, (at, _)| now.duration_since(*at) < FRESH);
        let (at, text) = all.get(&(of.job.name(), task.name()))?;
        Some((*at, serde_json::from_str(text).ok()?))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, &'static str), Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
