//! Loads rows from an archive into tables over several connections.

use super::RestoreOptions;
use super::early::{Building, EarlyIndexes};
use super::entry_rows::load_entry;
use super::error::RestoreError;
use super::order::in_order;
use crate::pool::Pool;
use crate::progress::{Progress, Stage};
use hubvault_archive::{Archive, EntryRecord, LoadOrder, Source};
use hubvault_model::{Cancel, TableName};
use hubvault_postgres::{Access, ConnectSettings, PgError, Session, TableLogins, target};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How entries are grouped into transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transactions {
    /// An entry is one: several connections may fill the same table.
    Entry,
    /// A table is one, emptied first, so that a server with `wal_level = minimal` writes no WAL,
    /// and rows are frozen at once. For tables that this restore has made. Not for one that is much
    /// larger than a worker's share: that is filled by several, with WAL, as is the rest of one when a
    /// connection has nothing left to do.
    Table,
}

/// A table whose rows could not be loaded.
#[derive(Debug)]
pub struct NotLoaded {
    /// The table.
    pub table: TableName,
    /// Why.
    pub error: RestoreError,
    /// The names of the entries that were not loaded, where they are known.
    pub(crate) entries: Vec<String>,
}

/// Loads entries into the tables of the same names, largest first, each over the login that `access` has for it, and builds
/// `early` indexes once their tables are filled.
/// What fails with the empty `search_path` is tried with the source's. Returns the tables' errors when `keep_going` is set.
pub(crate) fn load<S: Source>(
    archive: &Archive<S>,
    (entries, early): (Vec<&EntryRecord>, &EarlyIndexes),
    transactions: Transactions,
    (access, logins): (&Access, &TableLogins),
    options: RestoreOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<NotLoaded>, RestoreError> {
    let order = &archive.manifest().load_order;
    let mut portions = portions(entries, order, transactions, options.workers.max(1));
    portions.sort_by_cached_key(|portion| {
        let place = portion.table().map(|table| order.place_of(table));
        let login = place.map(|table| logins.of(table).user.clone());
        (Reverse(in_order(portion.bytes())), login)
    });
    let rows_left = AtomicUsize::new(portions.iter().map(|portion| portion.entries.len()).sum());
    let pool = Pool::growing(portions.into_iter().map(Task::Rows), cancel);
    let load = Load {
        archive,
        pool: &pool,
        early,
        rows_left,
        access,
        logins,
        keep_going: options.keep_going,
        progress,
        cancel,
        problems: Mutex::default(),
    };
    pool.run(
        options.workers,
        || Ok(None),
        |session, task| match task {
            Task::Rows(portion) => load.load(session, &portion),
            Task::Indexes(building) => load.build(session, building),
        },
    )?;
    Ok(load
        .problems
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

/// What a worker does at a time.
enum Task<'a> {
    Rows(Portion<'a>),
    Indexes(Building),
}

/// What one transaction loads: entries of one table.
struct Portion<'a> {
    entries: Vec<&'a EntryRecord>,
    /// These are all of the table's rows: it is emptied first.
    whole: bool,
}

impl<'a> Portion<'a> {
    /// One entry, whatever else the table holds.
    fn of(entry: &'a EntryRecord) -> Self {
        Self {
            entries: vec![entry],
            whole: false,
        }
    }

    fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.raw_bytes).sum()
    }

    fn table(&self) -> Option<&TableName> {
        let rows = self.entries.first()?.rows.as_ref()?;
        Some(&rows.table)
    }
}

/// A table that alone would keep a worker busy while the others have nothing left is filled by several. A partition that
/// is filled through a table above it is never emptied: rows of others may be in it.
fn portions<'a>(
    entries: Vec<&'a EntryRecord>,
    order: &LoadOrder,
    transactions: Transactions,
    workers: usize,
) -> Vec<Portion<'a>> {
    match transactions {
        Transactions::Entry => entries.into_iter().map(Portion::of).collect(),
        Transactions::Table => {
            let fair = entries.iter().map(|entry| entry.raw_bytes).sum::<u64>() / workers as u64;
            let mut tables: BTreeMap<&TableName, Vec<&EntryRecord>> = BTreeMap::new();
            for entry in entries {
                if let Some(rows) = &entry.rows {
                    tables.entry(&rows.table).or_default().push(entry);
                }
            }
            let whole = tables.into_values().map(|entries| Portion {
                entries,
                whole: true,
            });
            let (fitting, large): (Vec<_>, Vec<_>) = whole.partition(|portion| {
                let is_itself = |table: &TableName| order.place_of(table) == table;
                portion.bytes() <= fair + fair / 4 && portion.table().is_none_or(is_itself)
            });
            let parts = large.into_iter().flat_map(|portion| portion.entries);
            fitting.into_iter().chain(parts.map(Portion::of)).collect()
        }
    }
}

struct Load<'a, S: Source> {
    archive: &'a Archive<S>,
    pool: &'a Pool<'a, Task<'a>>,
    early: &'a EarlyIndexes,
    /// Entries that are not loaded.
    rows_left: AtomicUsize,
    access: &'a Access,
    logins: &'a TableLogins,
    keep_going: bool,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    problems: Mutex<Vec<NotLoaded>>,
}

impl<'a, S: Source> Load<'a, S> {
    fn load(
        &self,
        session: &mut Option<(String, Session)>,
        portion: &Portion<'a>,
    ) -> Result<(), RestoreError> {
        let Some(table) = portion.table() else {
            return Ok(());
        };
        let table = self.archive.manifest().load_order.place_of(table);
        let mut login = self.logins.of(table);
        let mut loaded = self.portion(self.session_of(session, login)?, portion);
        if let (Err(RestoreError::Postgres(refused)), Some(other)) =
            (&loaded, self.logins.instead(table))
            && refused.is_refusal()
        {
            *session = None;
            self.access.admit(table, self.cancel)?;
            login = other;
            loaded = self.portion(self.session_of(session, login)?, portion);
        }
        if let Err(RestoreError::Postgres(error)) = &loaded
            && error.is_of_names()
            && !self.logins.search_path().is_empty()
        {
            *session = None;
            let mut as_at_source = self.access.as_at_source(login, self.cancel)?;
            match self.portion(&mut as_at_source, portion) {
                Ok(()) => loaded = Ok(()),
                Err(RestoreError::Postgres(error)) if error.is_of_check() => {
                    loaded = Err(error.into());
                }
                Err(_) => {}
            }
        }
        match loaded {
            Err(error)
                if self.keep_going && !error.is_environment() && !self.cancel.is_requested() =>
            {
                let problem = NotLoaded {
                    table: table.clone(),
                    error,
                    entries: portion
                        .entries
                        .iter()
                        .map(|entry| entry.name.clone())
                        .collect(),
                };
                self.problems
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(problem);
                *session = None;
                Ok(())
            }
            loaded => loaded,
        }
    }

    /// The session of a login: the current one if it is the same login's.
    fn session_of<'s>(
        &self,
        session: &'s mut Option<(String, Session)>,
        login: &ConnectSettings,
    ) -> Result<&'s mut Session, PgError> {
        let (_, session) = match session.take() {
            Some(open) if open.0 == login.user => session.insert(open),
            _ => session.insert((login.user.clone(), self.access.session(login, self.cancel)?)),
        };
        Ok(session)
    }

    /// Loads what one transaction loads. What is left of a whole table when another connection has nothing to do goes back
    /// to the queue, entry by entry, with WAL.
    fn portion(&self, session: &mut Session, portion: &Portion<'a>) -> Result<(), RestoreError> {
        let (whole, Some(table)) = (portion.whole, portion.table()) else {
            return Ok(());
        };
        let doing = format!("restoring {table}");
        if whole {
            session.simple(&doing, &format!("BEGIN; TRUNCATE ONLY {}", table.sql()))?;
        }
        let mut left = portion.entries.as_slice();
        let all = left.len();
        while let Some((entry, after)) = left.split_first() {
            self.pool.check_stop::<RestoreError>()?;
            self.entry(session, entry, whole)?;
            left = after;
            // The last one is not worth another connection's time.
            if whole && left.len() > 1 && self.pool.is_wanting() {
                break;
            }
        }
        if whole {
            session.simple(&doing, "COMMIT")?;
        }
        let loaded = all - left.len();
        self.rows_left.fetch_sub(loaded, Ordering::Relaxed);
        let rows = left.iter().map(|entry| Task::Rows(Portion::of(entry)));
        let indexes = self.early.loaded(table, loaded).into_iter();
        self.pool.add(rows.chain(indexes.map(Task::Indexes)));
        Ok(())
    }

    /// Builds indexes over the login that would build them after all rows.
    fn build(
        &self,
        session: &mut Option<(String, Session)>,
        building: Building,
    ) -> Result<(), RestoreError> {
        if self.rows_left.load(Ordering::Relaxed) == 0 && self.early.is_news() {
            self.progress.stage(Stage::Indexes, None);
        }
        let session = self.session_of(session, self.access.checker())?;
        let next = self.early.build(session, building)?;
        self.pool.add(next.into_iter().map(Task::Indexes));
        Ok(())
    }

    fn entry(
        &self,
        session: &mut Session,
        entry: &EntryRecord,
        freeze: bool,
    ) -> Result<(), RestoreError> {
        let Some(rows) = &entry.rows else {
            return Ok(());
        };
        let place = self.archive.manifest().load_order.place_of(&rows.table);
        let mut sql = target::copy_into(place, &rows.columns);
        if freeze {
            sql += " WITH (FREEZE)";
        }
        load_entry(self.archive, session, entry, rows, &sql, self.progress)?;
        self.progress
            .advance(Some(&rows.table), rows.digest.rows, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_archive::Through;
    use serde_json::json;

    fn entry(table: &str, bytes: u64) -> EntryRecord {
        serde_json::from_value(json!({
            "name": format!("database/{table}.sql"), "kind": "table-data", "offset": 0, "stored_bytes": 1,
            "raw_bytes": bytes, "sha256": "", "stored_sha256": "", "mode": 0o600, "rows": {
                "table": { "schema": "public", "name": table }, "columns": ["id"], "format": "text", "rows": 1,
                "digest": "0".repeat(32), "header_bytes": 0, "footer_bytes": 0,
            },
        }))
        .unwrap()
    }

    #[test]
    fn only_a_table_that_one_worker_fills_alone_and_as_itself_is_emptied_first() {
        let entries = [
            entry("large", 100),
            entry("large", 100),
            entry("small", 5),
            entry("small", 5),
            entry("partition", 10),
        ];
        let name = |name: &str| TableName::new("public", name);
        let order = LoadOrder {
            through: vec![Through {
                partition: name("partition"),
                table: name("parent"),
            }],
            ..LoadOrder::default()
        };
        let cut = |transactions, workers| {
            let portions = portions(entries.iter().collect(), &order, transactions, workers);
            let of = |portion: &Portion<'_>| {
                let table = portion.table().unwrap().name.clone();
                (table, portion.entries.len(), portion.whole)
            };
            let mut portions: Vec<_> = portions.iter().map(of).collect();
            portions.sort();
            portions
        };
        let of = |table: &str, entries: usize, whole| (table.to_owned(), entries, whole);
        let (part, small) = (of("partition", 1, false), of("small", 2, true));
        let large = of("large", 1, false);
        assert_eq!(
            cut(Transactions::Table, 2),
            [large.clone(), large, part.clone(), small.clone()]
        );
        let alone = [of("large", 2, true), part, small];
        assert_eq!(cut(Transactions::Table, 1), alone);
        let each = cut(Transactions::Entry, 1);
        assert!(each.len() == 5 && each.iter().all(|(_, _, whole)| !whole));
    }
}
