//! Tables read anew and held against the manifest: the same rows, or not.

use super::error::RestoreError;
use hubvault_archive::TableSummary;
use hubvault_model::{Cancel, RowDigest, RowDigester, RowFormat, TableName, quote_ident};
use hubvault_postgres::{ConnectSettings, CopySession, PgError};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One table of the manifest beside the same table of a database.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The table.
    pub name: TableName,
    /// What the manifest says.
    pub expected: RowDigest,
    /// What the database holds; the reason when it could not be read.
    pub found: Result<RowDigest, String>,
}

impl Compared {
    /// Whether it came back equal.
    pub fn is_equal(&self) -> bool {
        self.found
            .as_ref()
            .is_ok_and(|found| *found == self.expected)
    }

    /// What is wrong with it, in words; `None` when it is equal.
    pub fn problem(&self) -> Option<String> {
        match &self.found {
            Err(why) => Some(format!("{}: {why}", self.name)),
            Ok(found) if found.rows != self.expected.rows => Some(format!(
                "{}: {} rows in the archive, {} in the database",
                self.name, self.expected.rows, found.rows
            )),
            Ok(found) if *found != self.expected => {
                Some(format!("{}: as many rows, but others", self.name))
            }
            Ok(_) => None,
        }
    }
}

/// The digest of the rows that a table of the manifest has in a database now; `filter` is SQL.
pub fn digest(
    session: &mut CopySession,
    table: &TableSummary,
    filter: Option<&str>,
) -> Result<RowDigest, PgError> {
    let list: Vec<String> = table
        .columns
        .iter()
        .map(|column| quote_ident(column))
        .collect();
    let condition = filter.map_or_else(String::new, |filter| format!(" WHERE {filter}"));
    let options = match table.format {
        RowFormat::Text => "",
        RowFormat::Csv => " WITH (FORMAT csv)",
    };
    let sql = format!(
        "COPY (SELECT {} FROM ONLY {}{condition}) TO STDOUT{options}",
        list.join(", "),
        table.name.sql()
    );
    let mut rows = RowDigester::new(table.format);
    let doing = format!("comparing {}", table.name);
    session.copy_out(&doing, &sql, |piece| {
        rows.update(piece);
        Ok::<_, PgError>(())
    })?;
    rows.finish().map_err(|error| PgError::Query {
        doing,
        why: error.to_string(),
    })
}

/// Reads every table out of a database again, on `workers` connections, in the manifest's order.
pub(crate) fn compare(
    tables: &[&TableSummary],
    target: &ConnectSettings,
    workers: usize,
    cancel: &Cancel,
) -> Result<Vec<Compared>, RestoreError> {
    let next = AtomicUsize::new(0);
    let all: Mutex<Vec<(usize, Compared)>> = Mutex::default();
    let work = || -> Result<(), PgError> {
        let mut session = CopySession::connect(target, cancel)?;
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(table) = tables.get(at) else {
                return Ok(());
            };
            let found = digest(&mut session, table, None);
            if cancel.is_requested() {
                return Err(PgError::Cancelled);
            }
            if matches!(found, Err(PgError::ConnectionLost { .. })) {
                session = CopySession::connect(target, cancel)?;
            }
            let compared = Compared {
                name: table.name.clone(),
                expected: table.digest,
                found: found.map_err(|error| error.to_string()),
            };
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((at, compared));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, compared)| compared).collect())
}
