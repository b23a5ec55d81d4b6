//! What is asked of a run. The service sends it to the process that makes the run.

use hubvault_model::BackupId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One run, as a person or a schedule asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The backup's id.
    pub id: BackupId,
    /// When the schedule's run was due; a run that began since then replaces it. `None` for a run by hand.
    pub due: Option<Timestamp>,
    /// Failed attempts at the same run, for which no notification was sent yet.
    pub failed_attempts: Vec<BackupId>,
    /// The pause before the next attempt if this one fails; no notification is sent before the last one.
    pub retry_after: Option<Duration>,
    /// Whether anybody is notified of the result.
    pub notify: bool,
}

impl RunRequest {
    /// A run by hand, with a new id.
    pub fn by_hand() -> Self {
        Self {
            id: BackupId::random(),
            due: None,
            failed_attempts: Vec::new(),
            retry_after: None,
            notify: true,
        }
    }
}
