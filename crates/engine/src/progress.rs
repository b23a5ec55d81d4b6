//! What a run tells whoever watches it, while it runs.

use hubvault_model::TableName;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A stage of the flow, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The commands of the configuration whose output goes in.
    Sources,
    /// Connecting, locking, exporting the snapshot.
    Snapshot,
    /// Deciding what is in.
    Plan,
    /// `pg_dump` takes the definitions; in the records of older versions, now beside other stages.
    Schema,
    /// The host's files are read.
    Files,
    /// Tables are copied into the archive.
    Export,
    /// The archive is read back whole.
    Integrity,
    /// The archive is restored into a throwaway server.
    Drill,
    /// The archive gets its final name.
    Publish,
    /// The archive is copied to other destinations. In records it is part of [`Stage::Publish`]: earlier versions do not
    /// know it.
    Copies,
    /// Another session has a lock on a table that is to be dropped.
    Locks,
    /// Definitions are put back, before the rows.
    Definitions,
    /// Rows are put back.
    Rows,
    /// Indexes, constraints and all else is put back.
    Indexes,
    /// What is there now is held against the archive.
    Compare,
}

impl Stage {
    /// Whether a restore has it; a drill's restore is the same code.
    pub(crate) fn is_of_restore(self) -> bool {
        matches!(
            self,
            Self::Definitions | Self::Rows | Self::Indexes | Self::Compare
        )
    }

    /// The word in logs and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Snapshot => "snapshot",
            Self::Plan => "plan",
            Self::Schema => "schema",
            Self::Files => "files",
            Self::Export => "export",
            Self::Integrity => "integrity",
            Self::Drill => "drill",
            Self::Publish => "publish",
            Self::Copies => "copies",
            Self::Locks => "waiting for locks",
            Self::Definitions => "definitions",
            Self::Rows => "rows",
            Self::Indexes => "indexes",
            Self::Compare => "compare",
        }
    }
}

/// Hears of a run's progress. Every method may be called from any thread and must not block.
pub trait Progress: Send + Sync {
    /// A stage begins; `expected_bytes` where the amount of work is known (COPY bytes in
    /// [`Stage::Export`], archive bytes in [`Stage::Integrity`]), an estimate.
    fn stage(&self, stage: Stage, expected_bytes: Option<u64>);
    /// `rows` rows and `bytes` bytes more went through; `table` is what they belong to.
    fn advance(&self, table: Option<&TableName>, rows: u64, bytes: u64);
    /// A restore may have changed its target from now on: called before the first change that may last is sent, whose
    /// answer may be lost.
    fn changes(&self) {}
}

/// How long a stage took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// Which one.
    pub stage: Stage,
    /// Until the next one began.
    pub seconds: f64,
}

/// Tells on what it hears, and takes the time of the stages.
pub struct Stopwatch {
    inner: Arc<dyn Progress>,
    begun: Mutex<Vec<(Stage, Instant)>>,
}

impl Stopwatch {
    /// Tells on to `inner`.
    pub fn new(inner: Arc<dyn Progress>) -> Self {
        Self {
            inner,
            begun: Mutex::default(),
        }
    }

    /// Every stage so far in its order, the last one until now.
    pub fn times(&self) -> Vec<StageTime> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = begun.iter().skip(1).map(|(_, at)| *at);
        begun
            .iter()
            .zip(ends.chain([Instant::now()]))
            .map(|((stage, from), to)| StageTime {
                stage: *stage,
                seconds: (to - *from).as_secs_f64(),
            })
            .collect()
    }
}

impl Progress for Stopwatch {
    fn stage(&self, stage: Stage, expected_bytes: Option<u64>) {
        if stage != Stage::Copies {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            begun.push((stage, Instant::now()));
        }
        self.inner.stage(stage, expected_bytes);
    }

    fn advance(&self, table: Option<&TableName>, rows: u64, bytes: u64) {
        self.inner.advance(table, rows, bytes);
    }
}

/// Nobody watches.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: Stage, _: Option<u64>) {}
    fn advance(&self, _: Option<&TableName>, _: u64, _: u64) {}
}
