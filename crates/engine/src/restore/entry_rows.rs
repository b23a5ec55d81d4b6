//! The rows of one entry, as COPY text for a server.

use super::error::RestoreError;
use crate::progress::Progress;
use hubvault_archive::{Archive, EntryRecord, RowData, Source};
use hubvault_model::{CsvToText, RowFormat, TableName};
use hubvault_postgres::{Session, copy_option, copy_options};
use std::io::{self, Read};

/// Bytes that are read from an entry at once.
const PIECE: usize = 128 << 10;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use serde_json::json;

    #[test]
    fn an_entry_that_ends_early_gives_an_error_and_not_its_rows() {
        let table = json!({ "schema": "public", "name": "t" });
        let rows = json!({
            "table": table, "columns": ["id"], "format": "text", "rows": 2, "digest": "0".repeat(32), "header_bytes": 2,
            "footer_bytes": 3,
        });
        let entry: EntryRecord = serde_json::from_value(json!({
            "name": "database/t.sql", "kind": "table-data", "offset": 0, "stored_bytes": 1, "raw_bytes": 9, "sha256": "",
            "stored_sha256": "", "mode": 0o600, "rows": rows,
        }))
        .unwrap();
        let rows = entry.rows.as_ref().unwrap();
        let whole = b"H\n1\n2\n\\.\n";
        let read = |bytes: &[u8]| {
            let mut text = String::new();
            let read = Rows::new(bytes, &entry, rows, &Silent).read_to_string(&mut text);
            read.map(|_| text)
        };
        assert_eq!(read(whole).unwrap(), "1\n2\n");
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
    }
}
