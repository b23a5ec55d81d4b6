//! The processes of what people started for one job.

use super::child::{self, Task};
use super::daemon::ServedJob;
use super::operation::{Operation, Outcome};
use hubvault_model::BackupId;
use rustix::process::WaitStatus;

/// Those that are at work.
#[derive(Debug, Default)]
pub(super) struct RunningOperations {
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    process: u32,
    operation: Operation,
    /// Who stopped it.
    stopped_by: Option<String>,
}

impl RunningOperations {
    /// Starts one.
    pub(super) fn start(&mut self, served: &ServedJob, operation: Operation, prefix: &str) {
        let task = Task::Operation(operation.clone());
        match child::start(&served.settings(), &task) {
            Ok(process) => {
                tracing::info!("{prefix}{} began", operation.in_words());
                self.running.push(Running {
                    process: process.id,
                    operation,
                    stopped_by: None,
                });
            }
            Err(error) => {
                let why = format!("could not start its process: {error}");
                Self::failed(served, &operation, &why, prefix);
                served.operation_ended(operation.id);
            }
        }
    }

    /// A process ended, which may have been one of them.
    pub(super) fn ended(
        &mut self,
        served: &ServedJob,
        process: u32,
        status: WaitStatus,
        prefix: &str,
    ) {
        let Some(at) = (self.running.iter()).position(|one| one.process == process) else {
            return;
        };
        let Running {
            operation,
            stopped_by,
            ..
        } = self.running.remove(at);
        let words = operation.in_words();
        let ended = served.operations().ended(operation.id);
        let has_failed = (ended.as_ref()).is_none_or(|ended| ended.outcome == Outcome::Failed);
        if let Some(by) = stopped_by.filter(|_| has_failed) {
            let why = format!("stopped by {by}");
            tracing::warn!("{prefix}{words} was {why}");
            Self::end(served, &operation, Outcome::Stopped, &why, prefix);
        } else if let Some(ended) = ended {
            match (ended.outcome, ended.error.unwrap_or_default()) {
                (Outcome::Done, _) => tracing::info!("{prefix}{words} ended: done"),
                (Outcome::Warnings, _) => tracing::warn!("{prefix}{words} ended with warnings"),
                (Outcome::Failed | Outcome::Stopped, why) => {
                    tracing::error!("{prefix}{words} failed: {why}");
                }
            }
        } else {
            let how = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("its process ended with exit code {code}"),
                (None, Some(signal)) => format!("its process was ended by signal {signal}"),
                (None, None) => "its process was lost".to_owned(),
            };
            // Whoever ends on a signal at once says why in the answer alone.
            let said = served.operations().failure(operation.id);
            let why = said.unwrap_or_else(|| {
                format!("{how} and left no result; the log of the service may say why")
            });
            Self::failed(served, &operation, &why, prefix);
        }
        served.operation_ended(operation.id);
    }

    fn failed(served: &ServedJob, operation: &Operation, why: &str, prefix: &str) {
        let words = operation.in_words();
        tracing::error!("{prefix}{words} failed: {why}");
        Self::end(served, operation, Outcome::Failed, why, prefix);
    }

    fn end(served: &ServedJob, operation: &Operation, how: Outcome, why: &str, prefix: &str) {
        let recorded = served
            .operations()
            .end(operation.id, how, Some(why.to_owned()));
        if let Err(error) = recorded {
            let words = operation.in_words();
            tracing::error!("{prefix}could not record the result of {words}: {error:#}");
        }
    }

    /// Asks one to end, for a person. One that does not end by itself ends itself after two seconds.
    pub(super) fn stop_one(&mut self, id: BackupId, by: String, prefix: &str) {
        let mut all = self.running.iter_mut();
        if let Some(one) = all.find(|one| one.operation.id == id) {
            let words = one.operation.in_words();
            tracing::info!("{prefix}{words} is stopped by {by}");
            one.stopped_by.get_or_insert(by);
            child::stop(one.process);
        }
    }

    /// Those at work, in words.
    pub(super) fn in_words(&self) -> Vec<String> {
        let all = self.running.iter();
        all.map(|one| one.operation.in_words()).collect()
    }

    /// Whether none is at work.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Asks all to end.
    pub(super) fn stop(&self) {
        for one in &self.running {
            child::stop(one.process);
        }
    }
}
