//! Which tables the newest archive of a job holds.

use super::{BackupRecord, Catalog, CatalogError, State};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// The tables of the last backup that was published, whether or not its archive is still there.
#[derive(Clone, Debug)]
pub struct LastScope {
    database: Option<String>,
    tables: BTreeSet<String>,
}

impl LastScope {
    /// From the newest of a job's records that was published.
    pub fn of(record: &BackupRecord) -> Option<Self> {
        if !matches!(record.state, State::Proven | State::Unproven) {
            return None;
        }
        Some(Self {
            database: record.snapshot.as_ref().map(|it| it.database.clone()),
            tables: record.tables.iter().map(|it| it.name.clone()).collect(),
        })
    }

    /// The names of its tables for people; `None` where it is of another database than `database`.
    pub fn tables_in(&self, database: &str) -> Option<&BTreeSet<String>> {
        (self.database.as_deref() == Some(database)).then_some(&self.tables)
    }
}

impl Catalog {
    /// What the last backup of a job holds; `None` before the first.
    pub fn last_scope(&self, job: &str) -> Result<Option<LastScope>, CatalogError> {
        let mut found = None;
        self.each(|record| {
            if record.job == job {
                found = LastScope::of(&record);
            }
            match found {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        })?;
        Ok(found)
    }
}
