//! Indexes that are built while other tables are loaded.

use super::dump;
use super::error::RestoreError;
use hubvault_archive::{Archive, EntryRecord, LoadGroup, Source};
use hubvault_model::{Cancel, TableName};
use hubvault_postgres::{EarlyIndex, SchemaRestore, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of more tables than these only the large ones: what is known of each index is kept in memory.
const MANY: usize = 1_000;
/// So many bytes of rows make a table large.
const LARGE: u64 = 16 << 20;

/// The indexes of tables whose rows are loaded at once, into the table itself. What cannot be built like that is left to its
/// usual place.
#[derive(Debug, Default)]
pub(crate) struct EarlyIndexes {
    waiting: Mutex<BTreeMap<TableName, Waiting>>,
    built: Mutex<BTreeSet<u32>>,
    is_told: AtomicBool,
}

/// A table whose rows are not all there.
#[derive(Debug)]
struct Waiting {
    entries: usize,
    indexes: Vec<EarlyIndex>,
}

/// A task: what is built over one connection, one after the other, and what may be built after that, side by side.
#[derive(Debug)]
pub(crate) struct Building {
    now: Vec<EarlyIndex>,
    after: Vec<EarlyIndex>,
}

impl EarlyIndexes {
    /// Those of the tables that these entries fill.
    pub(crate) fn of<S: Source>(
        archive: &Archive<S>,
        schema: &SchemaRestore,
        entries: &[(LoadGroup, &EntryRecord)],
        cancel: &Cancel,
    ) -> Result<Self, RestoreError> {
        let order = &archive.manifest().load_order;
        let mut sizes: BTreeMap<&TableName, (usize, u64)> = BTreeMap::new();
        let at_once = entries
            .iter()
            .filter(|(group, _)| *group == LoadGroup::First);
        for (_, entry) in at_once {
            let table = entry.rows.as_ref().map(|rows| &rows.table);
            if let Some(table) = table.filter(|table| order.place_of(table) == *table) {
                let (count, bytes) = sizes.entry(table).or_default();
                (*count, *bytes) = (*count + 1, *bytes + entry.raw_bytes);
            }
        }
        if sizes.len() > MANY {
            sizes.retain(|_, (_, bytes)| *bytes >= LARGE);
        }
        if sizes.is_empty() {
            return Ok(Self::default());
        }
        let mut waiting: BTreeMap<TableName, Waiting> = BTreeMap::new();
        let is_wanted = |table: &TableName| sizes.contains_key(table);
        for index in schema.early_indexes(dump(archive)?, is_wanted, cancel)? {
            let Some((entries, _)) = sizes.get(&index.table) else {
                continue;
            };
            let of_table = waiting.entry(index.table.clone()).or_insert(Waiting {
                entries: *entries,
                indexes: Vec::new(),
            });
            of_table.indexes.push(index);
        }
        Ok(Self {
            waiting: Mutex::new(waiting),
            ..Self::default()
        })
    }

    /// What can be built once so many more entries of a table are loaded and committed.
    pub(crate) fn loaded(&self, table: &TableName, entries: usize) -> Vec<Building> {
        let mut all = lock(&self.waiting);
        let Some(waiting) = all.get_mut(table) else {
            return Vec::new();
        };
        waiting.entries = waiting.entries.saturating_sub(entries);
        if waiting.entries > 0 {
            return Vec::new();
        }
        let indexes = all.remove(table).map(|waiting| waiting.indexes);
        let (now, after): (Vec<_>, Vec<_>) =
            (indexes.into_iter().flatten()).partition(|index| index.is_constraint);
        if now.is_empty() {
            side_by_side(after)
        } else {
            vec![Building { now, after }]
        }
    }

    /// Builds, and returns what may be built then.
    pub(crate) fn build(
        &self,
        session: &mut Session,
        building: Building,
    ) -> Result<Vec<Building>, RestoreError> {
        for index in building.now {
            if index.build(session)? {
                lock(&self.built).insert(index.id);
            }
        }
        Ok(side_by_side(building.after))
    }

    /// Whether nobody was told yet that indexes are built.
    pub(crate) fn is_news(&self) -> bool {
        !self.is_told.swap(true, Ordering::Relaxed)
    }

    /// The numbers of those that are there.
    pub(crate) fn built(&self) -> BTreeSet<u32> {
        lock(&self.built).clone()
    }
}

fn side_by_side(indexes: Vec<EarlyIndex>) -> Vec<Building> {
    let alone = |index| Building {
        now: vec![index],
        after: Vec::new(),
    };
    indexes.into_iter().map(alone).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
