//! The processes of what people started for one job.

use super::child::{self, Task};
use super::daemon::ServedJob;
use super::operation::{Operation, Outcome};
use rustix::process::WaitStatus;

/// Those that are at work.
#[derive(Debug, Default)]
pub(super) struct RunningOperations {
    running: Vec<(u32, Operation)>,
}

impl RunningOperations {
    /// Starts one.
    pub(super) fn start(&mut self, served: &ServedJob, operation: Operation, prefix: &str) {
        let task = Task::Operation(operation.clone());
        match child::start(&served.settings(), &task) {
            Ok(process) => {
                tracing::info!("{prefix}{} began", operation.in_words());
                self.running.push((process.id, operation));
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
        let Some(at) = (self.running.iter()).position(|(other, _)| *other == process) else {
            return;
        };
        let (_, operation) = self.running.remove(at);
        let words = operation.in_words();
        if let Some(ended) = served.operations().ended(operation.id) {
            match (ended.outcome, ended.error.unwrap_or_default()) {
                (Outcome::Done, _) => tracing::info!("{prefix}{words} ended: done"),
                (Outcome::Warnings, _) => tracing::warn!("{prefix}{words} ended with warnings"),
                (Outcome::Failed, why) => tracing::error!("{prefix}{words} failed: {why}"),
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
        let recorded =
            (served.operations()).end(operation.id, Outcome::Failed, Some(why.to_owned()));
        if let Err(error) = recorded {
            tracing::error!("{prefix}could not record the result of {words}: {error:#}");
        }
    }

    /// Those at work, in words.
    pub(super) fn in_words(&self) -> Vec<String> {
        let all = self.running.iter();
        all.map(|(_, operation)| operation.in_words()).collect()
    }

    /// Whether none is at work.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Asks all to end.
    pub(super) fn stop(&self) {
        for (process, _) in &self.running {
            child::stop(*process);
        }
    }
}
