//! Rows of one table as the archive has them, some at a time. Only the table's entries are read, and of them what comes
//! before the rows that are shown; entries before the first one are passed over.

use super::entry_rows::Rows;
use super::error::RestoreError;
use super::values::{Value, ValueReader, kept_for};
use crate::progress::Silent;
use hubvault_archive::{Archive, ArchiveError, CheckedMembers, EntryRecord, Source, TableSummary};
use hubvault_model::{ByteSize, Cancel, grouped};
use std::io::{self, BufReader};
use std::time::Instant;

/// Which rows are shown.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The first row that is looked at, from 0.
    pub from: u64,
    /// So many rows at most.
    pub most: usize,
    /// Only rows with this value in this column.
    pub filter: Option<Filter>,
    /// So many bytes of a value are kept.
    pub keep: usize,
    /// After so many bytes of rows the search ends, to go on later.
    pub bytes: u64,
    /// After this moment, too.
    pub until: Instant,
}

/// Rows with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The number of the column, from 0.
    pub column: usize,
    /// The text of its value; `None` is NULL.
    pub value: Option<String>,
}

/// Rows that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Browsed {
    /// The rows, in the order of the archive.
    pub rows: Vec<BrowsedRow>,
    /// The first row that was not looked at; `None` after the last one.
    pub next: Option<u64>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowsedRow {
    /// Its number in the archive, from 0.
    pub number: u64,
    /// Its values, one for each column of the table.
    pub values: Vec<Value>,
}

/// Reads the rows of a table that somebody wants to see.
pub fn browse<S: Source>(
    archive: &Archive<S>,
    table: &TableSummary,
    wish: &Wish,
    cancel: &Cancel,
) -> Result<Browsed, RestoreError> {
    let mut found = Browsed::default();
    let (mut first, mut left) = (0_u64, wish.bytes);
    for entry in archive.entries_of(table) {
        let Some(rows) = &entry.rows else { continue };
        let end = first.saturating_add(rows.digest.rows);
        if wish.from < end && found.next.is_none() {
            if rows.columns != table.columns {
                let what = "its columns are not those of the table".to_owned();
                return Err(wrong(entry, what));
            }
            read(
                archive,
                entry,
                (first, end),
                wish,
                &mut left,
                &mut found,
                cancel,
            )?;
        }
        first = end;
    }
    found.next = found.next.filter(|next| *next < first);
    Ok(found)
}

/// Reads one entry, which has these rows of the table.
fn read<S: Source>(
    archive: &Archive<S>,
    entry: &EntryRecord,
    (first, end): (u64, u64),
    wish: &Wish,
    left: &mut u64,
    found: &mut Browsed,
    cancel: &Cancel,
) -> Result<(), RestoreError> {
    let Some(rows) = &entry.rows else {
        return Ok(());
    };
    let failed = |error: io::Error| {
        if cancel.is_requested() {
            RestoreError::Cancelled
        } else {
            wrong(entry, error.to_string())
        }
    };
    let content = CheckedMembers::new(archive.content(entry)?);
    let content = Rows::new(content, entry, rows, &Silent);
    let mut reader = ValueReader::new(
        BufReader::with_capacity(BUFFER, content),
        rows.columns.len(),
    );
    let begin = wish.from.max(first);
    let missing = reader.skip(begin - first, &|| cancel.is_requested());
    let missing = missing.map_err(failed)?;
    if missing > 0 {
        return Err(too_deep(entry, begin, begin - missing));
    }
    let filter = wish.filter.as_ref();
    let wanted = filter.map_or(0, |filter| kept_for(filter.value.as_deref()));
    let keep = wish.keep.max(wanted);
    let passed_over = reader.bytes_read();
    for number in begin..end {
        if cancel.is_requested() {
            return Err(RestoreError::Cancelled);
        }
        let is_spent = reader.bytes_read() - passed_over >= *left || Instant::now() >= wish.until;
        // A request always gets on by a row.
        if found.rows.len() >= wish.most || is_spent && number > wish.from {
            found.next = Some(number);
            return Ok(());
        }
        if !reader.next(keep).map_err(failed)? {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        if filter.is_none_or(|it| reader.is(it.column, it.value.as_deref())) {
            let values = reader.values(wish.keep);
            found.rows.push(BrowsedRow { number, values });
        }
    }
    *left = left.saturating_sub(reader.bytes_read() - passed_over);
    Ok(())
}

/// Bytes of rows that are looked at together.
const BUFFER: usize = 64 << 10;

fn wrong(entry: &EntryRecord, what: String) -> RestoreError {
    RestoreError::Archive(ArchiveError::Entry {
        name: entry.name.clone(),
        offset: entry.offset,
        what,
    })
}

fn too_deep(entry: &EntryRecord, row: u64, reached: u64) -> RestoreError {
    let what = format!(
        "row {} is in the middle of one entry of {}; in the time that a look may take, {} rows were passed over: restore \
         the table beside the live one instead, with --table and --into-schema",
        grouped(row + 1),
        ByteSize(entry.raw_bytes),
        grouped(reached)
    );
    wrong(entry, what)
}
