//! What people start besides backups: verify, drill or compare an archive, or restore it. Each is a child process. What it is, how far it
//! is and its result are files in the state directory, so that a service that starts again knows them.

use super::logging::masked;
use super::restore_request::{RestoreRequest, Rows};
use anyhow::{Context, Result};
use hubvault_engine::command::shell_word;
use hubvault_engine::progress::{Progress, Silent};
use hubvault_engine::state::file::{self, Durability};
use hubvault_engine::state::progress_file::{ProgressFile, RunProgress, progress_in};
use hubvault_engine::state::{OperationLock, StateDir};
use hubvault_model::BackupId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

/// So many are remembered in a state directory.
const KEPT: usize = 50;
/// More than a description or a result is, in bytes.
const LARGEST: u64 = 1 << 20;
/// The largest answer that is shown, in bytes: that of a restore of 20,000 tables is smaller.
const LARGEST_ANSWER: u64 = 8 << 20;

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Read the archive back whole.
    Verify,
    /// Restore it into a throwaway server and compare.
    Drill,
    /// Compare it with the living database.
    Compare,
    /// Say what a restore would do.
    Preview(RestoreRequest),
    /// Restore it.
    Restore(RestoreRequest),
}

/// Something that a person started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id.
    pub id: BackupId,
    /// The backup that it is about.
    pub backup: BackupId,
    /// What is done.
    pub action: Action,
    /// The name of the token that started it.
    pub by: String,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// The server and the database that the configuration named then.
    #[serde(default)]
    pub database: String,
}

/// How one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As asked.
    Done,
    /// Done, and something is not as it should be.
    Warnings,
    /// It failed.
    Failed,
    /// A person stopped it.
    Stopped,
}

/// The end of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// Why it failed, or who stopped it.
    pub error: Option<String>,
}

/// Where one is.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Its process begins.
    Starting,
    /// It is at work; how far, where it said that.
    Running(Option<Box<RunProgress>>),
    /// It ended.
    Ended(Ended),
    /// Its process ended without a result.
    Crashed,
}

impl Action {
    /// Its name, in texts and in addresses.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Drill => "drill",
            Self::Compare => "compare",
            Self::Preview(_) => "preview",
            Self::Restore(_) => "restore",
        }
    }

    /// The restore that it is about.
    pub fn restore(&self) -> Option<&RestoreRequest> {
        match self {
            Self::Preview(request) | Self::Restore(request) => Some(request),
            _ => None,
        }
    }

    /// Whether it overwrites or drops rows of the living database that somebody was shown.
    pub fn changes_living(&self) -> bool {
        match self {
            Self::Restore(RestoreRequest::Living { .. }) => true,
            Self::Restore(RestoreRequest::Rows { which, .. }) => *which != Rows::All,
            _ => false,
        }
    }

    /// Of one kind, one is at work at a time.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Verify | Self::Drill | Self::Compare => "check",
            Self::Preview(_) | Self::Restore(_) => "restore",
        }
    }
}

impl Operation {
    /// A new one.
    pub fn new(backup: BackupId, action: Action, by: &str) -> Self {
        Self {
            id: BackupId::random(),
            backup,
            action,
            by: by.to_owned(),
            requested_at: Timestamp::now(),
            database: String::new(),
        }
    }

    /// Whether it is a preview of this restore of a backup.
    pub fn shows(&self, backup: BackupId, restore: Option<&RestoreRequest>) -> bool {
        matches!(&self.action, Action::Preview(request) if Some(request) == restore)
            && self.backup == backup
    }

    /// The arguments of the command that does the same.
    pub fn arguments(&self) -> Vec<String> {
        let id = self.backup.to_string();
        match &self.action {
            Action::Verify => vec!["verify".to_owned(), id],
            Action::Drill => vec!["drill".to_owned(), id],
            Action::Compare => vec!["diff".to_owned(), id],
            Action::Preview(request) => {
                let mut words = vec!["restore".to_owned(), id];
                words.extend(request.arguments());
                words.push("--dry-run".to_owned());
                words
            }
            Action::Restore(request) => {
                let mut words = vec!["restore".to_owned(), id];
                words.extend(request.arguments());
                words
            }
        }
    }

    /// The command that does what this preview shows.
    pub fn confirmed_command(&self, job: Option<&str>) -> Option<String> {
        let Action::Preview(request) = &self.action else {
            return None;
        };
        let restore = Action::Restore(request.clone());
        Some(Self::new(self.backup, restore, &self.by).command(job))
    }

    /// The command that does the same.
    pub fn command(&self, job: Option<&str>) -> String {
        let mut words = vec!["hubvault".to_owned()];
        words.extend(job.map(|name| format!("--job={name}")));
        words.extend(self.arguments());
        let words: Vec<String> = words.iter().map(|word| shell_word(word)).collect();
        words.join(" ")
    }

    /// For a log line: `drill 3f2a91c0 of backup 7b6a0d12, started by ana`.
    pub fn in_words(&self) -> String {
        let (name, id, backup) = (self.action.name(), self.id.short(), self.backup.short());
        let to = self.action.restore().map(|request| format!(" {request}"));
        let to = to.unwrap_or_default();
        format!("{name} {id} of backup {backup}{to}, started by {}", self.by)
    }
}

/// The operations of a state directory.
#[derive(Clone, Debug)]
pub struct Operations {
    state: StateDir,
}

impl Operations {
    /// Nothing is created.
    pub fn of(state: StateDir) -> Self {
        Self { state }
    }

    /// Takes the lock of its kind.
    pub fn lock(&self, operation: &Operation) -> Result<OperationLock> {
        let kind = operation.action.kind();
        Ok(OperationLock::take(&self.state, kind, operation.id)?)
    }

    /// The one of this kind that is at work.
    pub fn at_work(&self, kind: &str) -> Option<Operation> {
        self.find(OperationLock::holder(&self.state, kind)?)
    }

    /// Records one that is about to start, and forgets the oldest.
    pub fn record(&self, operation: &Operation) -> Result<()> {
        let directory = self.directory();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("creating {}", directory.display()))?;
        let mut known = self.list();
        // Of each kind one may be at work, and those are among the newest.
        for old in known.drain(known.len().min(KEPT)..) {
            for part in ["json", "progress", "result", "answer", "stop"] {
                // The next one tries again.
                let _ = fs::remove_file(self.file(old.id, part));
            }
        }
        self.write(operation.id, "json", &serde_json::to_vec(operation)?)
    }

    /// The one with this id.
    pub fn find(&self, id: BackupId) -> Option<Operation> {
        let text = file::read(&self.file(id, "json"), LARGEST).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// All that are remembered, the newest first.
    pub fn list(&self) -> Vec<Operation> {
        let entries = fs::read_dir(self.directory()).into_iter().flatten();
        let ids = entries.flatten().filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_suffix(".json")?.parse().ok()
        });
        let mut all: Vec<Operation> = ids.filter_map(|id| self.find(id)).collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.requested_at));
        all
    }

    /// Where one is; `is_started` where its process is known to be there.
    pub fn standing(&self, operation: &Operation, is_started: bool) -> Standing {
        let holder = OperationLock::holder(&self.state, operation.action.kind());
        // The result is written before the lock is given back.
        if let Some(ended) = self.ended(operation.id) {
            return Standing::Ended(ended);
        }
        if holder == Some(operation.id) {
            let progress = progress_in(&self.file(operation.id, "progress"));
            return Standing::Running(progress.map(Box::new));
        }
        match self.ended(operation.id) {
            Some(ended) => Standing::Ended(ended),
            None if is_started => Standing::Starting,
            None => Standing::Crashed,
        }
    }

    /// How one ended, if it did.
    pub fn ended(&self, id: BackupId) -> Option<Ended> {
        let text = file::read(&self.file(id, "result"), LARGEST).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Records who stops one, before its process is asked to end; the first one counts.
    pub fn stop(&self, id: BackupId, by: &str) -> Result<()> {
        if self.stopped_by(id).is_some() {
            return Ok(());
        }
        self.write(id, "stop", by.as_bytes())
    }

    fn stopped_by(&self, id: BackupId) -> Option<String> {
        String::from_utf8(file::read(&self.file(id, "stop"), LARGEST).ok()?).ok()
    }

    /// Records the end of one. What fails because somebody stopped it says so.
    pub fn end(&self, id: BackupId, outcome: Outcome, error: Option<String>) -> Result<()> {
        let stopped_by = self.stopped_by(id).filter(|_| outcome == Outcome::Failed);
        let (outcome, error) = match stopped_by {
            Some(by) => (Outcome::Stopped, Some(format!("stopped by {by}"))),
            None => (outcome, error.map(|error| masked(&error))),
        };
        let ended = Ended {
            at: Timestamp::now(),
            outcome,
            error,
        };
        self.write(id, "result", &serde_json::to_vec(&ended)?)
    }

    /// What the command answered, as docs/json.md says; `None` where that is nothing, why it failed, or too much to show.
    pub fn answer(&self, id: BackupId) -> Option<Value> {
        self.document(id).filter(|answer| failure(answer).is_none())
    }

    /// Why the command failed, as it answered.
    pub fn failure(&self, id: BackupId) -> Option<String> {
        failure(&self.document(id)?).map(str::to_owned)
    }

    fn document(&self, id: BackupId) -> Option<Value> {
        let text = file::read(&self.file(id, "answer"), LARGEST_ANSWER).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// What the preview that a restore confirms answered: the newest before it of the same restore, as only that one can be
    /// confirmed.
    pub fn preview_of(&self, restore: &Operation) -> Option<PathBuf> {
        let shown = self.list().into_iter().find(|one| {
            one.shows(restore.backup, restore.action.restore())
                && one.requested_at <= restore.requested_at
        })?;
        Some(self.file(shown.id, "answer"))
    }

    /// The file that takes the answer.
    pub fn answer_file(&self, id: BackupId) -> std::io::Result<File> {
        file::open(&self.file(id, "answer"), file::Access::ReadWrite)
    }

    /// Publishes the progress of one.
    pub fn progress(&self, id: BackupId, job: &str) -> Arc<dyn Progress> {
        let path = self.file(id, "progress");
        Arc::new(ProgressFile::at(Arc::new(Silent), path, id, job))
    }

    fn write(&self, id: BackupId, part: &str, text: &[u8]) -> Result<()> {
        let path = self.file(id, part);
        file::replace(&path, text, 0o600, Durability::Durable)
            .with_context(|| format!("writing {}", path.display()))
    }

    fn directory(&self) -> PathBuf {
        self.state.file("operations")
    }

    fn file(&self, id: BackupId, part: &str) -> PathBuf {
        self.directory().join(format!("{id}.{part}"))
    }
}

fn failure(answer: &Value) -> Option<&str> {
    answer.pointer("/error/message")?.as_str()
}

#[cfg(test)]
mod tests;
