//! One backup as the catalog keeps it and as `--json` prints it: one documented shape.

use super::copy::{BackupCopy, shape};
use super::drill_mark::DrillMark;
use super::outside::OutsideRecord;
use super::pin::Pin;
use crate::progress::StageTime;
use hubvault_archive::{Coverage, FileSummary, Manifest, SnapshotInfo};
use hubvault_model::{BackupId, Warning, counted};
use hubvault_postgres::Confinement;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The code of the warning that a failed run is tried again.
pub(crate) const TRIED_AGAIN: &str = "tried-again";

/// How far a backup got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// At work, or died without a word.
    Running,
    /// Restored and compared.
    Proven,
    /// Published, read back, but not restored; the proof says why.
    Unproven,
    /// Nothing was published.
    Failed,
}

impl State {
    /// The word in every report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Proven => "proven",
            Self::Unproven => "unproven",
            Self::Failed => "failed",
        }
    }
}

/// One backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackupRecord {
    /// Its id.
    pub id: BackupId,
    /// The job's name.
    pub job: String,
    /// Where its archive was stored; empty until it is published. In JSON also `file`, `removed_at` and `gone`.
    #[serde(flatten, with = "shape")]
    pub copies: Vec<BackupCopy>,
    /// How far it got.
    pub state: State,
    /// When the run began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What the run did and how long each stage took; empty where nobody took the time.
    #[serde(default)]
    pub stages: Vec<StageTime>,
    /// The moment that the archive holds.
    pub snapshot: Option<SnapshotInfo>,
    /// The public keys that open it; empty when it is not sealed.
    #[serde(default)]
    pub sealed_to: Vec<String>,
    /// The archive's size.
    pub bytes: Option<u64>,
    /// The tables with their rows.
    pub tables: Vec<TableRecord>,
    /// What is not in the archive; `None` where every row of every table is, and in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<OutsideRecord>,
    /// The configuration files.
    pub files: Vec<FileSummary>,
    /// What was proven.
    pub proof: ProofRecord,
    /// Who was notified of it; `None` while the notification is pending.
    #[serde(default)]
    pub delivery: Option<DeliveryRecord>,
    /// Everything that was wrong without being fatal.
    pub warnings: Vec<Warning>,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether it failed because somebody stopped it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// The check that looks at what it failed of: `database`, `disk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_check: Option<String>,
    /// The free space that its plan asked for, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_bytes: Option<u64>,
    /// Whether somebody said that the archive stays.
    #[serde(default)]
    pub pinned: bool,
    /// Who said so, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Which drill the proof is of; `None` where that was made before the archive was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill_mark: Option<DrillMark>,
    /// What a newer version recorded.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One table of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// The name for people, as `schema.table` outside `public`.
    pub name: String,
    /// Rows in the archive.
    pub rows: u64,
    /// Their COPY bytes.
    pub bytes: u64,
    /// Their row digest.
    pub digest: String,
    /// Whether these are all of its rows.
    #[serde(default = "whole")]
    pub coverage: Coverage,
}

/// What the records of older versions mean.
fn whole() -> Coverage {
    Coverage::Whole
}

/// What was proven about a backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProofRecord {
    /// True once it was restored and every row compared.
    pub proven: bool,
    /// True once the archive was read back whole from the disk.
    pub read_back: bool,
    /// Why it is not proven.
    pub reason: Option<String>,
    /// What the last drill showed.
    #[serde(default)]
    pub drill: Option<DrillRecord>,
}

/// What a drill showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DrillRecord {
    /// When it ended.
    pub drilled_at: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// The version of the throwaway server.
    pub server_version: String,
    /// Tables that came back equal.
    pub tables: usize,
    /// Their rows.
    pub rows: u64,
    /// Tables that could not be restored there.
    pub not_provable: Vec<String>,
    /// Definitions that could not be made there, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_rebuilt: Vec<String>,
    /// Constraints that today's rows break and that came back `NOT VALID`, each with those rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_valid: Vec<String>,
    /// What was done another way than on the source's server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What kind of `restore.sh` brought everything back there, too; `None` where it was not run or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// How far the throwaway server was confined; `None` on another server, and in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
}

impl ProofRecord {
    /// What it makes of a backup that was published.
    pub fn state(&self) -> State {
        if self.proven {
            State::Proven
        } else {
            State::Unproven
        }
    }

    /// What could not be rebuilt and is not in the reason, which names the first few.
    pub fn also_not_rebuilt(&self) -> impl Iterator<Item = &str> {
        let reason = self.reason.as_deref().unwrap_or_default();
        let all = self.drill.iter().flat_map(|drill| &drill.not_rebuilt);
        all.map(String::as_str)
            .filter(move |object| !reason.contains(object))
    }
}

impl DrillRecord {
    /// What the drill noticed beside the archive itself.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let not_valid = (!self.not_valid.is_empty()).then(|| {
            let what = counted(self.not_valid.len() as u64, "constraint");
            let message = format!(
                "{what} came back NOT VALID, because rows of the source break it: {}",
                self.not_valid.join("; ")
            );
            Warning::new("not-valid", "drill", message)
        });
        self.left_behind().into_iter().chain(not_valid).collect()
    }

    fn left_behind(&self) -> Option<Warning> {
        let left = self.confinement.as_ref()?.processes_left;
        if left == 0 {
            return None;
        }
        let verb = if left == 1 { "was" } else { "were" };
        let what = format!(
            "{} left behind by code of the database in the drill's server {verb} killed; look for functions of its \
             owner that start programs",
            counted(left as u64, "process")
        );
        Some(Warning::new("drill-processes", "drill", what))
    }
}

/// Who was notified of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRecord {
    /// Addresses and channels that accepted the message.
    #[serde(rename = "told")]
    pub notified: Vec<String>,
    /// Those that did not.
    #[serde(rename = "untold")]
    pub undelivered: Vec<Undelivered>,
    /// Whether the archive was attached, in words; empty where no mail was to be sent.
    pub attachment: String,
}

/// Somebody who was not notified of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// The address or the channel.
    pub to: String,
    /// Why.
    pub reason: String,
    /// Whether it is tried again (`hubvault mail retry`).
    #[serde(rename = "waiting")]
    pub queued: bool,
}

impl DeliveryRecord {
    /// Whether everybody was notified.
    pub fn is_complete(&self) -> bool {
        self.undelivered.is_empty()
    }
}

impl BackupRecord {
    /// The state in words: `proven`, `proven, 2 of 3 copies, undelivered`, `stopped`.
    pub fn state_text(&self) -> String {
        let undelivered = self.delivery.as_ref().is_some_and(|d| !d.is_complete());
        let state = if self.was_stopped() {
            "stopped"
        } else {
            self.state.as_str()
        };
        let mut text = state.to_owned();
        let several = self.copies.len() > 1 || self.copies.iter().any(BackupCopy::is_damaged);
        if let Some((there, of)) = several.then(|| self.count_copies())
            && there < of
        {
            let copies = if of == 1 { "copy" } else { "copies" };
            text += &format!(", {there} of {of} {copies}");
        }
        if undelivered {
            text += ", undelivered";
        }
        text
    }

    /// Whether somebody stopped it. Earlier versions recorded only the words.
    pub fn was_stopped(&self) -> bool {
        let said = |error: &String| error.starts_with("stopped on request");
        self.stopped || (self.state == State::Failed && self.error.as_ref().is_some_and(said))
    }

    /// Whether another attempt follows; nobody is notified before that one's end.
    pub fn is_tried_again(&self) -> bool {
        self.warnings
            .iter()
            .any(|warning| warning.code == TRIED_AGAIN)
    }

    /// When it ended, where every recipient was notified of it, and there was one.
    pub fn reported_at(&self) -> Option<Timestamp> {
        let delivery = self.delivery.as_ref()?;
        let is_reported = delivery.is_complete() && !delivery.notified.is_empty();
        self.finished_at.filter(|_| is_reported)
    }

    /// Whether a message about it is queued, as far as the record knows.
    pub(crate) fn has_queued(&self) -> bool {
        let mut undelivered = self.delivery.iter().flat_map(|d| &d.undelivered);
        undelivered.any(|one| one.queued)
    }

    /// A run that begins.
    pub fn begun(id: BackupId, job: &str, started_at: Timestamp) -> Self {
        Self {
            id,
            job: job.to_owned(),
            copies: Vec::new(),
            state: State::Running,
            started_at,
            finished_at: None,
            stages: Vec::new(),
            snapshot: None,
            sealed_to: Vec::new(),
            bytes: None,
            tables: Vec::new(),
            outside: None,
            files: Vec::new(),
            proof: ProofRecord::default(),
            delivery: None,
            warnings: Vec::new(),
            error: None,
            stopped: false,
            failed_check: None,
            needed_bytes: None,
            pinned: false,
            pin: None,
            drill_mark: None,
            other: Map::new(),
        }
    }

    /// An archive that was published, with what was proven about it.
    pub fn published(manifest: &Manifest, copy: BackupCopy, proof: ProofRecord) -> Self {
        Self {
            bytes: copy.bytes,
            copies: vec![copy],
            state: proof.state(),
            finished_at: Some(manifest.finished_at),
            snapshot: Some(manifest.snapshot.clone()),
            tables: manifest
                .tables
                .iter()
                .map(|table| TableRecord {
                    name: table.name.to_string(),
                    rows: table.digest.rows,
                    bytes: table.bytes,
                    digest: table.digest.hex(),
                    coverage: table.coverage,
                })
                .collect(),
            outside: OutsideRecord::of(manifest),
            files: manifest.files.clone(),
            proof,
            warnings: manifest.warnings.clone(),
            ..Self::begun(manifest.id, &manifest.job, manifest.started_at)
        }
    }

    /// A run of which nothing was published.
    pub fn failed(
        id: BackupId,
        job: &str,
        started_at: Timestamp,
        error: &dyn std::error::Error,
    ) -> Self {
        Self {
            state: State::Failed,
            finished_at: Some(Timestamp::now()),
            error: Some(error.to_string()),
            ..Self::begun(id, job, started_at)
        }
    }

    /// A run whose process ended without a word.
    pub fn died(&mut self, now: Timestamp) {
        self.state = State::Failed;
        self.finished_at = Some(now);
        self.error = Some(
            "the process crashed before the run ended, or could not record its end; nothing was published"
                .into(),
        );
    }

    /// From its start to its end; `None` while it runs.
    pub fn seconds(&self) -> Option<f64> {
        let took = self.finished_at?.duration_since(self.started_at);
        Some(took.as_secs_f64().max(0.0))
    }

    /// Rows in all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}
