//! What the checks last found, and who was told of it: so that an alert is told once, whoever looks and
//! however often the process is started anew.

use super::{Catalog, CatalogError};
use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS alerts (
        job TEXT NOT NULL,
        check_name TEXT NOT NULL,
        state TEXT NOT NULL,
        since TEXT NOT NULL,
        told_at TEXT,
        silenced_until TEXT,
        what TEXT NOT NULL,
        looked_at TEXT NOT NULL,
        PRIMARY KEY (job, check_name)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS alerts_by_run (
        job TEXT NOT NULL,
        check_name TEXT NOT NULL,
        PRIMARY KEY (job, check_name)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS alerts_unreached (
        job TEXT NOT NULL,
        check_name TEXT NOT NULL,
        tried_at TEXT NOT NULL,
        PRIMARY KEY (job, check_name)
    ) STRICT;
";

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// All is well.
    Ok,
    /// Something is wrong.
    Failing,
    /// It could not be looked at, or there is nothing to look at.
    Skipped,
}

impl CheckState {
    /// The word in JSON and in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failing => "failing",
            Self::Skipped => "skipped",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "ok" => Self::Ok,
            "failing" => Self::Failing,
            _ => Self::Skipped,
        }
    }
}

/// What is remembered of one check of one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertState {
    /// The job.
    pub job: String,
    /// The check.
    pub check: String,
    /// What it last found.
    pub state: CheckState,
    /// Since when it finds that.
    pub since: Timestamp,
    /// When the alert that stands was last told; `None` where none stands that anybody knows of.
    pub told_at: Option<Timestamp>,
    /// Whether the message about a run was the one that told it, and no message of its own.
    pub by_run: bool,
    /// When its last message was refused by every recipient for good, so that it is sent once more.
    #[serde(skip)]
    pub unreached_at: Option<Timestamp>,
    /// Until when nobody is told.
    pub silenced_until: Option<Timestamp>,
    /// What it last said.
    pub what: String,
    /// When it last looked.
    pub looked_at: Timestamp,
}

impl AlertState {
    /// Whether nobody is to be told at `now`.
    pub fn is_silenced(&self, now: Timestamp) -> bool {
        self.silenced_until.is_some_and(|until| now < until)
    }
}

impl Catalog {
    /// What is remembered of the checks of a job, by name.
    pub fn alerts(&self, job: &str) -> Result<Vec<AlertState>, CatalogError> {
        let read = || {
            // Not in a catalog of an earlier version that can only be read.
            let by_run = if self.db.table_exists(None, "alerts_by_run")? {
                "EXISTS (SELECT 1 FROM alerts_by_run AS other
                     WHERE other.job = alerts.job AND other.check_name = alerts.check_name)"
            } else {
                "false"
            };
            let unreached_at = if self.db.table_exists(None, "alerts_unreached")? {
                "(SELECT tried_at FROM alerts_unreached AS other
                     WHERE other.job = alerts.job AND other.check_name = alerts.check_name)"
            } else {
                "NULL"
            };
            let mut statement = self.db.prepare(&format!(
                "SELECT job, check_name, state, since, told_at, silenced_until, what, looked_at, {by_run}, {unreached_at}
                 FROM alerts WHERE job = ?1 ORDER BY check_name",
            ))?;
            let rows = statement.query_map(params![job], alert)?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(self.failed("reading the alerts of"))
    }

    /// Remembers what a check found. A silence is left as it is: it may have been asked for meanwhile.
    pub fn put_alert(&self, alert: &AlertState) -> Result<(), CatalogError> {
        // An earlier version knows nothing of the other tables, and reads the first one.
        let by_run = if alert.by_run {
            "INSERT OR IGNORE INTO alerts_by_run VALUES (?1, ?2)"
        } else {
            "DELETE FROM alerts_by_run WHERE job = ?1 AND check_name = ?2"
        };
        let write = || {
            let both = self.db.unchecked_transaction()?;
            both.execute(
                "INSERT INTO alerts VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6, ?7)
                 ON CONFLICT (job, check_name) DO UPDATE SET state = excluded.state,
                     since = excluded.since, told_at = excluded.told_at, what = excluded.what,
                     looked_at = excluded.looked_at",
                params![
                    alert.job,
                    alert.check,
                    alert.state.as_str(),
                    alert.since.to_string(),
                    alert.told_at.map(|at| at.to_string()),
                    alert.what,
                    alert.looked_at.to_string(),
                ],
            )?;
            both.execute(by_run, params![alert.job, alert.check])?;
            both.execute(
                "DELETE FROM alerts_unreached WHERE job = ?1 AND check_name = ?2",
                params![alert.job, alert.check],
            )?;
            if let Some(at) = alert.unreached_at {
                both.execute(
                    "INSERT INTO alerts_unreached VALUES (?1, ?2, ?3)",
                    params![alert.job, alert.check, at.to_string()],
                )?;
            }
            both.commit()
        };
        write().map_err(self.failed("writing the alerts to"))
    }

    /// Tells nobody of a check until `until`, whether it was ever looked at or not.
    pub fn silence(
        &self,
        job: &str,
        check: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        self.db
            .execute(
                "INSERT INTO alerts VALUES (?1, ?2, 'skipped', ?4, NULL, ?3, 'not looked at yet', ?4)
                 ON CONFLICT (job, check_name) DO UPDATE SET silenced_until = excluded.silenced_until",
                params![job, check, until.to_string(), now.to_string()],
            )
            .map(|_| ())
            .map_err(self.failed("writing the alerts to"))
    }

    /// Forgets a check that there is no more.
    pub fn forget_alert(&self, job: &str, check: &str) -> Result<(), CatalogError> {
        self.db
            .execute(
                "DELETE FROM alerts WHERE job = ?1 AND check_name = ?2",
                params![job, check],
            )
            .map(|_| ())
            .map_err(self.failed("writing the alerts to"))
    }
}

fn alert(row: &Row<'_>) -> rusqlite::Result<AlertState> {
    let moment = |at: usize| -> rusqlite::Result<Option<Timestamp>> {
        let text: Option<String> = row.get(at)?;
        // One that cannot be read is as good as none: somebody is told once more.
        Ok(text.and_then(|text| text.parse().ok()))
    };
    Ok(AlertState {
        job: row.get(0)?,
        check: row.get(1)?,
        state: CheckState::of(&row.get::<_, String>(2)?),
        since: moment(3)?.unwrap_or_default(),
        told_at: moment(4)?,
        silenced_until: moment(5)?,
        what: row.get(6)?,
        looked_at: moment(7)?.unwrap_or_default(),
        by_run: row.get(8)?,
        unreached_at: moment(9)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateDir;

    #[test]
    fn a_silence_outlives_what_is_found_and_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut state = AlertState {
            job: "hub".into(),
            check: "disk".into(),
            state: CheckState::Failing,
            since: at(10),
            told_at: Some(at(11)),
            by_run: true,
            unreached_at: Some(at(11)),
            silenced_until: None,
            what: "full".into(),
            looked_at: at(12),
        };
        {
            let catalog = Catalog::open(&StateDir::at(dir.path())).unwrap();
            catalog.silence("hub", "disk", at(100), at(5)).unwrap();
            catalog.put_alert(&state).unwrap();
        }
        let catalog = Catalog::open(&StateDir::at(dir.path())).unwrap();
        state.silenced_until = Some(at(100));
        assert_eq!(catalog.alerts("hub").unwrap(), [state.clone()]);
        state.unreached_at = None;
        catalog.put_alert(&state).unwrap();
        assert_eq!(catalog.alerts("hub").unwrap(), [state.clone()]);
        assert!(state.is_silenced(at(99)) && !state.is_silenced(at(100)));
        assert!(catalog.alerts("other").unwrap().is_empty());
        catalog.forget_alert("hub", "disk").unwrap();
        assert!(catalog.alerts("hub").unwrap().is_empty());
    }
}
