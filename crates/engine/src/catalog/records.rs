//! The runs in the catalog.

use super::{BackupRecord, Catalog, CatalogError, DeliveryRecord, DrillRecord, RunSummary, State};
use hubvault_model::{BackupId, Warning};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};
use std::ops::ControlFlow;

/// The clocks of two machines may differ so much.
pub(crate) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

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
        self.change(id, |record| {
            record.delivery = Some(delivery.clone());
            record.warnings.extend(warnings);
        })
        .map(|_| ())
    }

    /// Changes a record as it is now, which nobody else writes meanwhile; returns it as it is then. `None` where there is
    /// none.
    pub fn change(
        &self,
        id: BackupId,
        change: impl FnOnce(&mut BackupRecord),
    ) -> Result<Option<BackupRecord>, CatalogError> {
        let tx = self.writing()?;
        let Some(mut record) = self.find(&id.to_string())? else {
            return Ok(None);
        };
        change(&mut record);
        self.write(&tx, &record)?;
        tx.commit().map_err(self.failed("writing to"))?;
        Ok(Some(record))
    }

    /// Records several at once, as [`Catalog::finish`] does each: all of them, or none.
    pub fn finish_all(&self, records: &[BackupRecord]) -> Result<(), CatalogError> {
        if records.is_empty() {
            return Ok(());
        }
        let tx = self.writing()?;
        for record in records {
            self.write(&tx, record)?;
        }
        tx.commit().map_err(self.failed("writing to"))
    }

    /// Changes the copies of several records as they are now, in one transaction: all of them, or none.
    pub fn change_copies(
        &self,
        ids: &[BackupId],
        mut change: impl FnMut(&mut BackupRecord),
    ) -> Result<(), CatalogError> {
        if ids.is_empty() {
            return Ok(());
        }
        let tx = self.writing()?;
        for id in ids {
            let Some(mut record) = self.find(&id.to_string())? else {
                continue;
            };
            change(&mut record);
            let json = self.json(&record)?;
            let file = record.file().map(|file| file.display().to_string());
            // Its tables stay as they are: there may be hundreds.
            tx.prepare_cached("UPDATE backups SET record = ?2, file = ?3 WHERE id = ?1")
                .and_then(|mut update| update.execute(params![id.to_string(), json, file]))
                .map_err(self.failed("writing to"))?;
            self.write_summary(&record)?;
        }
        tx.commit().map_err(self.failed("writing to"))
    }

    /// Records what came of a run, but of its copies what is recorded already: others may work at them.
    pub fn finish_except_copies(&self, record: &mut BackupRecord) -> Result<(), CatalogError> {
        let tx = self.writing()?;
        if let Some(known) = self.find(&record.id.to_string())?
            && !known.copies.is_empty()
        {
            record.copies = known.copies;
        }
        self.write(&tx, record)?;
        tx.commit().map_err(self.failed("writing to"))
    }

    pub(super) fn writing(&self) -> Result<Transaction<'_>, CatalogError> {
        Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)
            .map_err(self.failed("writing to"))
    }

    fn put(&self, record: &BackupRecord) -> Result<(), CatalogError> {
        let tx = self.writing()?;
        self.write(&tx, record)?;
        tx.commit().map_err(self.failed("writing to"))
    }

    fn write(&self, tx: &Transaction<'_>, record: &BackupRecord) -> Result<(), CatalogError> {
        let json = self.json(record)?;
        let write = || {
            let id = record.id.to_string();
            tx.prepare_cached("DELETE FROM backups WHERE id = ?1")?
                .execute(params![id])?;
            tx.prepare_cached("INSERT INTO backups VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
                .execute(params![
                    id,
                    record.job,
                    record.state.as_str(),
                    record.file().map(|file| file.display().to_string()),
                    record.started_at.to_string(),
                    record.finished_at.map(|t| t.to_string()),
                    record.bytes.map(|b| b as i64),
                    json,
                ])?;
            let mut insert = tx.prepare_cached("INSERT INTO tables VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for table in &record.tables {
                insert.execute(params![
                    id,
                    table.name,
                    table.rows as i64,
                    table.bytes as i64,
                    table.digest
                ])?;
            }
            Ok(())
        };
        write().map_err(self.failed("writing to"))?;
        self.write_summary(record)
    }

    /// Runs that are still called running although their process holds no lock any more: failed.
    /// Only under the run lock.
    pub fn close_dead_runs(&self, now: Timestamp) -> Result<(), CatalogError> {
        let sql = if self.has_summaries {
            "SELECT record FROM backups WHERE id IN (SELECT id FROM summaries WHERE state = ?1)"
        } else {
            "SELECT record FROM backups WHERE state = ?1"
        };
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
        let mut pending = Vec::new();
        self.each_summary(Some(job), |summary| {
            let ended = summary.run.finished_at.is_some_and(|at| at >= since);
            if summary.run.delivery.is_none() && ended {
                pending.push(self.whole(&summary.run)?);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(pending)
    }

    /// A run of a job that began at `due` or later and left an archive. One that begins after `now` was made by a clock that is
    /// ahead, and nobody knows when.
    pub fn made_since(
        &self,
        job: &str,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<Option<BackupRecord>, CatalogError> {
        let latest = now + CLOCK_TOLERANCE;
        self.newest(Some(job), |RunSummary { run, .. }| {
            let made = matches!(run.state, State::Proven | State::Unproven);
            made && (due..=latest).contains(&run.started_at)
        })
    }

    /// Every record, newest first. A catalog keeps every run, so that this takes memory for all of them.
    #[cfg(test)]
    pub(crate) fn list(&self) -> Result<Vec<BackupRecord>, CatalogError> {
        self.query(
            "SELECT record FROM backups ORDER BY started_at DESC, rowid DESC",
            None,
        )
    }

    /// Shows every record, newest first, until `see` has seen enough; one at a time is in memory.
    pub fn each(
        &self,
        see: impl FnMut(BackupRecord) -> ControlFlow<()>,
    ) -> Result<(), CatalogError> {
        let sql = "SELECT record FROM backups ORDER BY started_at DESC, rowid DESC";
        self.visit(sql, None, see)
    }

    /// Shows the newest unproven backups of a job, at most so many, newest first.
    pub(crate) fn each_unproven(
        &self,
        job: &str,
        limit: u64,
        see: impl FnMut(BackupRecord) -> ControlFlow<()>,
    ) -> Result<(), CatalogError> {
        let sql = format!(
            "SELECT record FROM backups WHERE state = ?1 AND job = ?2 ORDER BY started_at DESC, rowid DESC LIMIT {limit}"
        );
        self.visit(&sql, [State::Unproven.as_str(), job], see)
    }

    fn query(&self, sql: &str, value: Option<&str>) -> Result<Vec<BackupRecord>, CatalogError> {
        let mut all = Vec::new();
        self.visit(sql, value, |record| {
            all.push(record);
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    pub(super) fn visit<'v>(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = &'v str>,
        mut see: impl FnMut(BackupRecord) -> ControlFlow<()>,
    ) -> Result<(), CatalogError> {
        let failed = |source| self.failed("reading")(source);
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement
            .query(rusqlite::params_from_iter(values))
            .map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let json: String = row.get(0).map_err(failed)?;
            let mut record: BackupRecord = self.parse(&json)?;
            self.place(&mut record);
            if see(record).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Says where the copies of a record are now, and which of them are at no destination any more.
    pub(super) fn place(&self, record: &mut BackupRecord) {
        record.locate(self.directory());
        if let Some((_, known)) = self.known.as_ref().filter(|(job, _)| *job == record.job) {
            for copy in &mut record.copies {
                copy.compare_with(known);
            }
        }
    }

    /// The backup that `word` means: `latest` (the newest that has an archive), an id, an
    /// unambiguous prefix of one, or the name of an archive. `None` when there is none.
    pub fn find(&self, word: &str) -> Result<Option<BackupRecord>, CatalogError> {
        if word == "latest" {
            return self.newest(None, |it| it.run.is_kept());
        }
        if word
            .parse::<BackupId>()
            .is_ok_and(|id| id.to_string() == word)
        {
            let sql = "SELECT record FROM backups WHERE id = ?1";
            return Ok(self.query(sql, Some(word))?.pop());
        }
        let wanted = word.to_ascii_lowercase();
        let (mut named, mut fits) = (None, Vec::new());
        self.each_summary(None, |summary| {
            let run = summary.run;
            if named.is_none() && run.archive_name() == Some(word) {
                named = Some(run);
                return Ok(ControlFlow::Break(()));
            }
            if !wanted.is_empty() && run.id.to_string().starts_with(&wanted) {
                fits.push(run);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if named.is_none() && fits.len() > 1 {
            let ids = fits.iter().map(|run| run.id.to_string()[..13].to_owned());
            return Err(CatalogError::Ambiguous {
                prefix: word.to_owned(),
                ids: ids.collect(),
            });
        }
        let found = named.or_else(|| fits.pop());
        found.map(|run| self.whole(&run)).transpose()
    }

    /// When an archive of this job was last drilled.
    pub fn last_drill(&self, job: &str) -> Result<Option<Timestamp>, CatalogError> {
        self.last(job, |_| true)
    }

    /// When a `restore.sh` of this kind last brought back an archive of this job.
    pub fn last_script(&self, job: &str, kind: &str) -> Result<Option<Timestamp>, CatalogError> {
        self.last(job, |drill| drill.script.as_deref() == Some(kind))
    }

    fn last(
        &self,
        job: &str,
        is_wanted: impl Fn(&DrillRecord) -> bool,
    ) -> Result<Option<Timestamp>, CatalogError> {
        let mut last = None;
        self.each_summary(Some(job), |summary| {
            let drill = summary.run.proof.drill.filter(&is_wanted);
            last = last.max(drill.map(|it| it.drilled_at));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(last)
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
