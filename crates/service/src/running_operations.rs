//! The processes of what people started for one job.

use super::child::{self, Task};
use super::daemon::ServedJob;
use super::operation::{Operation, Outcome};
use hubvault_model::BackupId;
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
                tracing::error!("{prefix}{} failed: {why}", operation.in_words());
                Self::record_failure(served, &operation, &why, prefix);
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
        let (words, all) = (operation.in_words(), served.operations());
        if all.ended(operation.id).is_none() {
            // Whoever ends on a signal at once says why in the answer alone.
            let said = all.failure(operation.id);
            let why = said.unwrap_or_else(|| without_result(status));
            Self::record_failure(served, &operation, &why, prefix);
        }
        if let Some(ended) = all.ended(operation.id) {
            match (ended.outcome, ended.error.unwrap_or_default()) {
                (Outcome::Done, _) => tracing::info!("{prefix}{words} ended: done"),
                (Outcome::Warnings, _) => tracing::warn!("{prefix}{words} ended with warnings"),
                (Outcome::Failed, why) => tracing::error!("{prefix}{words} failed: {why}"),
                (Outcome::Stopped, why) => tracing::warn!("{prefix}{words} was {why}"),
            }
        }
        served.operation_ended(operation.id);
    }

    fn record_failure(served: &ServedJob, operation: &Operation, why: &str, prefix: &str) {
        let all = served.operations();
        let recorded = all.end(operation.id, Outcome::Failed, Some(why.to_owned()));
        if let Err(error) = recorded {
            let words = operation.in_words();
            tracing::error!("{prefix}{words} failed: {why}");
            tracing::error!("{prefix}could not record the result of {words}: {error:#}");
        }
    }

    /// Asks one to end, for the person of this name. One that does not end by itself is ended after two seconds.
    pub(super) fn stop_one(&self, served: &ServedJob, id: BackupId, by: &str, prefix: &str) {
        let mut all = self.running.iter();
        let Some((process, operation)) = all.find(|(_, one)| one.id == id) else {
            return;
        };
        let words = operation.in_words();
        match served.operations().stop(id, by) {
            Ok(()) => tracing::info!("{prefix}{words} is stopped by {by}"),
            Err(error) => tracing::error!("{prefix}could not record who stops {words}: {error:#}"),
        }
        child::stop(*process);
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

fn without_result(status: WaitStatus) -> String {
    let how = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("its process ended with exit code {code}"),
        (None, Some(signal)) => format!("its process was ended by signal {signal}"),
        (None, None) => "its process was lost".to_owned(),
    };
    format!("{how} and left no result; the log of the service may say why")
}
