//! The runs in the catalog.

use super::{BackupRecord, Catalog, CatalogError, DeliveryRecord, State};
use hubvault_model::{BackupId, Warning};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use std::ops::ControlFlow;

impl Catalog {
    /// Records a run before its first byte.
    pub fn begin(&self, record: &BackupRecord) -> Result<(), CatalogError> {
        self.put(record)
    }

    /// Records what came of a run.
    pub fn finish(&self, record: &BackupRecord) -> Result<(), CatalogError> {
        self.put(record)
    }

    /// Records who was notified of a run, and what went wrong with that; the rest of the record is left as it is now.
    pub fn record_delivery(
        &self,
        id: BackupId,
        delivery: &DeliveryRecord,
        warnings: Vec<Warning>,
    ) -> Result<(), CatalogError> {
        let Some(mut record) = self.find(&id.to_string())? else {
            return Ok(());
        };
        record.delivery = Some(delivery.clone());
        record.warnings.extend(warnings);
        self.put(&record)
    }

    fn put(&self, record: &BackupRecord) -> Result<(), CatalogError> {
        let json = self.json(record)?;
        let write = || {
            let tx = self.db.unchecked_transaction()?;
            let id = record.id.to_string();
            tx.execute("DELETE FROM backups WHERE id = ?1", params![id])?;
            tx.execute(
                "INSERT INTO backups VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    id,
                    record.job,
                    record.state.as_str(),
                    record.file().map(|file| file.display().to_string()),
                    record.started_at.to_string(),
                    record.finished_at.map(|t| t.to_string()),
                    record.bytes.map(|b| b as i64),
                    json,
                ],
            )?;
            for table in &record.tables {
                tx.execute(
                    "INSERT INTO tables VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        id,
                        table.name,
                        table.rows as i64,
                        table.bytes as i64,
                        table.digest
                    ],
                )?;
            }
            tx.commit()
        };
        write().map_err(self.failed("writing to"))
    }

    /// Runs that are still called running although their process holds no lock any more: failed.
    /// Only under the run lock.
    pub fn close_dead_runs(&self, now: Timestamp) -> Result<(), CatalogError> {
        let sql = "SELECT record FROM backups WHERE state = ?1";
        for mut record in self.query(sql, Some(State::Running.as_str()))? {
            record.died(now);
            self.put(&record)?;
        }
        Ok(())
    }

    /// Runs of a job that ended after `since` and whose notification is pending: their process crashed before it.
    pub fn notification_pending(
        &self,
        job: &str,
        since: Timestamp,
    ) -> Result<Vec<BackupRecord>, CatalogError> {
        let mut records = self.list()?;
        records.retain(|record| {
            record.job == job
                && record.delivery.is_none()
                && record.finished_at.is_some_and(|at| at >= since)
        });
        Ok(records)
    }

    /// A run of a job that began at `due` or later and left an archive.
    pub fn made_since(
        &self,
        job: &str,
        due: Timestamp,
    ) -> Result<Option<BackupRecord>, CatalogError> {
        let mut records = self.list()?.into_iter();
        Ok(records.find(|record| {
            let made = matches!(record.state, State::Proven | State::Unproven);
            made && record.job == job && record.started_at >= due
        }))
    }

    /// Every record, newest first. A catalog keeps every run, so that this takes memory for all of them.
    pub fn list(&self) -> Result<Vec<BackupRecord>, CatalogError> {
        let mut all = Vec::new();
        self.each(|record| {
            all.push(record);
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    /// Shows every record, newest first, until `see` has seen enough; one at a time is in memory.
    pub fn each(
        &self,
        see: impl FnMut(BackupRecord) -> ControlFlow<()>,
    ) -> Result<(), CatalogError> {
        let sql = "SELECT record FROM backups ORDER BY started_at DESC, rowid DESC";
        self.visit(sql, None, see)
    }

    fn query(&self, sql: &str, value: Option<&str>) -> Result<Vec<BackupRecord>, CatalogError> {
        let mut all = Vec::new();
        self.visit(sql, value, |record| {
            all.push(record);
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    fn visit(
        &self,
        sql: &str,
        value: Option<&str>,
        mut see: impl FnMut(BackupRecord) -> ControlFlow<()>,
    ) -> Result<(), CatalogError> {
        let failed = |source| self.failed("reading")(source);
        let mut statement = self.db.prepare(sql).map_err(failed)?;
        let mut rows = statement
            .query(rusqlite::params_from_iter(value))
            .map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let json: String = row.get(0).map_err(failed)?;
            let mut record: BackupRecord = self.parse(&json)?;
            record.locate(self.directory());
            if see(record).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The backup that `word` means: `latest` (the newest that has an archive), an id, an
    /// unambiguous prefix of one, or the name of an archive. `None` when there is none.
    pub fn find(&self, word: &str) -> Result<Option<BackupRecord>, CatalogError> {
        if word == "latest" {
            let mut latest = None;
            self.each(|record| {
                let is_listed = record.is_kept();
                latest = Some(record).filter(|_| is_listed);
                if is_listed {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            return Ok(latest);
        }
        if word
            .parse::<BackupId>()
            .is_ok_and(|id| id.to_string() == word)
        {
            let sql = "SELECT record FROM backups WHERE id = ?1";
            return Ok(self.query(sql, Some(word))?.pop());
        }
        let records = self.list()?;
        let named = |r: &BackupRecord| {
            r.file()
                .is_some_and(|f| f.file_name().is_some_and(|n| n == word))
        };
        if let Some(at) = records.iter().position(named) {
            return Ok(records.into_iter().nth(at));
        }
        let wanted = word.to_ascii_lowercase();
        let mut fits: Vec<BackupRecord> = records
            .into_iter()
            .filter(|r| !wanted.is_empty() && r.id.to_string().starts_with(&wanted))
            .collect();
        if fits.len() > 1 {
            return Err(CatalogError::Ambiguous {
                prefix: word.to_owned(),
                ids: fits
                    .iter()
                    .map(|r| r.id.to_string()[..13].to_owned())
                    .collect(),
            });
        }
        Ok(fits.pop())
    }

    /// When an archive of this job was last drilled.
    pub fn last_drill(&self, job: &str) -> Result<Option<Timestamp>, CatalogError> {
        let records = self.list()?.into_iter().filter(|record| record.job == job);
        Ok(records
            .filter_map(|record| Some(record.proof.drill?.drilled_at))
            .max())
    }

    /// When a `restore.sh` of this kind last brought back an archive of this job.
    pub fn last_script(&self, job: &str, kind: &str) -> Result<Option<Timestamp>, CatalogError> {
        let records = self.list()?.into_iter().filter(|record| record.job == job);
        let drills = records.filter_map(|record| record.proof.drill);
        Ok(drills
            .filter(|drill| drill.script.as_deref() == Some(kind))
            .map(|drill| drill.drilled_at)
            .max())
    }

    /// True when the catalog knows this id.
    pub fn knows(&self, id: BackupId) -> Result<bool, CatalogError> {
        self.db
            .query_row(
                "SELECT 1 FROM backups WHERE id = ?1",
                params![id.to_string()],
                |_| Ok(()),
            )
            .optional()
            .map(|found| found.is_some())
            .map_err(self.failed("reading"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateDir;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_crashed_run_is_failed_by_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&StateDir::at(dir.path())).unwrap();
        let id = BackupId::random();
        catalog
            .begin(&BackupRecord::begun(id, "hub", at(10)))
            .unwrap();
        catalog.close_dead_runs(at(20)).unwrap();
        let found = catalog.find(&id.to_string()).unwrap().unwrap();
        assert_eq!(found.state, State::Failed);
        assert!(found.error.unwrap().contains("crashed"));
    }

    #[test]
    fn prefixes_must_be_unambiguous() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&StateDir::at(dir.path())).unwrap();
        let ids: Vec<BackupId> = [
            "11111111-0000-4000-8000-000000000000",
            "11111111-1000-4000-8000-000000000000",
        ]
        .iter()
        .map(|id| id.parse().unwrap())
        .collect();
        for id in &ids {
            catalog
                .begin(&BackupRecord::begun(*id, "hub", at(10)))
                .unwrap();
        }
        assert!(matches!(
            catalog.find("1111"),
            Err(CatalogError::Ambiguous { .. })
        ));
        assert_eq!(catalog.find("11111111-1").unwrap().unwrap().id, ids[1]);
        assert!(catalog.find("2").unwrap().is_none());
        assert!(catalog.find("latest").unwrap().is_none());
    }
}
