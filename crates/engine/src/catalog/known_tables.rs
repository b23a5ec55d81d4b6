//! Which tables the archives of a job held, by their rows or their definitions: what is not among them is new.

use super::{BackupRecord, Catalog, CatalogError, State, contents};
use crate::job::Scope;
use hubvault_archive::{Identities, LeftOut};
use hubvault_model::{TableName, TablePattern};
use hubvault_postgres::{Relation, Sequence, inspect};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// The tables of every backup that was published, by database, whether or not its archive is still there.
#[derive(Clone, Debug, Default)]
pub struct KnownTables {
    databases: BTreeMap<String, Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    tables: BTreeSet<String>,
    /// The newest archive: its manifest names the tables of which it has the definition alone.
    newest: Option<PathBuf>,
}

impl KnownTables {
    fn add(&mut self, record: &BackupRecord) {
        let Some(snapshot) = &record.snapshot else {
            return;
        };
        if !matches!(record.state, State::Proven | State::Unproven) {
            return;
        }
        let database = snapshot.database.clone();
        let known = self.databases.entry(database).or_insert_with(|| Known {
            newest: record.file().map(ToOwned::to_owned),
            ..Known::default()
        });
        known
            .tables
            .extend(record.tables.iter().map(|it| it.name.clone()));
    }

    /// The tables that the role may not read and that no backup held, by oid; none before the first backup of `database`.
    /// A table that the scope names without a wildcard is wanted for certain, and is as one that a backup held.
    pub fn new_and_unreadable(
        &self,
        relations: &[Relation],
        scope: &Scope,
        database: &str,
    ) -> BTreeSet<u32> {
        let Some(known) = self.tables_in(database) else {
            return BTreeSet::new();
        };
        let windows = scope.windows.iter().flat_map(|window| &window.tables);
        let named = scope.tables.iter().chain(windows);
        let named: Vec<TableName> = named.filter_map(TablePattern::exact).collect();
        let is_hidden = |it: &Relation| it.rls_filters && scope.takes(&it.name);
        inspect::new_and_unreadable(relations, &is_hidden, &|table| {
            named.contains(table) || known.contains(&table.to_string())
        })
    }

    /// The sequences that the role may not read, that nothing uses and that the newest backup did not hold; none where
    /// that cannot be known.
    pub fn new_sequences(&self, sequences: &[Sequence], database: &str) -> Vec<Sequence> {
        let new = || sequences.iter().filter(|it| it.can_be_spared());
        let newest = self
            .databases
            .get(database)
            .and_then(|it| it.newest.as_ref());
        let (Some(path), Some(_)) = (newest, new().next()) else {
            return Vec::new();
        };
        let Ok(contents) = contents(path, &Identities::default()) else {
            return Vec::new();
        };
        let held = contents.manifest.sequences.into_iter();
        let held: BTreeSet<TableName> = held.map(|it| it.name).collect();
        new()
            .filter(|it| !held.contains(&it.name))
            .cloned()
            .collect()
    }

    /// The names for people of the tables of `database`. Reads the newest archive's manifest.
    fn tables_in(&self, database: &str) -> Option<BTreeSet<String>> {
        let known = self.databases.get(database)?;
        let mut tables = known.tables.clone();
        let Some(path) = known.newest.as_ref().filter(|path| path.is_file()) else {
            return Some(tables);
        };
        match contents(path, &Identities::default()) {
            Ok(contents) => {
                let left_out = contents.manifest.left_out.into_iter();
                let defined = left_out.filter(|left| left.reason != LeftOut::NOT_READABLE);
                tables.extend(defined.map(|left| left.name.to_string()));
            }
            Err(error) => tracing::warn!(
                "could not read which tables {} defines: {error}",
                path.display()
            ),
        }
        Some(tables)
    }
}

impl Catalog {
    /// What the backups of a job held.
    pub fn known_tables(&self, job: &str) -> Result<KnownTables, CatalogError> {
        let (mut runs, mut seen) = (Vec::new(), HashSet::new());
        self.each_summary(Some(job), |summary| {
            let is_published = matches!(summary.run.state, State::Proven | State::Unproven);
            // Most runs have the tables of the one before.
            if is_published && seen.insert((summary.database, summary.table_names)) {
                runs.push(summary.run);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let mut found = KnownTables::default();
        for run in runs {
            found.add(&self.whole(&run)?);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::TableRecord;
    use crate::state::StateDir;
    use hubvault_archive::{Coverage, SnapshotInfo};
    use hubvault_model::BackupId;
    use jiff::Timestamp;

    #[test]
    fn tables_of_all_backups_are_known_whatever_the_newest_has() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&StateDir::at(dir.path())).unwrap();
        let table = |name: &str| TableRecord {
            name: name.to_owned(),
            rows: 1,
            bytes: 1,
            digest: String::new(),
            coverage: Coverage::Whole,
        };
        let put = |second, job, database: &str, tables: [&str; 2]| {
            let at = Timestamp::from_second(second).unwrap();
            let record = BackupRecord {
                state: State::Proven,
                tables: tables.map(table).to_vec(),
                snapshot: Some(SnapshotInfo {
                    id: String::new(),
                    lsn: String::new(),
                    taken_at: at,
                    database: database.to_owned(),
                    server_version: "15".to_owned(),
                    server_version_num: 150_000,
                    standby: false,
                    system_identifier: None,
                }),
                ..BackupRecord::begun(BackupId::random(), job, at)
            };
            catalog.finish(&record).unwrap();
        };
        put(10, "hub", "hub", ["a", "old"]);
        put(20, "hub", "hub", ["a", "b"]);
        put(30, "hub", "hub", ["b", "a"]);
        put(40, "hub", "shop", ["a", "b"]);
        put(50, "other", "hub", ["theirs", "b"]);
        let known = catalog.known_tables("hub").unwrap();
        let of = |database: &str| {
            known.databases[database]
                .tables
                .iter()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(of("hub"), ["a", "b", "old"]);
        assert_eq!(of("shop"), ["a", "b"]);
    }
}
