//! Summaries are read here, without the fields of newer versions: to keep those takes three times as long.

use super::copy::{BackupCopy, CopyState, RequestRecord};
use super::drill_mark::DrillMark;
use super::record::{BackupRecord, DeliveryRecord, ProofRecord, State};
use crate::progress::StageTime;
use hubvault_model::BackupId;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::Map;
use std::path::PathBuf;

#[derive(Deserialize)]
struct BriefCopy {
    destination: String,
    key: String,
    bytes: Option<u64>,
    location: Option<String>,
    server: Option<String>,
    filesystem: Option<String>,
    state: CopyState,
    removed_at: Option<Timestamp>,
    #[serde(default)]
    until_copied: bool,
    sha256: Option<String>,
    checked_at: Option<Timestamp>,
    locked_until: Option<Timestamp>,
    since: Option<Timestamp>,
    #[serde(default)]
    attempts: u32,
    next_try_at: Option<Timestamp>,
    error: Option<String>,
    made_again_from: Option<String>,
    #[serde(default)]
    pin_stored: bool,
    drill_mark: Option<String>,
    #[serde(default)]
    unreadable_marks: Vec<String>,
    #[serde(default)]
    unread_marks: usize,
    requests: Option<RequestRecord>,
}

impl BriefCopy {
    fn whole(self) -> BackupCopy {
        BackupCopy {
            destination: self.destination,
            key: self.key,
            bytes: self.bytes,
            location: self.location,
            server: self.server,
            filesystem: self.filesystem,
            state: self.state,
            removed_at: self.removed_at,
            until_copied: self.until_copied,
            sha256: self.sha256,
            checked_at: self.checked_at,
            locked_until: self.locked_until,
            since: self.since,
            attempts: self.attempts,
            next_try_at: self.next_try_at,
            error: self.error,
            made_again_from: self.made_again_from,
            pin_stored: self.pin_stored,
            drill_mark: self.drill_mark,
            unreadable_marks: self.unreadable_marks,
            unread_marks: self.unread_marks,
            requests: self.requests,
            other: Map::new(),
            path: None,
            is_unconfigured: false,
        }
    }
}

/// Reads only what is in a summary.
pub(super) fn brief<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BackupRecord, D::Error> {
    #[derive(Deserialize)]
    struct Brief {
        id: BackupId,
        job: String,
        file: Option<PathBuf>,
        copies: Vec<BriefCopy>,
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
    let mut copies: Vec<BackupCopy> = read.copies.into_iter().map(BriefCopy::whole).collect();
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
