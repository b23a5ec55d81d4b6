//! Summaries are read here. A record keeps fields that this version does not know, which takes three times as long.

use super::copy::BackupCopy;
use super::drill_mark::DrillMark;
use super::record::{BackupRecord, DeliveryRecord, ProofRecord, State};
use crate::progress::StageTime;
use hubvault_model::BackupId;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use std::path::PathBuf;

/// Reads only what is in a summary.
pub(super) fn brief<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BackupRecord, D::Error> {
    #[derive(Deserialize)]
    struct Brief {
        id: BackupId,
        job: String,
        file: Option<PathBuf>,
        copies: Vec<BackupCopy>,
        state: State,
        started_at: Timestamp,
        finished_at: Option<Timestamp>,
        stages: Vec<StageTime>,
        sealed_to: Vec<String>,
        bytes: Option<u64>,
        proof: ProofRecord,
        delivery: Option<DeliveryRecord>,
        error: Option<String>,
        #[serde(default)]
        stopped: bool,
        failed_check: Option<String>,
        needed_bytes: Option<u64>,
        pinned: bool,
        drill_mark: Option<DrillMark>,
    }
    let read = Brief::deserialize(deserializer)?;
    let mut copies = read.copies;
    BackupCopy::give_path(&mut copies, read.file);
    Ok(BackupRecord {
        copies,
        state: read.state,
        finished_at: read.finished_at,
        stages: read.stages,
        sealed_to: read.sealed_to,
        bytes: read.bytes,
        proof: read.proof,
        delivery: read.delivery,
        error: read.error,
        stopped: read.stopped,
        failed_check: read.failed_check,
        needed_bytes: read.needed_bytes,
        pinned: read.pinned,
        drill_mark: read.drill_mark,
        ..BackupRecord::begun(read.id, &read.job, read.started_at)
    })
}
