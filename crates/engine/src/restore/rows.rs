//! Loads rows from an archive into tables over several connections.

use super::RestoreOptions;
use super::error::RestoreError;
use super::order::in_order;
use crate::pool::Pool;
use crate::progress::Progress;
use hubvault_archive::{Archive, EntryRecord, LoadOrder, RowData, Source};
use hubvault_model::{Cancel, CsvToText, RowFormat, TableName};
use hubvault_postgres::{
    Access, ConnectSettings, PgError, Session, TableLogins, copy_option, copy_options, target,
};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

/// Bytes that are read from an entry at once.
const PIECE: usize = 128 << 10;

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

/// Loads entries into the tables of the same names, largest first, each over the login that `access` has for it.
/// What fails with the empty `search_path` is tried with the source's. Returns the tables' errors when `keep_going` is set.
pub(crate) fn load<S: Source>(
    archive: &Archive<S>,
    entries: Vec<&EntryRecord>,
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
    let pool = Pool::growing(portions, cancel);
    let load = Load {
        archive,
        pool: &pool,
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
        |session, portion| load.load(session, &portion),
    )?;
    Ok(load
        .problems
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
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
    pool: &'a Pool<'a, Portion<'a>>,
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
        self.pool.add(left.iter().map(|entry| Portion::of(entry)));
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

/// A COPY, for the encoding of the rows.
fn in_encoding(sql: &str, rows: &RowData) -> String {
    let (copy, freeze) = match sql.strip_suffix(" WITH (FREEZE)") {
        Some(copy) => (copy, Some("FREEZE".to_owned())),
        None => (sql, None),
    };
    let encoding = rows.encoding.as_deref().map(copy_option);
    copy.to_owned() + &copy_options(&[freeze, encoding])
}

/// Runs `sql`, a COPY FROM STDIN of the entry's columns, with the rows of one entry.
pub(crate) fn load_entry<S: Source>(
    archive: &Archive<S>,
    session: &mut Session,
    entry: &EntryRecord,
    rows: &RowData,
    sql: &str,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    let doing = format!("restoring {} from {}", rows.table, entry.name);
    let mut reader = Rows::new(archive.content(entry)?, entry, rows, progress);
    // A COPY that fails rolls back by itself, rows and all.
    let loaded = session.copy_in(&doing, &in_encoding(sql, rows), &mut reader)?;
    if loaded == rows.digest.rows {
        return Ok(());
    }
    let why = format!(
        "{loaded} rows were loaded, the entry has {}",
        rows.digest.rows
    );
    Err(RestoreError::Different {
        tables: vec![format!("{}: {why}", rows.table)],
    })
}

/// The rows of an entry as COPY text, without header and footer. The end of the content is read
/// and its checksum compared before the last row is given, so that a damaged entry aborts.
pub(super) struct Rows<'a, R> {
    content: R,
    table: &'a TableName,
    progress: &'a dyn Progress,
    skip: u64,
    left: u64,
    rest: u64,
    csv: Option<CsvToText>,
    piece: Vec<u8>,
    ready: Vec<u8>,
    given: usize,
}

impl<'a, R: Read> Rows<'a, R> {
    /// The rows of this entry.
    pub(super) fn new(
        content: R,
        entry: &EntryRecord,
        rows: &'a RowData,
        progress: &'a dyn Progress,
    ) -> Self {
        let around = rows.header_bytes.saturating_add(rows.footer_bytes);
        Self {
            content,
            table: &rows.table,
            progress,
            skip: rows.header_bytes,
            left: entry.raw_bytes.saturating_sub(around),
            rest: rows.footer_bytes,
            csv: (rows.format == RowFormat::Csv).then(|| CsvToText::new(rows.columns.len())),
            piece: vec![0; PIECE],
            ready: Vec::new(),
            given: 0,
        }
    }

    fn pass(&mut self, mut bytes: u64) -> io::Result<()> {
        while bytes > 0 {
            let want = self
                .piece
                .len()
                .min(usize::try_from(bytes).unwrap_or(usize::MAX));
            let n = self.content.read(&mut self.piece[..want])?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes = bytes.saturating_sub(n as u64);
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.given = 0;
        let header = std::mem::take(&mut self.skip);
        self.pass(header)?;
        while self.ready.is_empty() && self.left > 0 {
            let want = self
                .piece
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let n = self.content.read(&mut self.piece[..want])?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.left -= n as u64;
            self.progress.advance(Some(self.table), 0, n as u64);
            match &mut self.csv {
                Some(csv) => csv.push(&self.piece[..n], &mut self.ready),
                None => self.ready.extend_from_slice(&self.piece[..n]),
            }
        }
        if self.left == 0 {
            let footer = std::mem::take(&mut self.rest);
            self.pass(footer)?;
        }
        Ok(())
    }
}

impl<R: Read> Read for Rows<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.ready.len() {
            self.fill()?;
        }
        let n = buffer.len().min(self.ready.len() - self.given);
        buffer[..n].copy_from_slice(&self.ready[self.given..self.given + n]);
        self.given += n;
        Ok(n)
    }
}
