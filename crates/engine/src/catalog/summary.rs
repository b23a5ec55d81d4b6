//! What lists and overviews need of each run, beside its record: a record of many tables takes milliseconds to read.
//!
//! `SQLite` itself keeps the table: its triggers follow every change of `backups`, also those of earlier versions and by
//! hand, and drop the summary of a record that changed. Whoever finds one missing makes it from the record again.

use super::brief::brief;
use super::record::{BackupRecord, DrillRecord, ProofRecord};
use super::{Catalog, CatalogError, is_busy};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Params, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;

const SCHEMA: &str = "
    CREATE TABLE summaries (
        id TEXT PRIMARY KEY,
        job TEXT NOT NULL,
        state TEXT NOT NULL,
        started_at TEXT NOT NULL,
        kept_key TEXT,
        summary TEXT
    ) STRICT;
    CREATE INDEX summaries_kept ON summaries (kept_key) WHERE kept_key IS NOT NULL;
    CREATE INDEX summaries_missing ON summaries (id) WHERE summary IS NULL;
    CREATE INDEX summaries_started ON summaries (started_at);
    CREATE INDEX summaries_state ON summaries (state);
    CREATE TRIGGER backups_inserted AFTER INSERT ON backups BEGIN
        INSERT OR REPLACE INTO summaries VALUES (new.id, new.job, new.state, new.started_at, NULL, NULL);
    END;
    CREATE TRIGGER backups_updated AFTER UPDATE ON backups BEGIN
        UPDATE summaries SET id = new.id, job = new.job, state = new.state, started_at = new.started_at,
            kept_key = NULL, summary = NULL WHERE id = old.id;
    END;
    CREATE TRIGGER backups_deleted AFTER DELETE ON backups BEGIN
        DELETE FROM summaries WHERE id = old.id;
    END;
    INSERT INTO summaries SELECT id, job, state, started_at, NULL, NULL FROM backups ORDER BY rowid;
";

/// So many are made together: each time the disk is waited for.
const TOGETHER: usize = 200;

/// A run without what takes room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSummary {
    /// Its record without tables, files, snapshot, warnings, stages that are not of a restore and the lists of its drill.
    /// [`Catalog::find`] has all of it.
    #[serde(deserialize_with = "brief")]
    pub run: BackupRecord,
    /// How many tables it has.
    pub tables: usize,
    /// Their rows.
    pub rows: u64,
    /// How many warnings it has.
    pub warnings: usize,
    /// The database that it is of, where it came so far.
    pub(super) database: Option<String>,
    /// The same for runs with tables of the same names.
    pub(super) table_names: u64,
}

impl RunSummary {
    /// Of a record.
    pub fn of(record: &BackupRecord) -> Self {
        let drill = record.proof.drill.as_ref().map(|drill| DrillRecord {
            drilled_at: drill.drilled_at,
            seconds: drill.seconds,
            script: drill.script.clone(),
            ..DrillRecord::default()
        });
        let names: BTreeSet<&str> = record.tables.iter().map(|it| it.name.as_str()).collect();
        let stages = record.stages.iter();
        let mut hasher = DefaultHasher::new();
        names.hash(&mut hasher);
        let run = BackupRecord {
            copies: record.copies.clone(),
            state: record.state,
            finished_at: record.finished_at,
            stages: stages
                .filter(|time| time.stage.is_of_restore())
                .copied()
                .collect(),
            sealed_to: record.sealed_to.clone(),
            bytes: record.bytes,
            proof: ProofRecord {
                proven: record.proof.proven,
                read_back: record.proof.read_back,
                reason: record.proof.reason.clone(),
                drill,
            },
            delivery: record.delivery.clone(),
            error: record.error.clone(),
            stopped: record.stopped,
            failed_check: record.failed_check.clone(),
            needed_bytes: record.needed_bytes,
            pinned: record.pinned,
            drill_mark: record.drill_mark.clone(),
            ..BackupRecord::begun(record.id, &record.job, record.started_at)
        };
        Self {
            run,
            tables: record.tables.len(),
            rows: record.rows(),
            warnings: record.warnings.len(),
            database: record.snapshot.as_ref().map(|it| it.database.clone()),
            table_names: hasher.finish(),
        }
    }
}

impl RunSummary {
    /// Whether its record says of which server it is.
    pub(crate) fn has_snapshot(&self) -> bool {
        self.database.is_some()
    }
}

/// Makes the table where there is none yet; false where there can be none: a full disk can be looked at.
pub(super) fn prepare(db: &Connection, is_read_only: bool) -> rusqlite::Result<bool> {
    make(db, "summaries", SCHEMA, is_read_only)
}

/// The same for any table that triggers keep.
pub(super) fn make(
    db: &Connection,
    table: &str,
    schema: &str,
    is_read_only: bool,
) -> rusqlite::Result<bool> {
    let is_there = || {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?1)";
        db.query_row(sql, [table], |row| row.get(0))
    };
    if is_there()? || is_read_only {
        return is_there();
    }
    let create = || {
        let tx = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
        // Another process may have made it meanwhile.
        if !is_there()? {
            tx.execute_batch(schema)?;
        }
        tx.commit()
    };
    match create() {
        Ok(()) => Ok(true),
        Err(error) if is_busy(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

impl Catalog {
    /// Shows the summary of every run of a job, or of all, newest first, until `see` has seen enough; one at a time is in
    /// memory. Records are read only where they have no summary.
    pub fn each_summary(
        &self,
        job: Option<&str>,
        see: impl FnMut(RunSummary) -> Result<ControlFlow<()>, CatalogError>,
    ) -> Result<(), CatalogError> {
        let sql = if self.has_summaries {
            "SELECT id, summary FROM summaries WHERE ?1 IS NULL OR job = ?1 ORDER BY started_at DESC, rowid DESC"
        } else {
            "SELECT id, NULL FROM backups WHERE ?1 IS NULL OR job = ?1 ORDER BY started_at DESC, rowid DESC"
        };
        self.visit_summaries(sql, params![job], see)
    }

    /// Every run of a job, newest first, as [`RunSummary::run`] has it: thousands of them take a few megabytes. For the rest of
    /// a record there is [`Catalog::whole`].
    pub fn runs(&self, job: &str) -> Result<Vec<BackupRecord>, CatalogError> {
        let mut runs = Vec::new();
        self.each_summary(Some(job), |summary| {
            runs.push(summary.run);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(runs)
    }

    /// SQL for a column of the summary of a row of `backups`; null where it has none.
    pub(super) fn column(&self, column: &str) -> String {
        if self.has_summaries {
            format!("(SELECT {column} FROM summaries WHERE summaries.id = backups.id)")
        } else {
            "NULL".to_owned()
        }
    }

    /// Shows the summaries of a query's rows: the id, and the summary or null.
    pub(super) fn visit_summaries(
        &self,
        sql: &str,
        values: impl Params,
        mut see: impl FnMut(RunSummary) -> Result<ControlFlow<()>, CatalogError>,
    ) -> Result<(), CatalogError> {
        let mut stale = Vec::new();
        let failed = |source| self.failed("reading")(source);
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query(values).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            // One of another version may lack something.
            let mut summary = match row.get_ref(1).map_err(failed)? {
                ValueRef::Text(json) => serde_json::from_slice(json).ok(),
                _ => None,
            };
            if summary.is_none() {
                let id: String = row.get(0).map_err(failed)?;
                summary = self.stored(&id)?.map(|record| RunSummary::of(&record));
                stale.push(id);
            }
            let Some(mut summary): Option<RunSummary> = summary else {
                continue;
            };
            self.place(&mut summary.run);
            if see(summary)?.is_break() {
                break;
            }
        }
        drop(rows);
        drop(statement);
        if self.has_summaries && !self.is_read_only {
            // Who comes next makes them where this cannot.
            for ids in stale.chunks(TOGETHER) {
                let _ = self.summarize(ids);
            }
        }
        Ok(())
    }

    /// The names of the archives in the destination `local` that a record names as one of a backup that is kept.
    pub(super) fn kept_names(&self) -> Result<HashSet<String>, CatalogError> {
        let read = || {
            let missing = "SELECT EXISTS (SELECT 1 FROM summaries WHERE summary IS NULL)";
            if !self.has_summaries || self.db.query_row(missing, [], |row| row.get(0))? {
                return Ok(None);
            }
            let sql = "SELECT kept_key FROM summaries WHERE kept_key IS NOT NULL";
            let mut statement = self.db.prepare_cached(sql)?;
            let keys = statement.query_map([], |row| row.get(0))?;
            keys.collect::<rusqlite::Result<_>>().map(Some)
        };
        if let Some(names) = read().map_err(self.failed("reading"))? {
            return Ok(names);
        }
        let mut names = HashSet::new();
        self.each_summary(None, |summary| {
            let copy = summary.run.local_copy().filter(|_| summary.run.is_kept());
            names.extend(copy.map(|copy| copy.key.clone()));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(names)
    }

    /// The newest run of a job, or of all, of which the summary is `wanted`, with all of its record.
    pub fn newest(
        &self,
        job: Option<&str>,
        wanted: impl Fn(&RunSummary) -> bool,
    ) -> Result<Option<BackupRecord>, CatalogError> {
        let mut newest = None;
        self.each_summary(job, |summary| {
            if !wanted(&summary) {
                return Ok(ControlFlow::Continue(()));
            }
            newest = Some(self.whole(&summary.run)?);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(newest)
    }

    /// All of the record of which `run` is a summary.
    pub fn whole(&self, run: &BackupRecord) -> Result<BackupRecord, CatalogError> {
        let found = self.find(&run.id.to_string())?;
        Ok(found.unwrap_or_else(|| run.clone()))
    }

    fn stored(&self, id: &str) -> Result<Option<BackupRecord>, CatalogError> {
        let sql = "SELECT record FROM backups WHERE id = ?1";
        let read = || {
            let mut statement = self.db.prepare_cached(sql)?;
            let json = statement.query_row(params![id], |row| row.get::<_, String>(0));
            json.optional()
        };
        let json = read().map_err(self.failed("reading"))?;
        json.map(|json| self.parse(&json)).transpose()
    }

    /// Makes the summaries of these, from their records as they are now.
    fn summarize(&self, ids: &[String]) -> Result<(), CatalogError> {
        let tx = self.writing()?;
        for id in ids {
            if let Some(record) = self.stored(id)? {
                self.write_summary(&record)?;
            }
        }
        tx.commit().map_err(self.failed("writing to"))
    }

    /// Within the transaction that writes the record, after that.
    pub(super) fn write_summary(&self, record: &BackupRecord) -> Result<(), CatalogError> {
        if !self.has_summaries {
            return Ok(());
        }
        let json = self.json(&RunSummary::of(record))?;
        let kept = record.local_copy().filter(|_| record.is_kept());
        let kept = kept.map(|copy| &copy.key);
        let sql = "UPDATE summaries SET summary = ?2, kept_key = ?3 WHERE id = ?1";
        let write = || {
            let mut update = self.db.prepare_cached(sql)?;
            update.execute(params![record.id.to_string(), json, kept])
        };
        write().map(|_| ()).map_err(self.failed("writing to"))
    }
}

#[cfg(test)]
mod tests;
