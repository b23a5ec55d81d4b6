//! Reads tables and compares their rows with the manifest.

use super::error::RestoreError;
use super::extension_rows::users_rows;
use super::order::in_order;
use super::units::Unit;
use crate::pool::Pool;
use hubvault_archive::TableSummary;
use hubvault_model::{
    Cancel, RowDigest, RowDigester, RowFormat, TableName, counted, grouped, quote_ident,
};
use hubvault_postgres::{
    ConnectSettings, CopySession, PageRange, PgError, Session, TableLogins, copy_option,
    copy_options, target,
};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

/// What of the restored tables is compared with the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Comparison {
    /// Every row.
    #[default]
    Rows,
    /// The number of rows of each table.
    Counts,
    /// Nothing.
    Off,
}

/// What was found of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// All its rows.
    Rows(RowDigest),
    /// How many rows it has.
    Count(u64),
    /// It was not asked for.
    Unread,
}

/// The comparison of a table of the manifest with the same table of a database.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The table.
    pub name: TableName,
    /// How many tables of the archive it stands for: a partitioned one may stand for all its partitions.
    pub tables: usize,
    /// What the manifest says.
    pub expected: RowDigest,
    /// What the database holds; the reason when it could not be read.
    pub found: Result<Found, String>,
    /// Why only its rows can be counted, though all were to be compared.
    pub incomparable: Option<&'static str>,
}

impl Compared {
    /// Whether every row was compared, and is equal.
    pub fn is_equal(&self) -> bool {
        self.found == Ok(Found::Rows(self.expected))
    }

    /// The difference as text; `None` when nothing differs in what was compared.
    pub fn problem(&self) -> Option<String> {
        let rows = match &self.found {
            Err(why) => return Some(format!("{}: {why}", self.name)),
            Ok(Found::Unread) => return None,
            Ok(Found::Rows(found)) => found.rows,
            Ok(Found::Count(rows)) => *rows,
        };
        if rows != self.expected.rows {
            let expected = counted(self.expected.rows, "row");
            let (name, rows) = (&self.name, grouped(rows));
            return Some(format!(
                "{name}: {expected} in the archive, {rows} in the database"
            ));
        }
        let differs = matches!(self.found, Ok(Found::Rows(found)) if found != self.expected);
        differs.then(|| format!("{}: row counts match, contents differ", self.name))
    }

    /// What is said of a table whose rows were only counted.
    pub(super) fn only_counted(&self) -> Option<String> {
        let (name, why) = (&self.name, self.incomparable?);
        let text =
            format!("{name}: the row count matches, its contents could not be compared: {why}");
        self.problem().is_none().then_some(text)
    }
}

/// The digest of the rows that a table of the manifest has in a database now, of an extension's those that are the
/// user's; `filter` is SQL.
pub fn digest(
    session: &mut CopySession,
    table: &TableSummary,
    filter: Option<&str>,
) -> Result<RowDigest, PgError> {
    let sql = copy_sql(table, "ONLY ", filter);
    digest_of(session, table, &sql)
}

/// How many rows a table has, as a digest without a sum.
fn count_of(
    session: &mut CopySession,
    table: &TableSummary,
    rows: &str,
) -> Result<RowDigest, PgError> {
    let doing = format!("counting the rows of {}", table.name);
    let mut answer = Vec::new();
    let sql = format!("COPY (SELECT count(*) FROM ({rows}) counted) TO STDOUT");
    session.copy_out(&doing, &sql, |piece| {
        answer.extend_from_slice(piece);
        Ok::<_, PgError>(())
    })?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.trim_end().parse() {
        Ok(rows) => Ok(RowDigest { rows, sum: 0 }),
        Err(error) => Err(PgError::Query {
            doing,
            why: format!("the server answered {answer:?}: {error}"),
        }),
    }
}

pub(super) fn digest_of(
    session: &mut CopySession,
    table: &TableSummary,
    sql: &str,
) -> Result<RowDigest, PgError> {
    let mut rows = RowDigester::new(table.format);
    let doing = format!("comparing {}", table.name);
    let sent = session.copy_out(&doing, sql, |piece| {
        rows.update(piece);
        Ok::<_, PgError>(())
    })?;
    let rows = finished(rows, &doing)?;
    PgError::check_row_count(&doing, sent, rows.rows)?;
    Ok(rows)
}

/// The same of the rows that a transaction of `session` sees.
pub(super) fn digest_inside(
    session: &mut Session,
    table: &TableSummary,
    only: &str,
) -> Result<RowDigest, PgError> {
    let mut rows = RowDigester::new(table.format);
    let doing = format!("comparing {}", table.name);
    let sql = copy_sql(table, only, None);
    session.copy_out(&doing, &sql, |piece| rows.update(piece))?;
    finished(rows, &doing)
}

pub(super) fn copy_sql(table: &TableSummary, only: &str, filter: Option<&str>) -> String {
    let csv = (table.format == RowFormat::Csv).then(|| "FORMAT csv".to_owned());
    let options = copy_options(&[csv, table.encoding.as_deref().map(copy_option)]);
    format!(
        "COPY ({}) TO STDOUT{options}",
        rows_sql(table, only, filter)
    )
}

fn finished(rows: RowDigester, doing: &str) -> Result<RowDigest, PgError> {
    rows.finish().map_err(|error| PgError::Query {
        doing: doing.to_owned(),
        why: error.to_string(),
    })
}

pub(super) fn rows_sql(table: &TableSummary, only: &str, filter: Option<&str>) -> String {
    let list: Vec<String> = table
        .columns
        .iter()
        .map(|column| quote_ident(column))
        .collect();
    let name = table.name.sql();
    let condition = [users_rows(table), filter].into_iter().flatten();
    let condition: Vec<String> = condition.map(|it| format!("({it})")).collect();
    let condition = match condition.as_slice() {
        [] => String::new(),
        some => format!(" WHERE {}", some.join(" AND ")),
    };
    format!("SELECT {} FROM {only}{name}{condition}", list.join(", "))
}

/// What one connection reads at a time, in bytes of heap and TOAST, at least and at most.
const PORTION_BYTES: RangeInclusive<u64> = 4 << 20..=64 << 20;
/// So many portions for each connection, so that they end at about the same time.
const PORTIONS_EACH: u64 = 4;

/// A table, or a range of its pages.
struct Portion {
    table: usize,
    pages: Option<PageRange>,
    bytes: u64,
}

/// Reads tables, each over its owner's login, and keeps the connection for the next of the same owner.
pub(super) struct Reader<'a> {
    logins: &'a TableLogins,
    cancel: &'a Cancel,
    session: Option<(&'a str, CopySession)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(logins: &'a TableLogins, cancel: &'a Cancel) -> Self {
        Self {
            logins,
            cancel,
            session: None,
        }
    }

    /// Reads over the owner's login, and over the other one where the owner may not read.
    pub(super) fn read<T>(
        &mut self,
        table: &TableName,
        read: impl Fn(&mut CopySession) -> Result<T, PgError>,
    ) -> Result<T, PgError> {
        let result = read(self.over(self.logins.of(table))?);
        match (&result, self.logins.instead(table)) {
            (Err(error), Some(other)) if error.is_refusal() => read(self.over(other)?),
            (Err(PgError::ConnectionLost { .. }), _) => {
                self.session = None;
                result
            }
            // Planning a query may look into functions of the table's indexes.
            (Err(error), _) if error.is_of_names() && !self.logins.search_path().is_empty() => {
                let logins = self.logins;
                let session = self.over(logins.of(table))?;
                let set = session.simple("setting the search_path", logins.search_path());
                let again = set.and_then(|()| read(session));
                self.session = None;
                again.or(result)
            }
            _ => result,
        }
    }

    fn over(&mut self, login: &'a ConnectSettings) -> Result<&mut CopySession, PgError> {
        let user = login.user.as_str();
        let (_, session) = match self.session.take() {
            Some(open) if open.0 == user => self.session.insert(open),
            _ => (self.session).insert((user, CopySession::connect(login, self.cancel)?)),
        };
        Ok(session)
    }
}

/// Reads or counts every table of a database on `workers` connections, several of them in a large table. No one else
/// may write there. Returns the manifest's order.
pub(crate) fn compare(
    units: &[Unit<'_>],
    to: &ConnectSettings,
    logins: &TableLogins,
    (how, workers): (Comparison, usize),
    cancel: &Cancel,
) -> Result<Vec<Compared>, RestoreError> {
    let is_of_rows = how == Comparison::Rows;
    let portions = match how {
        Comparison::Off => Vec::new(),
        _ => portions(units, to, logins, workers, cancel)?,
    };
    let none_yet = units.iter().map(|_| Mutex::new(Ok(RowDigest::default())));
    let found: Vec<Mutex<Result<RowDigest, String>>> = none_yet.collect();
    let open = || Ok(Reader::new(logins, cancel));
    let read = |reader: &mut Reader<'_>, Portion { table, pages, .. }| {
        let filter = pages.map(PageRange::condition);
        let unit = &units[table];
        let is_read = is_of_rows && unit.problem.is_none();
        let sql = if is_read { copy_sql } else { rows_sql };
        let sql = sql(&unit.table, unit.only(), filter.as_deref());
        let read = if is_read { digest_of } else { count_of };
        let name = &unit.table.name;
        let part = reader.read(name, |session| read(session, &unit.table, &sql));
        if cancel.is_requested() {
            return Err(PgError::Cancelled);
        }
        let mut whole = found[table].lock().unwrap_or_else(PoisonError::into_inner);
        match (part, whole.as_mut()) {
            (Ok(part), Ok(whole)) => whole.merge(part),
            (Err(error), Ok(_)) => *whole = Err(error.to_string()),
            (_, Err(_)) => {}
        }
        Ok(())
    };
    Pool::new(portions, cancel).run(workers, open, read)?;
    let compared = units.iter().zip(found).map(|(unit, found)| {
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let incomparable = unit.problem.filter(|_| is_of_rows);
        Compared {
            name: unit.table.name.clone(),
            tables: unit.tables,
            expected: unit.table.digest,
            found: found.map(|digest| match how {
                Comparison::Rows if incomparable.is_none() => Found::Rows(digest),
                Comparison::Rows | Comparison::Counts => Found::Count(digest.rows),
                Comparison::Off => Found::Unread,
            }),
            incomparable,
        }
    });
    Ok(compared.collect())
}

/// The largest first, so that the connections end at about the same time. One connection alone
/// reads tables whole: it sees each of them in one snapshot.
fn portions(
    units: &[Unit<'_>],
    to: &ConnectSettings,
    logins: &TableLogins,
    workers: usize,
    cancel: &Cancel,
) -> Result<Vec<Portion>, PgError> {
    let sizes = if workers > 1 {
        target::heap_sizes(&mut Session::connect(to, cancel)?)?
    } else {
        BTreeMap::new()
    };
    let all: u64 = sizes.values().map(|size| size.bytes).sum();
    let each = all / (workers as u64 * PORTIONS_EACH).max(1);
    let each = each.clamp(*PORTION_BYTES.start(), *PORTION_BYTES.end());
    let mut portions = Vec::new();
    for (table, unit) in units.iter().enumerate() {
        let size = sizes.get(&unit.table.name).copied().unwrap_or_default();
        let ranges = PageRange::cut(size.pages, size.bytes, each);
        let bytes = size.bytes / ranges.len().max(1) as u64;
        let portion = |pages| Portion {
            table,
            pages,
            bytes,
        };
        if ranges.is_empty() {
            portions.push(portion(None));
        }
        portions.extend(ranges.into_iter().map(|range| portion(Some(range))));
    }
    portions.sort_by_cached_key(|portion| {
        let login = logins.of(&units[portion.table].table.name);
        (Reverse(in_order(portion.bytes)), login.user.clone())
    });
    Ok(portions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_rows_with_other_contents_are_not_equal() {
        let expected = RowDigest { rows: 2, sum: 7 };
        let of = |found| Compared {
            name: TableName::new("public", "t"),
            tables: 1,
            expected,
            found,
            incomparable: None,
        };
        assert!(of(Ok(Found::Rows(expected))).is_equal());
        let other = of(Ok(Found::Rows(RowDigest { rows: 2, sum: 8 })));
        assert!(!other.is_equal());
        assert!(other.problem().unwrap().contains("contents differ"));
        // What was only counted is neither equal nor wrong.
        let counted = of(Ok(Found::Count(2)));
        assert!(!counted.is_equal() && counted.problem().is_none());
        assert!(of(Ok(Found::Count(1))).problem().is_some());
        assert!(of(Ok(Found::Unread)).problem().is_none());
        let unread = of(Err("permission denied".to_owned()));
        assert_eq!(unread.problem().unwrap(), "t: permission denied");
    }

    #[test]
    fn of_an_extensions_table_only_the_users_rows_are_read() {
        let table: TableSummary = serde_json::from_value(serde_json::json!({
            "schema": "public", "name": "t", "extension": "e", "coverage": "whole", "filter": "id > 9 OR x",
            "columns": ["id"], "format": "text", "rows": 0, "digest": "0".repeat(32), "bytes": 0, "entries": [],
        }))
        .unwrap();
        let sql = rows_sql(&table, "ONLY ", Some("ctid < '(5,0)'"));
        let expected = "SELECT id FROM ONLY public.t WHERE (id > 9 OR x) AND (ctid < '(5,0)')";
        assert_eq!(sql, expected);
        // A window's condition is of the source's rows: a restored table holds no others.
        let own = TableSummary {
            extension: None,
            ..table
        };
        assert_eq!(rows_sql(&own, "", None), "SELECT id FROM public.t");
    }
}
